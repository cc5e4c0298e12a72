"""A whole export: every job once, in this process or in some, and a manifest at the end."""

from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from nonlocal_lens.app.batch.content import content_of
from nonlocal_lens.app.batch.engine import Engine, local
from nonlocal_lens.app.batch.errors import ERRORS
from nonlocal_lens.app.batch.inputs import passed_by
from nonlocal_lens.app.batch.journal import Journal
from nonlocal_lens.app.batch.networks import network_notes
from nonlocal_lens.app.batch.run import Found, Progress, begin, find, fingerprint, work_off
from nonlocal_lens.app.export.job import (
    Done,
    Job,
    do_job,
    do_together,
    failure,
    general_facts,
    plan,
)
from nonlocal_lens.app.export.manifest import (
    MANIFEST,
    STATISTICS,
    Summary,
    read_manifest,
    write_manifest,
    write_statistics,
)
from nonlocal_lens.app.export.options import MEANS, Options
from nonlocal_lens.app.export.outputs import output_names

JOURNAL = ".export.journal"


class Planned(NamedTuple):
    """What an export is of, and what it will write."""

    found: Found
    jobs: list[Job]
    files: list[str]  # color bars, and the records of clips, are not known before inputs are seen


def planned(options: Options) -> Planned:
    """Find the inputs and networks of an export, and name its files, without reading any input.

    Raises:
        ValueError: An input or a network is not there.
        FileNotFoundError: A weight file is not there.
    """
    found = find(options, doing="show")
    if found.as_clips:
        options.check_clips()
    jobs = plan(found.sources, options, as_clip=found.as_clips)
    if options.layout == STATISTICS:
        return Planned(found, jobs, [f"{STATISTICS}.{kind}" for kind in options.formats])
    titles = [network.title for network in found.networks]
    files = [
        name
        for job in jobs
        for name in output_names(job.name, titles, options, as_clip=found.as_clips)
    ]
    return Planned(found, jobs, files)


def planned_files(options: Options) -> list[str]:
    """Return the names of all figures that an export will write; errors as of `planned`."""
    return planned(options).files


def export(
    options: Options,
    out: Path,
    *,
    jobs: int | None = 1,
    engine: Engine = local,
    resume: bool = False,
    force: bool = False,
    progress: Progress = lambda done, total: None,
) -> Summary:
    """Write the figures of all inputs into a folder, with `manifest.json` and, maybe, `errors.csv`.

    Equal options and inputs give equal bytes, whatever `jobs` is and however often the export was
    interrupted and resumed in between.

    Args:
        options: What to draw of what.
        out: The folder; it is made if it is not there.
        jobs: Processes that draw; 1 is this one, None as many as there are cores.
        engine: What runs them.
        resume: Go on with an export that was interrupted.
        force: Replace files that are there.
        progress: Told, after every job, how many of how many are done.

    Raises:
        ValueError: An input or a network is not there, or the folder holds another export.
        FileExistsError: A file is there already and `force` is not given.
        OutputError: The folder does not take the files; what is finished is kept.
    """
    found, todo, files = planned(options)
    hashes = [network.sha256 for network in found.networks]
    digest = fingerprint(options.to_json(), hashes, found.as_clips)
    journal = Journal(out / JOURNAL, digest, "export")
    with ExitStack() as stack:
        stack.enter_context(journal.held())
        if resume and not journal.exists:
            whole = fingerprint(digest, [_content(job) for job in todo])
            if finished := read_manifest(out, whole):
                return finished
        taken = (out / name for name in [*files, MANIFEST, ERRORS])
        going_on = begin(
            journal, taken, f"{out} holds an unfinished export", resume=resume, force=force
        )
        replace = going_on or force
        stack.enter_context(journal.opened(resume=going_on))
        # what an interrupted run wrote and did not note is drawn again: the same bytes
        worked = work_off(
            journal,
            todo,
            partial(do_job, options=options, out=out, overwrite=replace),
            reads=_content,
            failed=lambda job, error: Done(errors=[failure(one, error) for one in job.sources]),
            undo=partial(_remove, out),
            engine=engine,
            workers=jobs,
            progress=progress,
            together=None
            if found.as_clips
            else partial(do_together, options=options, out=out, overwrite=replace),
            at_once=1 if options.layout == MEANS else options.batch,  # all are one job of means
        )
        stems = [job.name for job in todo]
        more = []
        if options.layout == STATISTICS:
            more = write_statistics(journal, stems, options, out, replace)
        whole = fingerprint(digest, [entry["content"] for entry in journal.entries(stems)])
        facts = {**general_facts(options), "fingerprint": whole}
        summary = write_manifest(journal, stems, more, facts, out, replace)
        journal.finished = True
    passed = passed_by(options.inputs, clips=found.as_clips)
    told = network_notes(found.networks)
    counted = Summary(summary.files, summary.errors, worked.skipped)
    counted.notes = (*summary.notes, *worked.notes, *passed, *told)
    return counted


def _content(job: Job) -> str:
    return content_of(job.sources)


def _remove(out: Path, entry: dict[str, Any]) -> None:
    """Take back the files of a job that is drawn anew, or whose input is gone."""
    for file in entry["files"]:
        (out / Path(file["file"]).name).unlink(missing_ok=True)
