"""One pass over all rows of a block's attention: the sums that its statistics are made of."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from analysis import terms
from analysis.distance import Distances
from analysis.record import AttentionRecord

CHUNK_VALUES = 2**19
"""Attention values in memory at a time: queries are taken in chunks of this many / keys."""

SHUFFLE_DRAWS = 2048
"""Key positions at which the mean over rows with shuffled keys is sampled."""


@dataclass(frozen=True, eq=False)
class RowSums:
    """What one pass leaves of all rows of attention, in float64.

    The *shares* of a row are its weights without sign, divided by their sum: for a softmax, the
    row itself. A row of zeros is left out of means; where queries are listed it is NaN.
    """

    signed: bool  # whether any weight is below 0
    mean_share: Float[Tensor, " key_pos"]  # over queries
    entropy_nats: Float[Tensor, " query_pos"]  # of a row's shares
    distance: Float[Tensor, " query_pos"]  # mean over a row's shares, in image pixels
    key_distance: Float[Tensor, " key_pos"]  # mean over queries, whatever they attend to
    farthest: float  # greatest distance of any query from any key, in image pixels
    frame_share: Float[Tensor, "query_frames key_frames"]  # all entries together sum to 1
    shuffled_mean_share: Float[Tensor, " draws"]  # every row's keys shuffled; NaN if not asked for
    mean_unit: Float[Tensor, " key_pos"]  # over rows as they are, each divided by its length
    unit_sum: Float[Tensor, " query_pos"]  # sum of a row as it is, divided by its length


def sum_rows(
    record: AttentionRecord, *, generator: torch.Generator, shuffles: bool = True
) -> RowSums:
    """Pass once over a block's whole attention, in chunks of queries.

    Time O(queries x keys x channels), memory O(chunk x keys).

    Args:
        record: The block.
        generator: Where the shuffles come from.
        shuffles: Whether to sample the mean over rows with shuffled keys.
    """
    queries, keys = len(record.query), len(record.key)
    query_frames, key_frames = record.query_grid.frames, record.key_grid.frames
    distances = Distances.between(record.query_grid, record.key_grid, record.query.dtype)
    signed = False
    mean_share, key_distance, mean_unit = torch.zeros(3, keys, dtype=torch.float64)
    entropy, distance, weight, unit_sum = torch.zeros(4, queries, dtype=torch.float64)
    frame_share = torch.zeros(query_frames, key_frames, dtype=torch.float64)
    shuffled = torch.full((SHUFFLE_DRAWS,), 0.0 if shuffles else torch.nan, dtype=torch.float64)

    for chunk in query_chunks(record):
        rows = terms.attention(record, chunk)
        tiny = torch.finfo(rows.dtype).tiny
        length = rows.norm(dim=1).clamp_min(tiny)
        mean_unit += (1 / length) @ rows
        unit_sum[chunk] = (rows.sum(dim=1) / length).double()

        negative = bool((rows.amin() < 0).item())
        signed |= negative
        weights = rows.abs() if negative else rows
        weight[chunk] = weights.sum(dim=1).double()
        # weights are never divided by their sums: what becomes of them is, which is much less
        size = weight[chunk].clamp_min(tiny)
        per_size = (1 / size).to(rows.dtype)
        mean_share += per_size @ weights
        entropy[chunk] = size.log() - weighted_logarithms(weights) / size
        apart = distances.rows(chunk)
        distance[chunk] = torch.linalg.vecdot(weights, apart).double() / size
        key_distance += apart.sum(dim=0)
        if key_frames > 1:
            in_frame = weights.unflatten(1, (key_frames, -1)).sum(dim=2).double()
        else:
            in_frame = weight[chunk, None]
        frame_share.index_add_(0, chunk // (queries // query_frames), in_frame / size[:, None])
        if shuffles:
            draws = torch.randint(keys, (len(chunk), SHUFFLE_DRAWS), generator=generator)
            shuffled += per_size @ weights.gather(1, draws)

    attends = weight > 0
    count = attends.sum()
    return RowSums(
        signed=signed,
        mean_share=mean_share / count,
        entropy_nats=entropy.where(attends, torch.nan),
        distance=distance.where(attends, torch.nan),
        key_distance=key_distance / queries,
        farthest=distances.farthest,
        frame_share=frame_share / count,
        shuffled_mean_share=shuffled / count,
        mean_unit=mean_unit / count,
        unit_sum=unit_sum.where(attends, torch.nan),
    )


def query_chunks(
    record: AttentionRecord, queries: Int[Tensor, " some"] | None = None
) -> Iterator[Int[Tensor, " chunk"]]:
    """Yield query positions in order, as many at a time as memory should hold rows of.

    Args:
        record: The block.
        queries: Which positions; all if not given.
    """
    queries = torch.arange(len(record.query)) if queries is None else queries
    yield from queries.split(max(1, CHUNK_VALUES // len(record.key)))


def shares(rows: Float[Tensor, "queries key_pos"]) -> Float[Tensor, "queries key_pos"]:
    """Return every row's weights without sign, divided by their sum; NaN for a row of zeros."""
    weights = rows.abs()
    return weights / weights.sum(dim=1, keepdim=True)


def entropy_nats(p: Float[Tensor, "*rows key_pos"]) -> Float[Tensor, "*rows"]:
    """Return the entropy of distributions as float64, 0 to ln of the number of keys."""
    return -weighted_logarithms(p)


def weighted_logarithms(weights: Float[Tensor, "*rows key_pos"]) -> Float[Tensor, "*rows"]:
    """Return the sum of w ln w over every row of weights, as float64."""
    # twice as fast as torch.special.entr, and 0 log 0 comes out as 0 all the same
    logarithms = weights.clamp_min(torch.finfo(weights.dtype).tiny).log_()
    return torch.linalg.vecdot(logarithms, weights).double()
