"""One pass over all rows of a block's attention: the sums that its statistics are made of."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import nan

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.analysis.distance import Distances
from nonlocal_lens.analysis.neighborhood import Neighborhood
from nonlocal_lens.analysis.record import AttentionRecord

CHUNK_VALUES = 2**18
"""Attention values in memory at a time: queries are taken in chunks of this many / keys."""

SAMPLE = 512
"""Random queries whose rows are kept; all queries where there are no more than that."""

STRONG = 0.5
"""Share of a row from which on the keys that have it are kept; there are two at most."""

SHUFFLE_DRAWS = 2048
"""Key positions at which the mean over rows with shuffled keys is sampled."""


@dataclass(frozen=True, eq=False)
class RowSums:
    """What one pass leaves of all rows of attention: sums in float64, and a sample of the rows.

    Rows are those of the queries that count, over all keys. The *shares* of a row are its weights
    without sign, divided by their sum: for a softmax, the row itself. A row of zeros is left out of
    means; where queries are listed it is NaN. So is what needs places that there are not.
    """

    signed: bool  # whether any weight is below 0
    mean_share: Float[Tensor, " key_pos"]  # over queries
    entropy_nats: Float[Tensor, " query_pos"]  # of a row's shares
    kind_entropy_nats: Float[Tensor, " query_pos"]  # of which named token it is, or a place
    distance: Float[Tensor, " query_pos"]  # mean over a row's shares of places, in image pixels
    distances: Distances | None  # of all queries from all keys; None where either has no place
    self_share: Float[Tensor, " query_pos"]  # of a row, on the key at the query's own place
    local_share: Float[Tensor, " query_pos"]  # of a row, on the keys beside it and its own
    neighborhood: Neighborhood | None  # which keys those are
    strong: Int[Tensor, "query_pos two"]  # keys with at least `STRONG` of a row, -1 for none
    frame_share: Float[Tensor, "query_frames key_frames"]  # of places; all entries sum to 1
    shuffled_mean_share: Float[Tensor, " draws"]  # every row's keys shuffled; NaN if not asked for
    mean_unit: Float[Tensor, " key_pos"]  # over rows as they are, each divided by its length
    unit_sum: Float[Tensor, " query_pos"]  # sum of a row as it is, divided by its length
    sample: Int[Tensor, " sample"]  # random queries, in ascending order
    sample_rows: Float[Tensor, "sample key_pos"]  # theirs, as they are
    attended: Float[Tensor, "query_pos value_channels"] | None  # the values, weighted by every row

    def routed_share(self, key: int) -> float:
        """Return the share of queries that give a key at least `STRONG` of their attention."""
        attends = ~self.entropy_nats.isnan()
        routed = (self.strong == key).any(dim=1)
        return (routed & attends).sum().item() / attends.sum().item() if attends.any() else nan


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
    query, key = record.query_axis, record.key_axis
    queries, keys, placed = query.counting, len(key), key.placed
    distances = Distances.between(query, key, record.query.dtype)
    neighborhood = Neighborhood.between(query, key)
    frames = _Frames.between(query, key)
    sample = torch.randperm(queries, generator=generator)[:SAMPLE].sort().values
    sample_rows = record.query.new_empty(len(sample), keys)
    kept = 0
    signed = False
    mean_share, mean_unit = torch.zeros(2, keys, dtype=torch.float64)
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
        named = weights[:, placed:].double()
        weight, size = weight.double(), size.double()
        on_places = size if not len(key.names) else weights[:, :placed].sum(dim=1).double()
        entropy = size.log() - weighted_logarithms(weights, positive=least > 0) / size
        kinds = torch.cat((named, on_places[:, None]), dim=1) / size[:, None]
        distance = nothing = torch.full_like(weight, torch.nan)
        if distances is not None:
            distance = distances.weigh(first, weights).double() / on_places.clamp_min(tiny)
        near = [nothing, nothing]
        if neighborhood is not None:
            both = neighborhood.own, neighborhood.near
            near = [places.share(first, weights).double() / size for places in both]
        strong = _strong_keys(weights, size)
        of_unit = (total / length).double()
        by_query.append((weight, entropy, entropy_nats(kinds), distance, of_unit, *near, strong))
        frames.add(chunk, weights, size)
        if shuffles:
            draws = torch.randint(keys, (len(chunk), SHUFFLE_DRAWS), generator=generator)
            shuffled += (1 / size).to(rows.dtype) @ weights.gather(1, draws)

    weight, entropy, of_kind, distance, unit_sum, at_self, nearby, strong = map(
        torch.cat, zip(*by_query, strict=True)
    )
    attends = weight > 0
    count = attends.sum()
    return RowSums(
        signed=signed,
        mean_share=mean_share / count,
        entropy_nats=entropy.where(attends, torch.nan),
        kind_entropy_nats=of_kind.where(attends, torch.nan),
        distance=distance.where(attends, torch.nan),
        distances=distances,
        self_share=at_self.where(attends, torch.nan),
        local_share=nearby.where(attends, torch.nan),
        neighborhood=neighborhood,
        strong=strong,
        frame_share=frames.share,
        shuffled_mean_share=shuffled / count,
        mean_unit=mean_unit / count,
        unit_sum=unit_sum.where(attends, torch.nan),
        sample=sample,
        sample_rows=sample_rows,
        attended=torch.cat(attended) if attended else None,
    )


@dataclass(frozen=True, eq=False)
class _Frames:
    """How much of the attention that falls on places goes from each frame to each."""

    query: Axis
    key: Axis
    total: Float[Tensor, "query_frames key_frames"]

    @classmethod
    def between(cls, query: Axis, key: Axis) -> "_Frames":
        sides = [1 if axis.grid is None else axis.grid.frames for axis in (query, key)]
        return cls(query, key, torch.zeros(sides[0], sides[1], dtype=torch.float64))

    def add(
        self,
        chunk: Int[Tensor, " queries"],
        weights: Float[Tensor, "queries key_pos"],
        size: Float[Tensor, " queries"],
    ) -> None:
        if self.total.numel() == 1:
            return
        laid = weights if self.key.grid is None else self.key.on_grid(weights, missing=0.0)
        in_frame = laid.unflatten(1, (self.total.shape[1], -1)).sum(dim=2).double() / size[:, None]
        self.total.index_add_(0, self._frame_of(chunk), in_frame)

    def _frame_of(self, chunk: Int[Tensor, " queries"]) -> Int[Tensor, " queries"]:
        if self.query.grid is None:
            return torch.zeros_like(chunk)
        cells = chunk
        if self.query.cells is not None:
            cells = torch.from_numpy(self.query.all_cells)[chunk]
        return cells // (self.query.grid.height * self.query.grid.width)

    @property
    def share(self) -> Float[Tensor, "query_frames key_frames"]:
        if self.total.numel() == 1:
            return torch.ones_like(self.total)
        return self.total / self.total.sum()


def _strong_keys(
    weights: Float[Tensor, "queries key_pos"], size: Float[Tensor, " queries"]
) -> Int[Tensor, "queries two"]:
    """Return the keys that have at least `STRONG` of a row, -1 where there are fewer than two."""
    strong = torch.full((len(weights), 2), -1)
    some = (weights.amax(dim=1) >= STRONG * size).nonzero()[:, 0]  # few rows as a rule
    if len(some):
        values, keys = weights[some].topk(min(2, weights.shape[1]), dim=1)
        found = keys.where(values >= STRONG * size[some, None], -1)
        strong[some, : found.shape[1]] = found
    return strong


def query_chunks(
    record: AttentionRecord, queries: Int[Tensor, " some"] | None = None
) -> Iterator[Int[Tensor, " chunk"]]:
    """Yield queries in order, as many at a time as memory should hold rows of.

    Args:
        record: The block.
        queries: Which, as indices of its axis; all that count if not given.
    """
    queries = torch.arange(record.query_axis.counting) if queries is None else queries
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
