"""Attention over time: where in time a row lies, and how degenerate a block is frame by frame.

Two kinds of networks look at clips. One looks at the whole clip: its record has frames, and a row
of its attention spreads over all of them. One looks at images: it has a record per frame, and a
query that stays, or is tracked, has a row in each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, nan
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.grid import Cell
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.streaming import entropy_nats, query_chunks, shares
from nonlocal_lens.analysis.strongest import strongest
from nonlocal_lens.analysis.variance import squares_of_rows
from nonlocal_lens.analysis.vectors import distance_from_mean_cosine


def temporal_mass(
    record: AttentionRecord, queries: terms.Queries, term: terms.Term = "whole"
) -> Float[Tensor, "queries key_frames"]:
    """Return how much of each query's attention falls in each frame of the keys.

    Rows sum to what rows of attention sum to (1, or 2 for the whole of the disentangled coupling),
    less what tokens have that are no places.
    Weights without a softmax have any sign, and so have their sums. In float64.

    Raises:
        ValueError: A query is not a position of the record's query grid, or the term is unknown.
    """
    rows = terms.attention(record, queries, term).double()
    return _by_frame(rows, record)


def _by_frame(
    weights: Float[Tensor, "*rows key_pos"], record: AttentionRecord
) -> Float[Tensor, "*rows key_frames"]:
    """Return the sum of the weights on placed keys of each frame."""
    laid = record.key_axis.on_grid(weights, missing=0.0)
    by_frame: Tensor = laid.unflatten(-1, (record.key_grid.frames, -1)).sum(dim=-1)
    return by_frame


class Arrow(NamedTuple):
    """From a query to one of its strongest keys."""

    key: int  # index of the key axis
    cell: Cell
    x: float  # the middle of the key's cell, in image pixels
    y: float
    weight: float  # in multiples of uniform attention; a logit where there is no softmax


def strongest_arrows(
    record: AttentionRecord,
    query: int,
    count: int = 20,
    term: terms.Term = "whole",
    *,
    distinct: bool = False,
) -> list[Arrow]:
    """Return the strongest keys of a query in all frames, the strongest first, among places.

    These are the arrows of Figure 3 of Wang et al. 2018, which shows 20.

    Args:
        record: Of a clip.
        query: Flat position.
        count: At most so many.
        term: Of which map.
        distinct: Leave keys out whose weights tie with one that is left out, as what is drawn does
            (see `analysis.strongest`); in a list of keys ties go to any of them.

    Raises:
        ValueError: The query is not a position of the record's query grid, or the term is unknown.
    """
    grid, axis = record.key_grid, record.key_axis
    row = terms.attention(record, [query], term)[0, : axis.placed] * len(axis)
    keys = row.topk(min(count, axis.placed)).indices.tolist()
    cells = [grid.cell(position) for position in axis.all_cells.tolist()]
    return [
        Arrow(key, cells[key], *grid.center(cells[key]), row[key].item())
        for key in (strongest(row, count) if distinct else keys)
    ]


@dataclass(frozen=True)
class Degeneracy:
    """How query-independent the rows of some queries are; see `analysis.catalog` for the terms."""

    unary_share: float  # 0 to 1
    query_information_bits: float  # 0 to log2 of the number of queries; NaN for signed weights
    cosine_distance: float  # 0 to 0.5


@dataclass(frozen=True, eq=False)
class DegeneracyOverTime:
    """The degeneracy of a record whose grids have frames, within its frames and across them.

    Of blocks whose queries look at part of a clip (`analysis.parts`), the unary share is that
    within the parts. That a query looks at its own part is information of the frame where parts are
    frames, and information within every frame where they are places.

    Information is additive: that of all queries is that of the frame a query lies in plus the mean
    over frames of that of the place within the frame.
    """

    frames: tuple[Degeneracy, ...]  # of the queries of each frame, over all keys
    whole: Degeneracy  # of all queries
    frame_information_bits: float  # what the query's frame alone says of where it looks
    frame_to_frame: Float[Tensor, "query_frames key_frames"]  # mean mass; sums to 1 with tokens'
    drift_nats: Float[Tensor, " steps"]  # of the unary map, see `unary_drift`


def degeneracy_over_time(record: AttentionRecord) -> DegeneracyOverTime:
    """Return how degenerate a block is frame by frame and as a whole.

    One pass: time O(queries x keys x channels), memory O(chunk x keys). The unary share of a frame
    is that of its queries' logits, split as those of all queries are.
    """
    grid = record.query_grid
    frame_of = torch.from_numpy(record.query_axis.all_cells) // (grid.height * grid.width)
    every = [(frame_of == frame).nonzero()[:, 0] for frame in range(grid.frames)]
    sums = [_sum_rows(record, queries) for queries in every]
    whole = _Sums(*(sum(parts[1:], start=parts[0]) for parts in zip(*sums, strict=True)))
    across = whole.information - sum(frame.information for frame in sums) / len(sums)
    mass = [_by_frame(frame.share, record) for frame in sums]
    return DegeneracyOverTime(
        frames=tuple(frame.degeneracy for frame in sums),
        whole=whole.degeneracy,
        frame_information_bits=nan if whole.signed else max(across, 0.0),
        frame_to_frame=torch.stack(mass) / torch.tensor([[frame.queries] for frame in sums]),
        drift_nats=unary_drift(unary_maps(record)),
    )


def frame_degeneracy(record: AttentionRecord) -> Degeneracy:
    """Return the degeneracy of one frame's record, as `capture_frames` gives it."""
    return _sum_rows(record, torch.arange(record.query_axis.counting)).degeneracy


def unary_maps(record: AttentionRecord) -> Float[Tensor, "key_frames cells"]:
    """Return the unary attention of every frame of the keys, each divided by its sum.

    Cells that are no key have 0; NaN where attention has no softmax.
    """
    grid = record.key_grid
    if record.signed:
        return torch.full((grid.frames, grid.height * grid.width), nan, dtype=torch.float64)
    laid = record.key_axis.on_grid(terms.unary_map(record).double(), missing=0.0)
    weights = laid.unflatten(0, (grid.frames, -1))
    shares: Tensor = weights / weights.sum(dim=1, keepdim=True)
    return shares


def unary_drift(maps: Float[Tensor, "frames cells"]) -> Float[Tensor, " steps"]:
    """Return how far the unary map moves from each frame to the next, in nats.

    The Jensen-Shannon divergence of the two maps: 0 where they are the same, ln 2 where they have
    no cell in common. `maps` are distributions: `unary_maps` of a record, or those of the records
    of all frames below one another.
    """
    before, after = maps[:-1], maps[1:]
    middle = entropy_nats((before + after) / 2)
    return (middle - (entropy_nats(before) + entropy_nats(after)) / 2).clamp_min(0)


def drift_by_frame(maps: Float[Tensor, "key_frames cells"], frames: int) -> list[float]:
    """Return for every frame how far the unary map moved since the one before, in nats.

    NaN in the first, and in all where keys are pooled over time and the `frames` of queries are
    not.
    """
    drift = unary_drift(maps).tolist()
    return [nan, *(drift if len(drift) == frames - 1 else [nan] * (frames - 1))]


class RowStatistics(NamedTuple):
    """The row of one query in one frame."""

    entropy_bits: float  # NaN where rows are no distributions
    pairwise_share: float  # of the variation of the row's logits over the keys, 0 to 1
    change_nats: float  # Jensen-Shannon divergence from the row one frame before; NaN in the first


def row_over_time(
    records: Sequence[AttentionRecord], points: Sequence[tuple[float, float] | None]
) -> list[RowStatistics]:
    """Return the statistics of a query's row in every frame of a network that looks at images.

    Args:
        records: One block's record in each frame.
        points: Where the query is in each frame, in image pixels; None where it is lost.

    Raises:
        ValueError: There is not a point for each frame, or one lies outside the image.
    """
    if len(records) != len(points):
        raise ValueError(f"{len(records)} frames need as many points, got {len(points)}")
    found: list[RowStatistics] = []
    before: Tensor | None = None
    for record, point in zip(records, points, strict=True):
        if point is None:
            found.append(RowStatistics(nan, nan, nan))
            before = None
            continue
        query = [record.query_axis.under(*point)]
        sums = _sum_rows(record, torch.tensor(query))
        squares = sums.pairwise_squares + sums.unary_squares
        share = sums.pairwise_squares / squares if squares > 0 else nan
        if record.signed:
            found.append(RowStatistics(nan, share, nan))
            continue
        row = shares(terms.attention(record, query).double())
        change = nan
        if before is not None and before.shape == row.shape:
            change = float(unary_drift(torch.cat([before, row]))[0])
        found.append(RowStatistics(float(entropy_nats(row)[0]) / log(2), share, change))
        before = row
    return found


class _Sums(NamedTuple):
    """Sums over the rows of some queries, in float64; those of other queries can be added."""

    share: Float[Tensor, " key_pos"]  # of weights without sign, divided by their row's sum
    unit: Float[Tensor, " key_pos"]  # of rows divided by their length
    entropy_nats: float
    unary_squares: float  # of logits
    pairwise_squares: float
    queries: int  # whose weights are not all 0
    signed: int  # of which so many have a weight below 0

    @property
    def information(self) -> float:
        """What the query says of where it looks, in bits."""
        queries = max(self.queries, 1)
        of_mean = float(entropy_nats(self.share / queries))
        return (of_mean - self.entropy_nats / queries) / log(2)

    @property
    def degeneracy(self) -> Degeneracy:
        """What the sums say."""
        squares = self.unary_squares + self.pairwise_squares
        cosine = (self.unit / max(self.queries, 1)).square().sum()
        return Degeneracy(
            unary_share=self.unary_squares / squares if squares > 0 else nan,
            query_information_bits=nan if self.signed else max(self.information, 0.0),
            cosine_distance=distance_from_mean_cosine(cosine).item(),
        )


def _sum_rows(record: AttentionRecord, queries: Int[Tensor, " queries"]) -> _Sums:
    share, unit = torch.zeros(2, len(record.key), dtype=torch.float64)
    entropy = unary_squares = pairwise_squares = 0.0
    attending = signed = 0
    for chunk in query_chunks(record, queries):
        rows = terms.attention(record, chunk).double()
        rows = rows[rows.abs().sum(dim=1) > 0]
        signed += int((rows < 0).any(dim=1).sum())
        attending += len(rows)
        of_rows = shares(rows)
        share += of_rows.sum(dim=0)
        entropy += float(entropy_nats(of_rows).sum())
        unit += functional.normalize(rows, dim=1).sum(dim=0)
        of_unary, of_pairwise = squares_of_rows(record, chunk)
        unary_squares += of_unary
        pairwise_squares += of_pairwise
    return _Sums(share, unit, entropy, unary_squares, pairwise_squares, attending, signed)
