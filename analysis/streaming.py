"""One pass over all rows of a block's attention: the sums that its statistics are made of."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.analysis.distance import Distances
from nonlocal_lens.analysis.head_rows import HeadRows
from nonlocal_lens.analysis.neighborhood import Neighborhood
from nonlocal_lens.analysis.record import AttentionRecord

CHUNK_VALUES = 2**20
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

    Of one head, or of several that are alike, which are then the first side of every tensor but
    `sample`. Rows are those of the queries that count, over all keys. The *shares* of a row are its
    weights without sign, divided by their sum: for a softmax, the row itself. A row of zeros is
    left out of means; where queries are listed it is NaN. So is what needs places that there are
    not.
    """

    signed: Bool[Tensor, "*heads"]  # whether any weight is below 0
    mean_share: Float[Tensor, "*heads key_pos"]  # over queries
    entropy_nats: Float[Tensor, "*heads query_pos"]  # of a row's shares
    kind_entropy_nats: Float[Tensor, "*heads query_pos"]  # of which named token it is, or a place
    distance: Float[Tensor, "*heads query_pos"]  # mean over a row's shares of places, in image px
    distances: Distances | None  # of all queries from all keys; None where either has no place
    self_share: Float[Tensor, "*heads query_pos"]  # of a row, on the key at the query's own place
    local_share: Float[Tensor, "*heads query_pos"]  # of a row, on the keys beside it and its own
    neighborhood: Neighborhood | None  # which keys those are
    strong: Int[Tensor, "*heads query_pos two"]  # keys with at least `STRONG` of a row, -1: none
    frame_share: Float[Tensor, "*heads query_frames key_frames"]  # of places; all sum to 1
    shuffled_mean_share: Float[Tensor, "*heads draws"]  # every row's keys shuffled; or NaN
    mean_unit: Float[Tensor, "*heads key_pos"]  # over rows as they are, each divided by its length
    unit_sum: Float[Tensor, "*heads query_pos"]  # sum of a row as it is, divided by its length
    sample: Int[Tensor, " sample"]  # random queries, in ascending order
    sample_rows: Float[Tensor, "*heads sample key_pos"]  # theirs, as they are
    attended: Float[Tensor, "*heads query_pos value_channels"] | None  # values, weighted by rows

    def of(self, head: int) -> "RowSums":
        """Return the sums of one of several heads."""
        own: dict[str, Any] = {name: x[head] for name, x in self._of_heads.items()}
        return replace(self, **own)

    @classmethod
    def of_all(cls, groups: Sequence["RowSums"]) -> "RowSums":
        """Return the sums of several groups of heads, all of them alike, as those of one group."""
        first, *others = groups
        if not others:
            return first
        each = [group._of_heads for group in groups]
        own: dict[str, Any] = {name: torch.cat([one[name] for one in each]) for name in each[0]}
        return replace(first, **own)

    @property
    def _of_heads(self) -> dict[str, Tensor]:
        """What is another for every head, by name."""
        of_all = {"sample", "distances", "neighborhood"}
        every = [(one.name, getattr(self, one.name)) for one in fields(self)]
        return {name: x for name, x in every if x is not None and name not in of_all}

    def routed_share(self, key: int | Int[Tensor, "*heads"]) -> Float[Tensor, "*heads"]:
        """Return the share of queries that give a key at least `STRONG` of their attention."""
        attends = ~self.entropy_nats.isnan()
        key = torch.as_tensor(key, device=self.strong.device)[..., None, None]
        routed = (self.strong == key).any(dim=-1) & attends
        return routed.sum(dim=-1).double() / attends.sum(dim=-1)  # of none: NaN


def sum_rows(
    records: Sequence[AttentionRecord],
    *,
    generator: torch.Generator,
    shuffles: bool = True,
    value: Float[Tensor, "heads key_pos value_channels"] | None = None,
) -> RowSums:
    """Pass once over the whole attention of heads that are alike, in chunks of queries.

    Time O(heads x queries x keys x channels), memory O(heads x (chunk + sample) x keys), where a
    chunk of all heads has `CHUNK_VALUES`. What is random is so alike for every head.

    Args:
        records: See `analysis.head_rows.alike`.
        generator: Where the sample and the shuffles come from.
        shuffles: Whether to sample the mean over rows with shuffled keys.
        value: What the rows of every head are to be applied to, if to anything.
    """
    first, heads = records[0], len(records)
    query, key = first.query_axis, first.key_axis
    queries, keys, placed = query.counting, len(key), key.placed
    distances = Distances.between(query, key, first.query.dtype)
    neighborhood = Neighborhood.between(query, key)
    frames = _Frames.between(query, key, heads)
    attention = HeadRows(records)
    sample = torch.randperm(queries, generator=generator)[:SAMPLE].sort().values
    sample_rows = first.query.new_empty(heads, len(sample), keys)
    tiny = torch.finfo(first.query.dtype).tiny
    kept = 0
    signed = torch.zeros(heads, dtype=torch.bool)
    mean_share, mean_unit = torch.zeros(2, heads, keys, dtype=torch.float64)
    shuffled = torch.full(
        (heads, SHUFFLE_DRAWS), 0.0 if shuffles else torch.nan, dtype=torch.float64
    )
    looks: list[_Look] = []
    value = None if value is None else value.detach().to(first.query)

    # of the time, most goes into making the rows: every further look at them counts, and so does
    # every operation on what is left of a chunk, which waits until there is only one
    for chunk in query_chunks(first, heads=heads):
        rows, logarithms = attention.of(chunk)
        least = rows.amin(dim=(1, 2)) if logarithms is None else rows.new_zeros(heads)
        negative = bool((least < 0).any())
        weights = rows.abs() if negative else rows
        signed |= least < 0
        on_places = weights[..., :placed].sum(dim=2)
        weight = on_places + weights[..., placed:].sum(dim=2) if key.names else on_places
        total = rows.sum(dim=2) if negative else weight
        size = weight.clamp_min(tiny)
        length = torch.linalg.vector_norm(rows, dim=2).clamp_min(tiny)
        share = 1 / size
        # rows are never divided by their lengths and sums: what becomes of them is, which is less
        over_queries = torch.stack((1 / length, share), dim=1) @ rows
        mean_unit += over_queries[:, 0]
        mean_share += (share[:, None] @ weights)[:, 0] if negative else over_queries[:, 1]
        start, last = int(chunk[0]), int(chunk[-1])
        here = sample[(sample >= start) & (sample <= last)] - start
        into = sample_rows[:, kept : kept + len(here)]
        sampled = rows if len(here) == len(chunk) else rows.index_select(1, here)
        kept += len(here)
        attended = weight if value is None else rows @ value
        if logarithms is None:
            into.copy_(sampled)
            logarithms = weighted_logarithms(weights, positive=bool((least > 0).all()))
        else:
            torch.mul(sampled, share[:, here, None], out=into)
            attended = attended if value is None else attended.mul_(share[..., None])
        looks.append(
            _Look(
                weight=weight,
                total=total,
                length=length,
                logarithms=logarithms,
                on_places=on_places,
                kinds=_of_kinds(weights, placed, on_places) if key.names else weight,
                distance=weight if distances is None else distances.weigh(start, weights),
                near=weight if neighborhood is None else neighborhood.weigh(start, weights),
                strong=_strong_keys(weights, size, length),
                attended=attended,
            )
        )
        frames.add(chunk, weights, size)
        if shuffles:
            draws = torch.randint(keys, (len(chunk), SHUFFLE_DRAWS), generator=generator)
            for head, own in enumerate(weights):
                shuffled[head] += share[head] @ own.gather(1, draws)

    look = looks[0]
    if len(looks) > 1:
        look = _Look(*(torch.cat(parts, dim=1) for parts in zip(*looks, strict=True)))
    weight, on_places = look.weight.double(), look.on_places.double()
    size, attends = weight.clamp_min(tiny), weight > 0
    of_kind = size.log() - look.kinds / size if key.names else torch.zeros_like(size)
    count = attends.sum(dim=1, keepdim=True)
    nothing = torch.full_like(weight, torch.nan)

    def where_it_attends(
        values: Float[Tensor, "heads query_pos"],
    ) -> Float[Tensor, "heads query_pos"]:
        return values.where(attends, torch.nan)

    return RowSums(
        signed=signed,
        mean_share=mean_share / count,
        entropy_nats=where_it_attends(size.log() - look.logarithms.double() / size),
        kind_entropy_nats=where_it_attends(of_kind),
        distance=nothing
        if distances is None
        else where_it_attends(look.distance.double() / on_places.clamp_min(tiny)),
        distances=distances,
        self_share=nothing
        if neighborhood is None
        else where_it_attends(look.near[..., 0].double() / size),
        local_share=nothing
        if neighborhood is None
        else where_it_attends(look.near[..., 1].double() / size),
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
    """What one look at some rows of every head leaves of each; summed, and divided by nothing."""

    weight: Float[Tensor, "heads queries"]  # sum of the weights without sign
    total: Float[Tensor, "heads queries"]  # sum of the row as it is
    length: Float[Tensor, "heads queries"]
    logarithms: Float[Tensor, "heads queries"]  # sum of w ln w
    on_places: Float[Tensor, "heads queries"]  # sum of the weights of keys that are places
    kinds: Float[Tensor, "heads queries"]  # sum of w ln w over other keys, and all places as one
    distance: Float[Tensor, "heads queries"]  # sum of weight times distance
    near: Float[Tensor, "heads queries ..."]  # weight on the query's own key, and on those beside
    strong: Int[Tensor, "heads queries two"]
    attended: Float[Tensor, "heads queries ..."]


def _of_kinds(
    weights: Float[Tensor, "heads queries key_pos"],
    placed: int,
    on_places: Float[Tensor, "heads queries"],
) -> Float[Tensor, "heads queries"]:
    """Return the sum of w ln w over the keys that are no places, and all places as one."""
    kinds = torch.cat((weights[..., placed:], on_places[..., None]), dim=2)
    return weighted_logarithms(kinds.double())


@dataclass(frozen=True, eq=False)
class _Frames:
    """How much of the attention that falls on places goes from each frame to each."""

    query: Axis
    key: Axis
    total: Float[Tensor, "heads query_frames key_frames"]

    @classmethod
    def between(cls, query: Axis, key: Axis, heads: int) -> "_Frames":
        sides = [1 if axis.grid is None else axis.grid.frames for axis in (query, key)]
        return cls(query, key, torch.zeros(heads, *sides, dtype=torch.float64))

    def add(
        self,
        chunk: Int[Tensor, " queries"],
        weights: Float[Tensor, "heads queries key_pos"],
        size: Float[Tensor, "heads queries"],
    ) -> None:
        if self._is_one:
            return
        laid = weights if self.key.grid is None else self.key.on_grid(weights, missing=0.0)
        in_frame = laid.unflatten(2, (self.total.shape[2], -1)).sum(dim=3).double()
        self.total.index_add_(1, self._frame_of(chunk), in_frame / size[..., None])

    @property
    def _is_one(self) -> bool:
        return self.total.shape[1:].numel() == 1

    def _frame_of(self, chunk: Int[Tensor, " queries"]) -> Int[Tensor, " queries"]:
        if self.query.grid is None:
            return torch.zeros_like(chunk)
        cells = chunk
        if self.query.cells is not None:
            cells = torch.from_numpy(self.query.all_cells)[chunk]
        return cells // (self.query.grid.height * self.query.grid.width)

    @property
    def share(self) -> Float[Tensor, "heads query_frames key_frames"]:
        if self._is_one:
            return torch.ones_like(self.total)
        return self.total / self.total.sum(dim=(1, 2), keepdim=True)


def _strong_keys(
    weights: Float[Tensor, "heads queries key_pos"],
    size: Float[Tensor, "heads queries"],
    length: Float[Tensor, "heads queries"],
) -> Int[Tensor, "heads queries two"]:
    """Return the keys that have at least `STRONG` of a row, -1 where there are fewer than two."""
    strong = torch.full((*size.shape, 2), -1)
    # no weight is longer than its row: few rows are long enough, as a rule
    some = (length >= (STRONG - SLACK) * size).nonzero(as_tuple=True)
    if len(some[0]):
        values, keys = weights[some].topk(min(2, weights.shape[2]), dim=1)
        found = keys.where(values >= STRONG * size[some][:, None].double(), -1)
        strong[..., : found.shape[1]].index_put_(some, found)
    return strong


def query_chunks(
    record: AttentionRecord, queries: Int[Tensor, " some"] | None = None, *, heads: int = 1
) -> Iterator[Int[Tensor, " chunk"]]:
    """Yield queries in order, as many at a time as memory should hold rows of.

    Args:
        record: The block.
        queries: Which, as indices of its axis; all that count if not given.
        heads: How many heads' rows are held at a time.
    """
    queries = torch.arange(record.query_axis.counting) if queries is None else queries
    yield from queries.split(max(1, CHUNK_VALUES // (heads * len(record.key))))


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
