"""A whole table: every input once, by whatever engine, and the result when all are done."""

from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import NamedTuple

from nonlocal_lens.analysis.causes import with_another
from nonlocal_lens.app import PRODUCT
from nonlocal_lens.app.batch.content import content_of
from nonlocal_lens.app.batch.engine import Engine, local
from nonlocal_lens.app.batch.errors import ERRORS, write_errors
from nonlocal_lens.app.batch.inputs import Source, passed_by
from nonlocal_lens.app.batch.journal import Journal
from nonlocal_lens.app.batch.networks import network_notes
from nonlocal_lens.app.batch.notes import gathered
from nonlocal_lens.app.batch.run import Progress, begin, find, fingerprint, work_off
from nonlocal_lens.app.stats.columns import Cell, columns
from nonlocal_lens.app.stats.independence import add_independence
from nonlocal_lens.app.stats.job import Done, failure, measure_input, measure_together
from nonlocal_lens.app.stats.options import OWN_LABELS, Options
from nonlocal_lens.app.stats.result import check_format, write_result
from nonlocal_lens.app.stats.summary import Averages, average

ERROR_COLUMNS = ("input", "network", "error")


class Summary(NamedTuple):
    """What a run did, and what its table says on average."""

    inputs: int
    rows: int
    errors: int
    skipped: int  # inputs that were finished before
    averages: Averages
    notes: tuple[str, ...] = ()  # what was decided on reading the inputs, each with of how many


def measure_all(
    options: Options,
    out: Path,
    *,
    jobs: int | None = None,
    engine: Engine = local,
    resume: bool = False,
    force: bool = False,
    progress: Progress = lambda done, total: None,
) -> Summary:
    """Measure all inputs, and write a table with rows for every block, and maybe `errors.csv`.

    Equal options and inputs give equal bytes, whatever the engine and `jobs` are and however often
    the run was interrupted and resumed in between.

    Args:
        options: What to measure of what.
        out: The table; its suffix is the format. Its folder is made if it is not there.
        jobs: How many processes; None for as many as there are cores.
        engine: What runs them.
        resume: Go on with a run that was interrupted.
        force: Replace files that are there.
        progress: Told, after every input, how many of how many are done.

    Raises:
        ValueError: An input or a network is not there, or another run is unfinished here.
        FileExistsError: A file is there already and `force` is not given.
        OutputError: The folder does not take the files; what is finished is kept.
    """
    check_format(out)
    if options.label_folder is not None and not Path(options.label_folder).is_dir():
        raise ValueError(
            f"there is no folder of labels {options.label_folder}; --labels {OWN_LABELS} takes "
            "those of rendered streets"
        )
    found = find(options, doing="measure")
    if found.as_clips and options.labels is not None:
        raise ValueError("clips have no labels")
    if found.as_clips and options.image_independence:
        raise ValueError("--image-independence is over pictures, and the inputs are clips")
    sources = found.sources
    if options.interventions:
        pairs = with_another([source.location for source in sources])
        sources = [
            source._replace(another=another or "")
            for source, (_, another) in zip(sources, pairs, strict=True)
        ]
    names = [source.name for source in sources]
    table = columns(options, clips=found.as_clips)
    hashes = {network.title: network.sha256 for network in found.networks}
    digest = fingerprint(PRODUCT, options.to_json(), hashes, found.as_clips)
    journal = Journal(out.with_name(f".{out.name}.journal"), digest, "run")
    with ExitStack() as stack:
        stack.enter_context(journal.held())
        going_on = begin(
            journal,
            (out, out.parent / ERRORS),
            f"a run for {out} is unfinished",
            resume=resume,
            force=force,
        )
        replace = going_on or force
        stack.enter_context(journal.opened(resume=going_on))
        worked = work_off(
            journal,
            sources,
            partial(measure_input, options=options, as_clip=found.as_clips),
            reads=partial(_content, labels=options.label_folder),
            failed=lambda source, error: Done(errors=[failure(source, "", error)]),
            engine=engine,
            workers=jobs,
            progress=progress,
            together=None if found.as_clips else partial(measure_together, options=options),
            at_once=options.batch,
        )
        write_result(out, table, _rows(journal, names), replace=replace)
        failures = (error for entry in journal.entries(names) for error in entry["errors"])
        errors = write_errors(out.parent, ERROR_COLUMNS, failures, replace=replace)
        averages = average(_rows(journal, names), table, seed=options.seed)
        reasons: tuple[str, ...] = ()
        if options.image_independence:
            reasons = add_independence(averages, journal.entries(names))
        rows = sum(1 for _ in _rows(journal, names))
        notes = gathered(
            (row["input"], row[name])
            for row in _rows(journal, names)
            for name in ("read_as", "note")
            if row.get(name)
        )
        journal.finished = True
    notes += reasons + worked.notes
    notes += tuple(passed_by(options.inputs, clips=found.as_clips))
    notes += network_notes(found.networks)
    return Summary(len(names), rows, errors, worked.skipped, averages, notes)


def _content(source: Source, labels: str | None) -> str:
    read = [source]
    if source.another:
        read.append(Source(source.name, source.another))
    return content_of(read, labels)


def _rows(journal: Journal, names: list[str]) -> Iterator[dict[str, Cell]]:
    for entry in journal.entries(names):
        yield from entry["rows"]
