"""A whole table: every input once, by whatever engine, and the result when all are done."""

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from analysis.capture import attention_blocks
from app import PRODUCT
from app.batch.clips import of_clips
from app.batch.engine import Engine, local
from app.batch.errors import ERRORS, write_errors
from app.batch.inputs import Source, find_sources
from app.batch.journal import Journal
from app.batch.networks import load
from app.batch.writing import OutputError
from app.stats.columns import Cell, columns
from app.stats.options import OWN_LABELS, Options
from app.stats.result import check_format, write_result
from app.stats.summary import Averages, average
from app.stats.work import measure_input

ERROR_COLUMNS = ("input", "network", "error")


class Summary(NamedTuple):
    """What a run did, and what its table says on average."""

    inputs: int
    rows: int
    errors: int
    skipped: int  # inputs that were finished before
    averages: Averages


def measure_all(
    options: Options,
    out: Path,
    *,
    jobs: int | None = None,
    engine: Engine = local,
    resume: bool = False,
    force: bool = False,
    progress: Callable[[int, int], None] = lambda done, total: None,
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
    hashes = check_networks(options)
    if options.label_folder is not None and not Path(options.label_folder).is_dir():
        raise ValueError(
            f"there is no folder of labels {options.label_folder}; --labels {OWN_LABELS} takes "
            "those of rendered streets"
        )
    clips = of_clips(options)
    if clips and options.labels is not None:
        raise ValueError("clips have no labels")
    sources = find_sources(options.inputs, clips=clips)
    names = [source.name for source in sources]
    table = columns(options, clips=clips)
    journal = Journal(
        out.with_name(f".{out.name}.journal"), _fingerprint(options, hashes, sources), "run"
    )
    _make_folder(out.parent)
    if journal.exists and not (resume or force):
        raise FileExistsError(
            f"a run for {out} is unfinished; --resume goes on with it, --force begins anew"
        )
    going_on = resume and journal.exists
    replace = going_on or force
    for path in (out, out.parent / ERRORS):
        if path.exists() and not replace:
            raise FileExistsError(
                f"{path} exists already; --force replaces, --out chooses another place"
            )
    with journal.opened(resume=going_on):
        left = [source for source in sources if source.name not in journal]
        skipped = len(sources) - len(left)
        progress(skipped, len(sources))
        with closing(engine(partial(measure_input, options=options), left, jobs)) as results:
            for count, (source, done) in enumerate(results, start=skipped + 1):
                journal.add(source.name, asdict(done))
                progress(count, len(sources))
        write_result(out, table, _rows(journal, names), replace=replace)
        failures = (error for entry in journal.entries(names) for error in entry["errors"])
        errors = write_errors(out.parent, ERROR_COLUMNS, failures, replace=replace)
        averages = average(_rows(journal, names), table, seed=options.seed)
        rows = sum(1 for _ in _rows(journal, names))
        journal.finished = True
    return Summary(len(sources), rows, errors, skipped, averages)


def check_networks(options: Options) -> dict[str, str]:
    """Return the hash of every network, by title.

    Raises:
        ValueError: One has no attention, or not the block that is asked for.
    """
    hashes: dict[str, str] = {}
    for name in options.networks:
        network = load(name)
        blocks = list(attention_blocks(network.module))
        if not blocks:
            raise ValueError(f"network {name!r} has no attention block to measure")
        if options.block is not None and options.block not in blocks:
            raise ValueError(
                f"network {name!r} has no block {options.block!r}; available: {', '.join(blocks)}"
            )
        if network.title in hashes:
            raise ValueError(f"networks need different names, {network.title!r} is there twice")
        hashes[network.title] = network.sha256
    return hashes


def _fingerprint(options: Options, hashes: dict[str, str], sources: list[Source]) -> str:
    """Return a hash that is equal for equal tables."""
    named = [PRODUCT, options.to_json(), hashes, [list(source) for source in sources]]
    return sha256(json.dumps(named, sort_keys=True).encode()).hexdigest()


def _rows(journal: Journal, names: list[str]) -> Iterator[dict[str, Cell]]:
    for entry in journal.entries(names):
        yield from entry["rows"]


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"the folder {folder} cannot be made: {error.strerror or error}"
        ) from error
