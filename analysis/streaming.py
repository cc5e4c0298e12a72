"""One pass over all rows of a block's attention: the sums that its statistics are made of."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from analysis import terms
from analysis.distance import Distances
from analysis.record import AttentionRecord

CHUNK_VALUES = 2**18
"""Attention values in memory at a time: queries are taken in chunks of this many / keys."""

SAMPLE = 512
"""Random queries whose rows are kept; all queries where there are no more than that."""

SHUFFLE_DRAWS = 2048
"""Key positions at which the mean over rows with shuffled keys is sampled."""


@dataclass(frozen=True, eq=False)
class RowSums:
    """What one pass leaves of all rows of attention: sums in float64, and a sample of the rows.

    The *shares* of a row are its weights without sign, divided by their sum: for a softmax, the
    row itself. A row of zeros is left out of means; where queries are listed it is NaN.
    """

    signed: bool  # whether any weight is below 0
    mean_share: Float[Tensor, " key_pos"]  # over queries
    entropy_nats: Float[Tensor, " query_pos"]  # of a row's shares
    distance: Float[Tensor, " query_pos"]  # mean over a row's shares, in image pixels
    distances: Distances  # of all queries from all keys
    frame_share: Float[Tensor, "query_frames key_frames"]  # all entries together sum to 1
    shuffled_mean_share: Float[Tensor, " draws"]  # every row's keys shuffled; NaN if not asked for
    mean_unit: Float[Tensor, " key_pos"]  # over rows as they are, each divided by its length
    unit_sum: Float[Tensor, " query_pos"]  # sum of a row as it is, divided by its length
    sample: Int[Tensor, " sample"]  # random queries, in ascending order
    sample_rows: Float[Tensor, "sample key_pos"]  # theirs, as they are
    attended: Float[Tensor, "query_pos value_channels"] | None  # the values, weighted by every row


def sum_rows(
    record: AttentionRecord,
    *,
    generator: torch.Generator,
    shuffles: bool = True,
    value: Float[Tensor, "key_pos value_channels"] | None = None,
) -> RowSums:
    """Pass once over a block's whole attention, in chunks of queries.

    Time O(queries x keys x channels), memory O((chunk + sample) x keys).

    Args:
        record: The block.
        generator: Where the sample and the shuffles come from.
        shuffles: Whether to sample the mean over rows with shuffled keys.
        value: What rows are to be applied to, if to anything.
    """
    queries, keys = len(record.query), len(record.key)
    query_frames, key_frames = record.query_grid.frames, record.key_grid.frames
    distances = Distances.between(record.query_grid, record.key_grid, record.query.dtype)
    sample = torch.randperm(queries, generator=generator)[:SAMPLE].sort().values
    sample_rows = record.query.new_empty(len(sample), keys)
    kept = 0
    signed = False
    mean_share, mean_unit = torch.zeros(2, keys, dtype=torch.float64)
    frame_share = torch.zeros(query_frames, key_frames, dtype=torch.float64)
    shuffled = torch.full((SHUFFLE_DRAWS,), 0.0 if shuffles else torch.nan, dtype=torch.float64)
    by_query: list[tuple[Tensor, ...]] = []
    attended: list[Tensor] = []
    value = None if value is None else value.detach().to(record.query)

    # of the time, half goes into making the rows: every further look at them counts
    for chunk in query_chunks(record):
        rows = terms.attention(record, chunk)
        if value is not None:
            attended.append(rows @ value)
        first, last = int(chunk[0]), int(chunk[-1])
        here = sample[(sample >= first) & (sample <= last)] - first
        torch.index_select(rows, 0, here, out=sample_rows[kept : kept + len(here)])
        kept += len(here)
        tiny = torch.finfo(rows.dtype).tiny
        least = rows.amin().item()
        negative = least < 0
        signed |= negative
        weights = rows.abs() if negative else rows
        weight = weights.sum(dim=1)
        total = rows.sum(dim=1) if negative else weight
        size, length = weight.clamp_min(tiny), rows.norm(dim=1).clamp_min(tiny)
        # rows are never divided by their lengths and sums: what becomes of them is, which is less
        over_queries = torch.stack((1 / length, 1 / size)) @ rows
        mean_unit += over_queries[0]
        mean_share += (1 / size) @ weights if negative else over_queries[1]
        weight, size = weight.double(), size.double()
        entropy = size.log() - weighted_logarithms(weights, positive=least > 0) / size
        distance = distances.weigh(first, weights).double() / size
        by_query.append((weight, entropy, distance, (total / length).double()))
        if len(frame_share) > 1 or key_frames > 1:
            in_frame = weights.unflatten(1, (key_frames, -1)).sum(dim=2).double() / size[:, None]
            frame_share.index_add_(0, chunk // (queries // query_frames), in_frame)
        if shuffles:
            draws = torch.randint(keys, (len(chunk), SHUFFLE_DRAWS), generator=generator)
            shuffled += (1 / size).to(rows.dtype) @ weights.gather(1, draws)

    weight, entropy, distance, unit_sum = map(torch.cat, zip(*by_query, strict=True))
    attends = weight > 0
    count = attends.sum()
    return RowSums(
        signed=signed,
        mean_share=mean_share / count,
        entropy_nats=entropy.where(attends, torch.nan),
        distance=distance.where(attends, torch.nan),
        distances=distances,
        frame_share=frame_share / count
        if frame_share.numel() > 1
        else torch.ones_like(frame_share),
        shuffled_mean_share=shuffled / count,
        mean_unit=mean_unit / count,
        unit_sum=unit_sum.where(attends, torch.nan),
        sample=sample,
        sample_rows=sample_rows,
        attended=torch.cat(attended) if attended else None,
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


def weighted_logarithms(
    weights: Float[Tensor, "*rows key_pos"], *, positive: bool = False
) -> Float[Tensor, "*rows"]:
    """Return the sum of w ln w over every row of weights, as float64.

    Args:
        weights: At least 0.
        positive: Whether they are known to be above 0, which saves looking.
    """
    # twice as fast as torch.special.entr, and 0 log 0 comes out as 0 all the same
    if not positive:
        logarithms = weights.clamp_min(torch.finfo(weights.dtype).tiny).log_()
    else:
        logarithms = weights.log()
    sums: Tensor = torch.linalg.vecdot(logarithms, weights).double()
    return sums
