"""One pass over all rows of a block's attention: the sums that its statistics are made of."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import nan
from typing import NamedTuple

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

SLACK = 1e-3
"""Of a share, by which rounding may make a row too short."""

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
    tiny = torch.finfo(record.query.dtype).tiny
    kept = 0
    signed = False
    mean_share, mean_unit = torch.zeros(2, keys, dtype=torch.float64)
    shuffled = torch.full((SHUFFLE_DRAWS,), 0.0 if shuffles else torch.nan, dtype=torch.float64)
    looks: list[_Look] = []
    value = None if value is None else value.detach().to(record.query)

    # of the time, most goes into making the rows: every further look at them counts, and so does
    # every operation on what is left of a chunk, which waits until there is only one
    for chunk in query_chunks(record):
        rows, plogp = _rows(record, chunk)
        first, last = int(chunk[0]), int(chunk[-1])
        here = sample[(sample >= first) & (sample <= last)] - first
        torch.index_select(rows, 0, here, out=sample_rows[kept : kept + len(here)])
        kept += len(here)
        attended = None if value is None else rows @ value
        least = 0.0 if plogp is not None else rows.amin().item()
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
        looks.append(
            _Look(
                weight=weight,
                total=total,
                length=length,
                logarithms=weighted_logarithms(weights, positive=least > 0)
                if plogp is None
                else plogp,
                on_places=weights[:, :placed].sum(dim=1) if key.names else weight,
                kinds=_of_kinds(weights, placed) if key.names else weight,
                distance=weight if distances is None else distances.weigh(first, weights),
                near=weight if neighborhood is None else neighborhood.weigh(first, weights),
                strong=_strong_keys(weights, size, length),
                attended=weight if attended is None else attended,
            )
        )
        frames.add(chunk, weights, size)
        if shuffles:
            draws = torch.randint(keys, (len(chunk), SHUFFLE_DRAWS), generator=generator)
            shuffled += (1 / size).to(rows.dtype) @ weights.gather(1, draws)

    look = _Look(*map(torch.cat, zip(*looks, strict=True)))
    weight, on_places = look.weight.double(), look.on_places.double()
    size, attends = weight.clamp_min(tiny), weight > 0
    of_kind = size.log() - look.kinds / size if key.names else torch.zeros_like(size)
    count = attends.sum()
    nothing = torch.full_like(weight, torch.nan)

    def where_it_attends(values: Float[Tensor, " query_pos"]) -> Float[Tensor, " query_pos"]:
        return values.where(attends, torch.nan)

    return RowSums(
        signed=signed,
        mean_share=mean_share / count,
        entropy_nats=where_it_attends(size.log() - look.logarithms / size),
        kind_entropy_nats=where_it_attends(of_kind),
        distance=nothing
        if distances is None
        else where_it_attends(look.distance.double() / on_places.clamp_min(tiny)),
        distances=distances,
        self_share=nothing
        if neighborhood is None
        else where_it_attends(look.near[:, 0].double() / size),
        local_share=nothing
        if neighborhood is None
        else where_it_attends(look.near[:, 1].double() / size),
        neighborhood=neighborhood,
        strong=look.strong,
        frame_share=frames.share,
        shuffled_mean_share=shuffled / count,
        mean_unit=mean_unit / count,
        unit_sum=where_it_attends((look.total / look.length).double()),
        sample=sample,
        sample_rows=sample_rows,
        attended=None if value is None else look.attended,
    )


class _Look(NamedTuple):
    """What one look at some rows leaves of each; as it is summed, divided by nothing."""

    weight: Float[Tensor, " queries"]  # sum of the weights without sign
    total: Float[Tensor, " queries"]  # sum of the row as it is
    length: Float[Tensor, " queries"]
    logarithms: Float[Tensor, " queries"]  # sum of w ln w
    on_places: Float[Tensor, " queries"]  # sum of the weights of keys that are places
    kinds: Float[Tensor, " queries"]  # sum of w ln w over keys that are none, and all places as one
    distance: Float[Tensor, " queries"]  # sum of weight times distance
    near: Float[Tensor, "queries ..."]  # weight on the query's own key, and on those beside it
    strong: Int[Tensor, "queries two"]
    attended: Float[Tensor, "queries ..."]


def _of_kinds(weights: Float[Tensor, "queries key_pos"], placed: int) -> Float[Tensor, " queries"]:
    """Return the sum of w ln w over the keys that are no places, and all places as one."""
    on_places = weights[:, :placed].sum(dim=1, keepdim=True)
    return weighted_logarithms(torch.cat((weights[:, placed:], on_places), dim=1).double())


def _rows(
    record: AttentionRecord, chunk: Int[Tensor, " queries"]
) -> tuple[Float[Tensor, "queries key_pos"], Float[Tensor, " queries"] | None]:
    """Return rows of attention and, where they are softmaxes of logits, their sums of w ln w.

    With logits z whose largest is 0, w = exp(z) / Z and sum w ln w = sum w z - ln Z: no weight
    takes a logarithm but the largest, which is 1 / Z.
    """
    logits = terms.softmax_logits(record, chunk)
    if logits is None:
        return terms.attention(record, chunk), None
    logits -= logits.amax(dim=1, keepdim=True)
    rows = logits.softmax(dim=1)
    of_largest = rows.amax(dim=1).double().log()
    weighted = logits.mul_(rows).sum(dim=1).double()
    return rows, weighted + of_largest * rows.sum(dim=1).double()


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
    weights: Float[Tensor, "queries key_pos"],
    size: Float[Tensor, " queries"],
    length: Float[Tensor, " queries"],
) -> Int[Tensor, "queries two"]:
    """Return the keys that have at least `STRONG` of a row, -1 where there are fewer than two."""
    strong = torch.full((len(weights), 2), -1)
    # no weight is longer than its row: few rows are long enough, as a rule
    some = (length >= (STRONG - SLACK) * size).nonzero()[:, 0]
    if len(some):
        values, keys = weights[some].topk(min(2, weights.shape[1]), dim=1)
        found = keys.where(values >= STRONG * size[some, None].double(), -1)
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
    sums: Tensor = logarithms.mul_(weights).sum(dim=-1).double()
    return sums
