"""A whole export: every job once, in this process or in some, and an account of it at the end."""

import json
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict
from functools import partial
from hashlib import sha256
from pathlib import Path

from app.batch.clips import of_clips
from app.batch.engine import Engine, local
from app.batch.errors import ERRORS
from app.batch.inputs import Source, find_sources
from app.batch.journal import Journal
from app.batch.networks import load
from app.batch.writing import OutputError
from app.export.account import (
    MANIFEST,
    STATISTICS,
    Summary,
    read_account,
    write_account,
    write_statistics,
)
from app.export.clip_pieces import clip_piece_names
from app.export.options import Options
from app.export.pieces import piece_names
from app.export.seeing import check_networks
from app.export.work import do_job, general_facts, plan

JOURNAL = ".export.journal"


def planned_files(options: Options) -> list[str]:
    """Return the names of all figures that an export will write, without seeing any input.

    Raises:
        ValueError: An input or a network is not there.
        FileNotFoundError: A weight file is not there.
    """
    check_networks(options)
    if of_clips(options):
        options.check_clips()
    if options.layout == "statistics":
        find_sources(options.inputs)
        return [f"{STATISTICS}.{kind}" for kind in options.formats]
    titles = [load(name).title for name in options.networks]
    names = clip_piece_names if of_clips(options) else piece_names
    return [
        name
        for job in plan(_sources(options), options)
        for name in names(job.stem, titles, options)
    ]


def export(
    options: Options,
    out: Path,
    *,
    jobs: int | None = 1,
    engine: Engine = local,
    resume: bool = False,
    force: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
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
    planned = planned_files(options)
    sources = _sources(options)
    todo = plan(sources, options)
    fingerprint = _fingerprint(options, sources)
    _make_folder(out)
    journal = Journal(out / JOURNAL, fingerprint, "export")
    if journal.exists and not (resume or force):
        raise FileExistsError(
            f"{out} holds an unfinished export; --resume goes on with it, --force begins anew"
        )
    if resume and not journal.exists and (finished := read_account(out, fingerprint)):
        return finished
    going_on = resume and journal.exists
    if not (going_on or force):
        _check_free(out, planned)
    with journal.opened(resume=going_on):
        left = [job for job in todo if job.stem not in journal]
        skipped = len(todo) - len(left)
        progress(skipped, len(todo))
        # what an interrupted run wrote and did not note is drawn again: the same bytes
        draw = partial(do_job, options=options, out=out, overwrite=going_on or force)
        with closing(engine(draw, left, jobs)) as results:
            for count, (job, done) in enumerate(results, start=skipped + 1):
                journal.add(job.stem, asdict(done))
                progress(count, len(todo))
        stems = [job.stem for job in todo]
        more = []
        if options.layout == STATISTICS:
            more = write_statistics(journal, stems, options, out, going_on or force)
        facts = {**general_facts(options), "fingerprint": fingerprint}
        summary = write_account(journal, stems, more, facts, out, going_on or force)
        journal.finished = True
    return summary._replace(skipped=skipped)


def _sources(options: Options) -> list[Source]:
    return find_sources(options.inputs, clips=of_clips(options))


def _fingerprint(options: Options, sources: list[Source]) -> str:
    """Return a hash that is equal for equal exports: of the options and of all inputs found."""
    named = [options.to_json(), [list(source) for source in sources]]
    return sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()


def _make_folder(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"the folder {out} cannot be made: {error.strerror or error}") from error


def _check_free(out: Path, planned: list[str]) -> None:
    there = {entry.name for entry in out.iterdir()}
    taken = [name for name in [*planned, MANIFEST, ERRORS] if name in there]
    if taken:
        more = f" and {len(taken) - 1} more" if len(taken) > 1 else ""
        raise FileExistsError(
            f"{out / taken[0]}{more} exists already; --force replaces, --out chooses another folder"
        )
