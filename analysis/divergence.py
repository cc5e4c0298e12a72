"""How much the rows of two queries differ, averaged over pairs: Jensen-Shannon divergence."""

from math import nan
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from analysis import terms
from analysis.record import AttentionRecord
from analysis.streaming import CHUNK_VALUES, entropy_nats, shares

PAIRS = 1024
"""Pairs of queries that are compared; all of them where there are no more than that."""


class Estimate(NamedTuple):
    """A mean over pairs, and how far a mean over that many random pairs strays: one sigma."""

    mean: float
    standard_error: float  # 0 where no pair was left out


def jensen_shannon_nats(
    record: AttentionRecord,
    row_entropy: Float[Tensor, " query_pos"],
    *,
    generator: torch.Generator,
    shuffles: bool = True,
) -> tuple[Estimate, Estimate]:
    """Return the mean Jensen-Shannon divergence of all ordered pairs of rows, 0 to ln 2.

    That of two rows is the entropy of their mean minus the mean of their entropies. As in GCNet's
    Table 1 (Cao et al. 2019) the pairs of a query with itself count, as zeros.

    Args:
        record: The block; its attention must have no negative weights.
        row_entropy: Of every row's shares, in nats: see `analysis.streaming.sum_rows`.
        generator: Where the pairs come from, and the shuffles.
        shuffles: Whether to shuffle.

    Returns:
        The estimate for the block, and the one where the keys of each pair's second row are
        shuffled, which is NaN without shuffles.
    """
    queries = len(record.query)
    first, second = query_pairs(queries, generator=generator)
    found, shuffled = [], []
    size = max(1, CHUNK_VALUES // (2 * len(record.key)))
    for one, other in zip(first.split(size), second.split(size), strict=True):
        p, q = shares(terms.attention(record, torch.cat((one, other)))).chunk(2)
        entropy = (row_entropy[one] + row_entropy[other]) / 2
        found.append(entropy_nats((p + q).div_(2)) - entropy)
        if shuffles:
            shuffled.append(entropy_nats(_shuffled(q, generator).add_(p).div_(2)) - entropy)
    sampled = len(first) < queries * (queries - 1) // 2
    return (
        _estimate(torch.cat(found), queries, sampled),
        _estimate(torch.cat(shuffled), queries, sampled) if shuffles else Estimate(nan, nan),
    )


def query_pairs(
    queries: int, *, generator: torch.Generator
) -> tuple[Int[Tensor, " pairs"], Int[Tensor, " pairs"]]:
    """Return all pairs of different queries, or `PAIRS` random ones where there are more."""
    if queries * (queries - 1) // 2 <= PAIRS:
        first, second = torch.triu_indices(queries, queries, offset=1)
        return first, second
    first = torch.randint(queries, (PAIRS,), generator=generator)
    step = torch.randint(1, queries, (PAIRS,), generator=generator)
    return first, (first + step) % queries


def _shuffled(
    rows: Float[Tensor, "pairs key_pos"], generator: torch.Generator
) -> Float[Tensor, "pairs key_pos"]:
    """Return rows with shuffled keys: one random order, which every row enters at another place."""
    keys = rows.shape[1]
    start = torch.randint(keys, (len(rows), 1), generator=generator)
    order = torch.randperm(keys, generator=generator)
    return rows.gather(1, order[(torch.arange(keys) + start) % keys])


def _estimate(divergence: Float[Tensor, " pairs"], queries: int, sampled: bool) -> Estimate:
    if queries == 1:
        return Estimate(0.0, 0.0)
    # what is left out are the pairs of a query with itself: zeros
    values = divergence[~divergence.isnan()] * (queries - 1) / queries
    error = values.std().item() / len(values) ** 0.5 if sampled else 0.0
    return Estimate(max(values.mean().item(), 0.0), error)
