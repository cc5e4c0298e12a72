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


UNKNOWN = Estimate(nan, nan)


def jensen_shannon_nats(
    sums: RowSums, *, generator: torch.Generator, shuffles: bool = True
) -> list[tuple[Estimate, Estimate]]:
    """Return the mean Jensen-Shannon divergence of all ordered pairs of rows, 0 to ln 2.

    That of two rows is the entropy of their mean minus the mean of their entropies. As in GCNet's
    Table 1 (Cao et al. 2019) the pairs of a query with itself count, as zeros. Compared are `PAIRS`
    pairs of the sampled queries, or all pairs of all queries where there are no more than that; of
    several heads the same pairs.

    Args:
        sums: Of several heads; of those whose attention has negative weights there is no estimate.
        generator: Where the shuffles come from.
        shuffles: Whether to shuffle.

    Returns:
        The estimate for every head, and the one where the keys of each pair's second row are
        shuffled, which is NaN without shuffles.
    """
    queries, keys = sums.entropy_nats.shape[-1], sums.sample_rows.shape[-1]
    first, second = pairs_of(len(sums.sample), generator=generator)
    row_entropy = sums.entropy_nats[:, sums.sample]
    found, shuffled = [], []
    size = max(1, CHUNK_VALUES // keys)
    for one, other in zip(first.split(size), second.split(size), strict=True):
        orders = _orders(len(one), keys, generator) if shuffles else None
        of_mean = [
            _entropies_of_mean(rows, one, other, orders)
            for rows in sums.sample_rows.split(max(1, CHUNK_VALUES // max(1, 2 * len(one) * keys)))
        ]
        as_they_are, in_orders = (torch.cat(parts) for parts in zip(*of_mean, strict=True))
        entropy = (row_entropy[:, one] + row_entropy[:, other]) / 2
        found.append(as_they_are - entropy)
        shuffled.append(in_orders - entropy)
    estimates = partial(_estimates, pairs=(first, second), queries=queries)
    own = estimates(torch.cat(found, dim=1))
    others = estimates(torch.cat(shuffled, dim=1)) if shuffles else [UNKNOWN] * len(own)
    return [
        (UNKNOWN, UNKNOWN) if signed else (one, other)
        for one, other, signed in zip(own, others, sums.signed.tolist(), strict=True)
    ]


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


def _orders(pairs: int, keys: int, generator: torch.Generator) -> Int[Tensor, "pairs key_pos"]:
    """Return shuffled keys: one random order, which every pair enters elsewhere."""
    start = torch.randint(keys, (pairs, 1), generator=generator)
    order = torch.randperm(keys, generator=generator)
    return order[(torch.arange(keys) + start) % keys]


def _entropies_of_mean(
    rows: Float[Tensor, "heads sample key_pos"],
    first: Int[Tensor, " pairs"],
    second: Int[Tensor, " pairs"],
    orders: Int[Tensor, "pairs key_pos"] | None,
) -> tuple[Float[Tensor, "heads pairs"], Float[Tensor, "heads pairs"]]:
    """Return the entropy of the mean of two rows, and that with the second's keys in some order.

    The latter is NaN where no order is given.
    """
    # halves of rows, so that two of them make a mean; of a row of zeros infinite, NaN in the end
    halves = rows * (0.5 / rows.sum(dim=-1, keepdim=True))
    p, q = halves.index_select(1, first), halves.index_select(1, second)
    if orders is None:
        own = entropy_nats(p.add_(q))
        return own, torch.full_like(own, nan)
    shuffled = entropy_nats(q.gather(2, orders.to(q.device).expand(q.shape)).add_(p))
    return entropy_nats(p.add_(q)), shuffled


def _estimates(
    divergence: Float[Tensor, "heads pairs"],
    *,
    pairs: tuple[Int[Tensor, " pairs"], Int[Tensor, " pairs"]],
    queries: int,
) -> list[Estimate]:
    """Return the mean of what pairs of rows gave for every head, and its standard error.

    Pairs that share a row are not independent: the error is that of Aronow, Samii and Assenova
    (2015), "Cluster-robust variance estimation for dyadic data", for such means.
    """
    heads, compared = divergence.shape
    if queries == 1:
        return [Estimate(0.0, 0.0)] * heads
    known = ~divergence.isnan()
    count = known.sum(dim=1)
    # what is left out are the pairs of a query with itself: zeros
    values = (divergence * (queries - 1) / queries).where(known, 0)
    mean = values.sum(dim=1) / count
    if compared == queries * (queries - 1) // 2:
        error = torch.zeros_like(mean)
    else:
        off = (values - mean[:, None]).where(known, 0)
        of_row = off.new_zeros(heads, queries)
        for rows in pairs:
            of_row.index_add_(1, rows, off)
        independent = off.square().sum(dim=1)
        of_pairs = (of_row.square().sum(dim=1) - independent).maximum(independent)
        error = of_pairs.sqrt() / count
    found = zip(mean.clamp_min(0).tolist(), error.tolist(), strict=True)
    return [Estimate(*both) for both in found]
