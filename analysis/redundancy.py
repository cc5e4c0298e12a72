"""Heads that look, on average, where another one already looks: redundant by their mean rows."""

from collections.abc import Sequence
from math import log
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.streaming import entropy_nats, query_chunks, shares

ALIKE = 0.1
"""Two mean rows are alike if they are this many times closer to each other than to uniform."""


class Twin(NamedTuple):
    """The head whose mean row is nearest, of those that are alike."""

    head: int  # its number among those that were given
    bits: float  # Jensen-Shannon divergence of the two mean rows, 0 to 1


def mean_row(record: AttentionRecord) -> Float[Tensor, " key_pos"]:
    """Return the mean of the rows' shares over the queries that count, which sums to 1, in float64.

    A row of zeros is left out; where all are, so is the mean: NaN. Memory O(chunk x keys).
    """
    total = torch.zeros(len(record.key), dtype=torch.float64)
    attending = 0
    for chunk in query_chunks(record):
        share = shares(terms.attention(record, chunk)).double()
        total += share.nansum(dim=0)
        attending += int((~share[:, 0].isnan()).sum())
    return total / attending if attending else torch.full_like(total, torch.nan)


def divergence_bits(
    row: Float[Tensor, " key_pos"], others: Float[Tensor, "rows key_pos"]
) -> Float[Tensor, " rows"]:
    """Return the Jensen-Shannon divergence of one distribution from each of some others, 0 to 1."""
    middle = entropy_nats((others + row) / 2)
    apart = middle - (entropy_nats(others) + entropy_nats(row[None])) / 2
    return (apart / log(2)).clamp(0, 1)


def twin(
    record: AttentionRecord,
    row: Float[Tensor, " key_pos"],
    earlier: Sequence[tuple[AttentionRecord, Float[Tensor, " key_pos"]]],
) -> Twin | None:
    """Return the earlier head that makes this one redundant; None if none does.

    Mean rows are compared where both heads have the same keys. They are alike if their divergence
    is at most `ALIKE` times that of each from uniform attention: nearly uniform heads, which are
    all near each other, are alike only if what little they prefer is the same.

    Args:
        record: The head.
        row: Its mean row.
        earlier: Heads of the same network that ran before, with their mean rows.
    """
    comparable = [
        number
        for number, (other, _) in enumerate(earlier)
        if len(other.key) == len(row) and other.key_axis == record.key_axis
    ]
    if not comparable or row.isnan().any():
        return None
    rows = torch.stack([earlier[number][1] for number in comparable])
    uniform = torch.full_like(row, 1 / len(row))
    selective = torch.minimum(
        divergence_bits(uniform, rows), divergence_bits(uniform, row[None]).expand(len(rows))
    )
    apart = divergence_bits(row, rows)
    alike = apart <= ALIKE * selective
    if not alike.any():
        return None
    best = int(apart.where(alike, torch.inf).argmin())
    return Twin(comparable[best], float(apart[best]))
