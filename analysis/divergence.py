"""How much the rows of two queries differ, averaged over pairs: Jensen-Shannon divergence."""

from functools import partial
from math import nan
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nonlocal_lens.analysis.streaming import CHUNK_VALUES, RowSums, entropy_nats

PAIRS = 256
"""Pairs of queries that are compared; all of them where there are no more than that."""


class Estimate(NamedTuple):
    """A mean over pairs, and how far a mean over that many random pairs strays: one sigma."""

    mean: float
    standard_error: float  # 0 where no pair was left out


def jensen_shannon_nats(
    sums: RowSums, *, generator: torch.Generator, shuffles: bool = True
) -> tuple[Estimate, Estimate]:
    """Return the mean Jensen-Shannon divergence of all ordered pairs of rows, 0 to ln 2.

    That of two rows is the entropy of their mean minus the mean of their entropies. As in GCNet's
    Table 1 (Cao et al. 2019) the pairs of a query with itself count, as zeros. Compared are `PAIRS`
    pairs of the sampled queries, or all pairs of all queries where there are no more than that.

    Args:
        sums: Of a block whose attention has no negative weights.
        generator: Where the shuffles come from.
        shuffles: Whether to shuffle.

    Returns:
        The estimate for the block, and the one where the keys of each pair's second row are
        shuffled, which is NaN without shuffles.
    """
    queries, keys = len(sums.entropy_nats), sums.sample_rows.shape[1]
    first, second = pairs_of(len(sums.sample), generator=generator)
    rows, row_entropy = sums.sample_rows, sums.entropy_nats[sums.sample]
    half = 0.5 / rows.sum(dim=1, keepdim=True)  # of a row of zeros: infinite, and NaN in the end
    found, shuffled = [], []
    size = max(1, CHUNK_VALUES // keys)
    for one, other in zip(first.split(size), second.split(size), strict=True):
        p, q = (rows.index_select(0, some).mul_(half[some]) for some in (one, other))
        entropy = (row_entropy[one] + row_entropy[other]) / 2
        if shuffles:
            shuffled.append(entropy_nats(_shuffled(q, generator).add_(p)) - entropy)
        found.append(entropy_nats(p.add_(q)) - entropy)
    estimate = partial(_estimate, pairs=(first, second), queries=queries)
    return (
        estimate(torch.cat(found)),
        estimate(torch.cat(shuffled)) if shuffles else Estimate(nan, nan),
    )


def pairs_of(
    rows: int, *, generator: torch.Generator
) -> tuple[Int[Tensor, " pairs"], Int[Tensor, " pairs"]]:
    """Return all pairs of different rows, or `PAIRS` random ones that use all rows alike.

    Rows are laid in random order on a circle and paired with the next one; then, as long as there
    are pairs left to take, with the one after that, and so on. No pair comes twice.
    """
    if rows * (rows - 1) // 2 <= PAIRS:
        first, second = torch.triu_indices(rows, rows, offset=1)
        return first, second
    order = torch.randperm(rows, generator=generator)
    at = torch.arange(PAIRS)
    # of so many rows that they are not all needed, each is in one pair
    at, step = (2 * at, 1) if rows >= 2 * PAIRS else (at % rows, at // rows + 1)
    return order[at], order[(at + step) % rows]


def _shuffled(
    rows: Float[Tensor, "pairs key_pos"], generator: torch.Generator
) -> Float[Tensor, "pairs key_pos"]:
    """Return rows with shuffled keys: one random order, which every row enters at another place."""
    keys = rows.shape[1]
    start = torch.randint(keys, (len(rows), 1), generator=generator)
    order = torch.randperm(keys, generator=generator)
    return rows.gather(1, order[(torch.arange(keys) + start) % keys])


def _estimate(
    divergence: Float[Tensor, " pairs"],
    *,
    pairs: tuple[Int[Tensor, " pairs"], Int[Tensor, " pairs"]],
    queries: int,
) -> Estimate:
    """Return the mean of what pairs of rows gave, and its standard error.

    Pairs that share a row are not independent: the error is that of Aronow, Samii and Assenova
    (2015), "Cluster-robust variance estimation for dyadic data", for such means.
    """
    if queries == 1:
        return Estimate(0.0, 0.0)
    known = ~divergence.isnan()
    # what is left out are the pairs of a query with itself: zeros
    values = divergence[known] * (queries - 1) / queries
    mean = max(values.mean().item(), 0.0)
    if len(divergence) == queries * (queries - 1) // 2:
        return Estimate(mean, 0.0)
    off = values - values.mean()
    of_row = torch.zeros(queries, dtype=off.dtype)
    for rows in pairs:
        of_row.index_add_(0, rows[known], off)
    independent = off.square().sum()
    variance = (of_row.square().sum() - independent).clamp_min(independent) / len(values) ** 2
    return Estimate(mean, variance.sqrt().item())
