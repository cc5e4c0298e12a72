"""Blocks whose queries do not look at all keys: what that alone says, and the record of each part.

What such a block is judged by is what it does with the keys in reach: that its queries look at
their own frame, window or row is no merit of theirs.
"""

from collections.abc import Iterator
from dataclasses import replace
from math import log
from typing import Any, NamedTuple

import torch

from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.streaming import query_chunks
from nonlocal_lens.analysis.terms import once_per_record


class Restriction(NamedTuple):
    """What it means for a block's rows that queries do not look at all keys."""

    kind: str  # what a query has in common with the keys that it looks at
    information_bits: float  # that a query tells by where it may look: of rows uniform in reach
    width_bits: float  # mean over queries of log2 of the keys in reach


@once_per_record
def restriction(record: AttentionRecord) -> Restriction | None:
    """Return how the queries of a block are restricted; None where they look everywhere.

    Of the queries that count. Where reaches are parts of the grid, the information is the entropy
    of a query's part. Where they overlap it takes a look at all pairs: time O(queries x keys),
    memory O(chunk x keys).
    """
    if record.reach is None:
        return None
    queries, keys = record.query_axis.counting, len(record.key)
    mean_row = torch.zeros(keys, dtype=torch.float64)
    width = 0.0
    if record.parts is not None:
        of_queries, of_keys, number = record.parts
        members = of_queries[:queries].bincount(minlength=number).double()
        sizes = of_keys.bincount(minlength=number).double()
        mean_row += (members / sizes.clamp_min(1))[of_keys]
        width += (members * sizes.clamp_min(1).log2()).sum().item()
    else:
        for chunk in query_chunks(record):
            seen = record.reach.sees(chunk).double()
            sizes = seen.sum(dim=1)
            mean_row += (1 / sizes) @ seen
            width += sizes.log2().sum().item()
    width /= queries
    entropy = -torch.special.xlogy(mean_row / queries, mean_row / queries).sum().item() / log(2)
    return Restriction(record.reach.kind, max(entropy - width, 0.0), width)


def part_records(record: AttentionRecord) -> Iterator[AttentionRecord]:
    """Yield the record of every part by itself; of a block that has none, the record.

    Parts in which no query counts are left out.
    """
    if record.parts is None:
        yield record
        return
    of_queries, of_keys, _ = record.parts
    for part in of_queries[: record.query_axis.counting].unique().tolist():
        queries, keys = ((side == part).nonzero()[:, 0] for side in (of_queries, of_keys))
        yield replace(
            record,
            query=record.query[queries],
            key=record.key[keys],
            unary=None if record.unary is None else record.unary[keys],
            value_norm=None if record.value_norm is None else record.value_norm[keys],
            value=None if record.value is None else record.value[keys],
            **_side("query", record.query_axis.subset(queries)),
            **_side("key", record.key_axis.subset(keys)),
            reach=None,
        )


def _side(side: str, axis: Axis) -> dict[str, Any]:
    return {f"{side}_grid": axis.grid, f"{side}_axis": axis}
