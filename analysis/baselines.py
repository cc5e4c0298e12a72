"""What a statistic would be for attention that is known to be degenerate, or known to be random."""

from math import log, nan
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from nonlocal_lens.analysis.streaming import RowSums
from nonlocal_lens.analysis.vectors import distance_from_mean_cosine


class Baselines(NamedTuple):
    """One statistic for three other attentions of the same block; NaN where it has no meaning."""

    uniform: float  # every query attends to all keys alike
    mean_row: float  # every query attends like the mean over queries: fully degenerate
    shuffled: float  # every row keeps its weights, at random keys of its own


def unary_share_baselines(queries: float) -> Baselines:
    """Return the baselines of the unary share; those of shuffled logits are means over shuffles.

    Uniform attention has equal logits, of which nothing can be shared. Shuffling leaves the squares
    of each row's centered logits alone; the mean over `queries` rows that have nothing to do with
    each other retains one part in `queries` of them.
    """
    return Baselines(nan, 1.0, 1 / queries)


def shuffled_cosine_distance(sums: RowSums) -> Float[Tensor, "*heads"]:
    """Return the mean cosine distance of rows with shuffled keys, the average over all shuffles.

    Two unit rows with sums a and b then have the product a b / keys on average; a row with itself
    still has 1.
    """
    keys = sums.mean_unit.shape[-1]
    attends = ~sums.unit_sum.isnan()
    unit_sum, rows = sums.unit_sum.where(attends, 0), attends.sum(dim=-1)
    of_others = (unit_sum.sum(dim=-1).square() - unit_sum.square().sum(dim=-1)) / keys
    return distance_from_mean_cosine((rows + of_others) / rows.square())  # of no row: NaN


def shuffled_extremes(sums: RowSums) -> tuple[Float[Tensor, "*heads"], Float[Tensor, "*heads"]]:
    """Return the largest share of the mean row of shuffled rows, and that over its median.

    Means over as many mean rows as the sampled positions make up; of grids with more keys, of all
    sampled positions together, whose largest is a little less.
    """
    keys, drawn = sums.mean_share.shape[-1], sums.shuffled_mean_share
    draws = drawn.shape[-1]
    whole = keys if keys < draws else draws
    rows = drawn[..., : draws // whole * whole].unflatten(-1, (-1, whole))
    largest = rows.amax(dim=-1)
    middle = rows.quantile(0.5, dim=-1)
    return largest.mean(dim=-1), (largest / middle).mean(dim=-1)


def shuffled_mean_entropy_nats(sums: RowSums) -> Float[Tensor, "*heads"]:
    """Return the entropy of the mean row after the keys of all rows were shuffled.

    Estimated from the mean row's shares at `analysis.streaming.SHUFFLE_DRAWS` positions. That they
    sum to 1 over all positions is used to take most of the noise out: an entropy's tangent at
    uniform attention has a known sum.
    """
    keys, share = sums.mean_share.shape[-1], sums.shuffled_mean_share
    tangent = log(keys) / keys + (log(keys) - 1) * (share - 1 / keys)
    nats: Tensor = log(keys) + keys * (torch.special.entr(share) - tangent).mean(dim=-1)
    return nats
