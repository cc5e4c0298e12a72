"""Blocks whose queries look at part of a clip: which part, and the record of each.

`models.blocks.restricted` has the restriction in its logits: channels at the end of queries and
keys mark the parts, and lower the logits between two of them by 300. By these marks a record tells,
wherever it comes from. They are no embedding, and their products no similarity: what is measured of
logits or of embedded vectors is measured without them, within the parts.
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from analysis.grid import Grid
from analysis.record import AttentionRecord
from analysis.terms import once_per_record
from models.blocks.restricted import PENALTY


class Parts(NamedTuple):
    """How a block's queries are restricted: to keys of their own part."""

    kind: Literal["frame", "place"]  # what the positions of a part have in common
    number: int  # of parts, and of channels that mark them


@once_per_record
def parts_of(record: AttentionRecord) -> Parts | None:
    """Return how the queries of a block are restricted; None where they look everywhere."""
    if (record.form, record.coupling) != ("embedded_gaussian", "coupled") or record.scale <= 0:
        return None
    candidates = Parts("frame", record.query_grid.frames), Parts("place", _places(record)[0])
    return next((parts for parts in candidates if _marked(record, parts)), None)


def part_of_positions(
    record: AttentionRecord, parts: Parts
) -> tuple[Int[Tensor, " query_pos"], Int[Tensor, " key_pos"]]:
    """Return the part of every query and of every key."""
    sides = (len(record.query), len(record.key))
    if parts.kind == "place":
        of_queries, of_keys = (torch.arange(side) % parts.number for side in sides)
    else:
        of_queries, of_keys = (torch.arange(side) * parts.number // side for side in sides)
    return of_queries, of_keys


def unmarked(
    record: AttentionRecord,
) -> tuple[Float[Tensor, "query_pos channels"], Float[Tensor, "key_pos channels"]]:
    """Return the queries and keys of a record without the channels that mark parts."""
    parts = parts_of(record)
    channels = record.query.shape[1] - (parts.number if parts else 0)
    return record.query[:, :channels], record.key[:, :channels]


def part_records(record: AttentionRecord) -> Iterator[AttentionRecord]:
    """Yield the record of every part by itself; of a block that is not restricted, the record."""
    parts = parts_of(record)
    if parts is None:
        yield record
        return
    query, key = unmarked(record)
    of_queries, of_keys = part_of_positions(record, parts)

    def alone(grid: Grid) -> Grid:
        if parts.kind == "frame":
            return replace(grid, frames=1)
        return replace(grid, height=1, width=1)

    for part in range(parts.number):
        yield replace(
            record,
            query=query[of_queries == part],
            key=key[of_keys == part],
            query_grid=alone(record.query_grid),
            key_grid=alone(record.key_grid),
        )


def _places(record: AttentionRecord) -> tuple[int, int]:
    grids = record.query_grid, record.key_grid
    of_queries, of_keys = (grid.positions // grid.frames for grid in grids)
    return of_queries, of_keys


def _marked(record: AttentionRecord, parts: Parts) -> bool:
    """Return whether the last channels are what `models.blocks.restricted` marks parts by."""
    if parts.kind == "frame" and record.key_grid.frames != parts.number:
        return False
    if parts.kind == "place" and len(set(_places(record))) > 1:
        return False
    if record.query.shape[1] <= parts.number:
        return False
    size = (PENALTY / record.scale) ** 0.5
    of_queries, of_keys = (
        functional.one_hot(part, parts.number).to(record.query)
        for part in part_of_positions(record, parts)
    )
    return torch.allclose(record.query[:, -parts.number :], size * of_queries) and torch.allclose(
        record.key[:, -parts.number :], size * (of_keys - 1)
    )
