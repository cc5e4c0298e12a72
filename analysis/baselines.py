"""What a statistic would be for attention that is known to be degenerate, or known to be random."""

from math import log, nan
from typing import NamedTuple

import torch

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


def shuffled_cosine_distance(sums: RowSums) -> float:
    """Return the mean cosine distance of rows with shuffled keys, the average over all shuffles.

    Two unit rows with sums a and b then have the product a b / keys on average; a row with itself
    still has 1.
    """
    unit_sum = sums.unit_sum[~sums.unit_sum.isnan()]
    rows, keys = len(unit_sum), len(sums.mean_unit)
    of_others = (unit_sum.sum().square() - unit_sum.square().sum()).item() / keys
    return distance_from_mean_cosine((rows + of_others) / rows**2) if rows else torch.nan


def shuffled_extremes(sums: RowSums) -> tuple[float, float]:
    """Return the largest share of the mean row of shuffled rows, and that over its median.

    Means over as many mean rows as the sampled positions make up; of grids with more keys, of all
    sampled positions together, whose largest is a little less.
    """
    keys, drawn = len(sums.mean_share), sums.shuffled_mean_share
    rows = drawn[: len(drawn) // keys * keys].view(-1, keys) if keys < len(drawn) else drawn[None]
    largest = rows.amax(dim=1)
    middle = rows.quantile(0.5, dim=1)
    return largest.mean().item(), (largest / middle).mean().item()


def shuffled_mean_entropy_nats(sums: RowSums) -> float:
    """Return the entropy of the mean row after the keys of all rows were shuffled.

    Estimated from the mean row's shares at `analysis.streaming.SHUFFLE_DRAWS` positions. That they
    sum to 1 over all positions is used to take most of the noise out: an entropy's tangent at
    uniform attention has a known sum.
    """
    keys, share = len(sums.mean_share), sums.shuffled_mean_share
    tangent = log(keys) / keys + (log(keys) - 1) * (share - 1 / keys)
    bits: float = log(keys) + keys * (torch.special.entr(share) - tangent).mean().item()
    return bits
