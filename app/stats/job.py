"""One input of a table, start to end: a function of plain values, so that any engine can map it."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from math import isfinite
from typing import Any

from nonlocal_lens.analysis.clips import Clip
from nonlocal_lens.analysis.early_exit import BlockObservation, observe_blocks_together
from nonlocal_lens.app.batch.ahead import Ahead
from nonlocal_lens.app.batch.clips import default_frames, read_source_clip
from nonlocal_lens.app.batch.errors import UNUSABLE, in_words
from nonlocal_lens.app.batch.inputs import Picture, Source, read_source
from nonlocal_lens.app.batch.networks import LoadedNetwork, load, load_all
from nonlocal_lens.app.batch.run import reads_clips
from nonlocal_lens.app.stats.cells import AnotherInput, measured
from nonlocal_lens.app.stats.clip_rows import rows_of_clip
from nonlocal_lens.app.stats.columns import Cell
from nonlocal_lens.app.stats.independence import packed
from nonlocal_lens.app.stats.options import Options
from nonlocal_lens.app.stats.summary import Group
from nonlocal_lens.app.threads import one_thread

UNARY_MAP = "unary map"
"""Under what a row has it on its way into the journal; no table has such a column."""

Row = dict[str, Cell]
RowsOf = Callable[[LoadedNetwork], Iterator[dict[str, Any]]]


@dataclass
class Done:
    """What came of an input; plain values, as they are kept in the journal."""

    rows: list[Row] = field(default_factory=list)
    maps: list[dict[str, Any]] = field(default_factory=list)  # unary maps, where they are asked for
    errors: list[dict[str, str]] = field(default_factory=list)


def measure_together(sources: Sequence[Source], options: Options) -> list[Done]:
    """Do what `measure_input` does with each of some pictures; those of one size go together."""
    with one_thread():
        networks = load_all(options.networks)
        ahead = Ahead(sources, networks, observe_blocks_together)
    return [measure_input(source, options, as_clip=False, ahead=ahead) for source in sources]


def measure_input(
    source: Source,
    options: Options,
    *,
    as_clip: bool | None = None,
    ahead: Ahead[BlockObservation] | None = None,
) -> Done:
    """Run every network on an input once, and measure its blocks.

    An input or a network that cannot be used becomes an entry of `errors`; the others go on.

    Args:
        source: The input.
        options: What is measured.
        as_clip: How the input is read; as the options and the networks say if None.
        ahead: What networks did on pictures before.
    """
    as_clip = reads_clips(options) if as_clip is None else as_clip
    done = Done()
    with one_thread():
        try:
            rows_of = _read(source, options, as_clip, ahead)
        except UNUSABLE as error:
            return Done(errors=[failure(source, "", error)])
        for network in load_all(options.networks):
            try:
                found = [*rows_of(network)]
            except UNUSABLE as error:
                done.errors.append(failure(source, network.title, error))
            else:
                done.maps += [row.pop(UNARY_MAP) for row in found if UNARY_MAP in row]
                done.rows += [{"input": source.location, **known(row)} for row in found]
    return done


def _read(
    source: Source, options: Options, as_clip: bool, ahead: Ahead[BlockObservation] | None
) -> RowsOf:
    """Read an input once; return what measures a network on it."""
    if not as_clip:
        return partial(
            _rows_of_picture,
            read_source(source.location, options.label_folder, options.void),
            options,
            _another(source, lambda location: read_source(location).image),
            None if ahead is None else lambda title: ahead.take(title, source.location),
        )
    frames = options.frames or default_frames(load(name).module for name in options.networks)

    def clip_at(location: str) -> Clip:
        return read_source_clip(location, options.start or 0, options.stride, frames)

    return partial(rows_of_clip, clip_at(source.location), options, _another(source, clip_at))


def _another(source: Source, read: Callable[[str], Any]) -> AnotherInput | None:
    """Return the other input of interventions; None where there is none that can be used."""
    if not source.another:
        return None
    try:
        return source.another, read(source.another)
    except UNUSABLE:  # it has an entry of its own among the errors
        return None


def _rows_of_picture(
    picture: Picture,
    options: Options,
    another: AnotherInput | None,
    seen: Callable[[str], BlockObservation | None] | None,
    network: LoadedNetwork,
) -> Iterator[dict[str, Any]]:
    """Yield a row for every block and head of a network on one image."""
    labels = picture.labels if options.labels is not None else None
    height, width = picture.image.shape[:2]
    where = {
        "input_sha256": picture.sha256,
        "width": width,
        "height": height,
        "read_as": picture.note or None,
    }
    observed = None if seen is None else seen(network.title)
    for record, cells in measured(network, picture.image, options, labels, another, observed):
        row = {**where, **cells}
        if options.image_independence:
            row[UNARY_MAP] = {"group": [row[name] for name in Group._fields], **packed(record)}
        yield row


def known(row: dict[str, Any]) -> Row:
    """Return a row as every format can hold it: what is undefined is None."""
    return {
        name: None if isinstance(cell, float) and not isfinite(cell) else cell
        for name, cell in row.items()
    }


def failure(source: Source, network: str, error: BaseException) -> dict[str, str]:
    """Return the row of `errors.csv` of an input that cannot be used, or a network on it."""
    return {"input": source.location, "network": network, "error": in_words(error)}
