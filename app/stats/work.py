"""One input of a table, start to end: a function of plain values, so that any engine can map it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from math import isfinite
from typing import Any

from app.batch.clips import of_clips, read_source_clip, usual_frames
from app.batch.errors import UNUSABLE, in_words
from app.batch.inputs import Picture, Source, read_source
from app.batch.networks import LoadedNetwork, load, one_thread
from app.stats.cells import measured
from app.stats.clip_rows import rows_of_clip
from app.stats.columns import Cell
from app.stats.options import Options

Row = dict[str, Cell]
RowsOf = Callable[[LoadedNetwork], Iterator[dict[str, Any]]]


@dataclass
class Done:
    """What came of an input; plain values, as they are kept in the journal."""

    rows: list[Row] = field(default_factory=list)
    errors: list[dict[str, str]] = field(default_factory=list)


def measure_input(source: Source, options: Options) -> Done:
    """Run every network on an input once, and measure its blocks.

    An input or a network that cannot be used becomes an entry of `errors`; the others go on.
    """
    done = Done()
    with one_thread():
        try:
            rows_of = _read(source, options)
        except UNUSABLE as error:
            return Done(errors=[_failure(source, "", error)])
        for name in options.networks:
            network = load(name)
            try:
                found = [known(row) for row in rows_of(network)]
            except UNUSABLE as error:
                done.errors.append(_failure(source, network.title, error))
            else:
                done.rows += [{"input": source.location, **row} for row in found]
    return done


def _read(source: Source, options: Options) -> RowsOf:
    """Read an input once; return what measures a network on it."""
    if not of_clips(options):
        return partial(
            _rows_of_picture, read_source(source.location, options.label_folder), options
        )
    frames = options.frames or usual_frames(load(name).module for name in options.networks)
    clip = read_source_clip(source.location, options.start or 0, options.stride, frames)
    return partial(rows_of_clip, clip, options)


def _rows_of_picture(
    picture: Picture, options: Options, network: LoadedNetwork
) -> Iterator[dict[str, Any]]:
    """Yield a row for every block and head of a network on one image."""
    labels = picture.labels if options.labels is not None else None
    height, width = picture.image.shape[:2]
    where = {"input_sha256": picture.sha256, "width": width, "height": height}
    for _, cells in measured(network, picture.image, options, labels):
        yield {**where, **cells}


def known(row: dict[str, Any]) -> Row:
    """Return a row as every format can hold it: what is undefined is None."""
    return {
        name: None if isinstance(cell, float) and not isfinite(cell) else cell
        for name, cell in row.items()
    }


def _failure(source: Source, network: str, error: BaseException) -> dict[str, str]:
    return {"input": source.location, "network": network, "error": in_words(error)}
