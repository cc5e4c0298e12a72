"""How query-independent (degenerate) a block's attention is: statistics of one record."""

from collections.abc import Sequence
from dataclasses import dataclass, field, make_dataclass, replace
from math import log, nan
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor

from nonlocal_lens.analysis import streaming
from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.analysis.baselines import Baselines
from nonlocal_lens.analysis.catalog import HEADLINES as HEADLINES
from nonlocal_lens.analysis.catalog import STATISTICS as STATISTICS
from nonlocal_lens.analysis.grid import Cell
from nonlocal_lens.analysis.head_rows import alike
from nonlocal_lens.analysis.parts import Restriction
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.statistics.measured import Measured, MeasuredHeads
from nonlocal_lens.analysis.statistics.sinks import sink_kind
from nonlocal_lens.analysis.statistics.statistic import Scope
from nonlocal_lens.analysis.streaming import RowSums, sum_rows
from nonlocal_lens.analysis.terms import stacked
from nonlocal_lens.analysis.variance import unary_share as unary_share
from nonlocal_lens.analysis.vectors import Unattended, VectorDistances
from nonlocal_lens.analysis.verdict import key_in_words, sink_sentence, verdict

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Shares of queries at whose place `DegeneracyReport` gives quantiles."""

GROUPS = 2
"""So many times `analysis.streaming.CHUNK_VALUES` weights are of heads that are reported together,
once one pass after the other has left its sums of them."""


if TYPE_CHECKING:

    class Numbers:
        """One number for every entry of `STATISTICS`, under its name."""

        def __getattr__(self, name: str) -> float: ...

else:
    Numbers = make_dataclass("Numbers", dict.fromkeys(STATISTICS, float).items(), frozen=True)


@dataclass(frozen=True, kw_only=True)
class DegeneracyReport(Numbers):
    """The `STATISTICS` of one record's whole attention, each an attribute under its name.

    Rows are divided by their sums into distributions before anything is measured: those of the
    disentangled coupling sum to 2, unnormalized ones to anything. Queries whose weights are all 0
    are left out. A number that has no meaning is NaN: statistics of distributions where weights
    have a sign, those that need places where there are none, `input_cosine_distance` and
    `output_cosine_distance` where the block was not observed (see `measure`). `bounds` gives the
    range of each.
    """

    block: str
    queries: int  # N, those that count: places, or all where none is one
    keys: int  # M, places and named tokens
    jsd_standard_error: float  # of jsd_nats, one sigma; 0 where all pairs were compared
    effective_rank_rows: int  # that effective_rank is of
    entropy_bits_quantiles: tuple[float, ...]  # over queries, at QUANTILES
    perplexity_quantiles: tuple[float, ...]  # likewise
    frame_share: tuple[float, ...]  # of attention, by frames from query to key; see `frame_offsets`
    farthest: float  # greatest distance between a query and a key, in image pixels
    sink: int  # index of the key that gets most attention on average
    sink_cell: Cell | None  # of the key grid, where it is; None where it is no place
    sink_name: str | None  # what it is called where it is no place
    sink_key: str  # which key it is, in words: by pixels and cell, or by its name
    token_shares: dict[str, float]  # mean share of a row on every key that is no place, by name
    baselines: dict[str, Baselines] = field(repr=False)  # of every statistic of attention
    restriction: Restriction | None = None  # where queries do not look at all keys

    @property
    def frame_offsets(self) -> range:
        """Frames from query to key that `frame_share` is listed by; empty for images."""
        reach = (len(self.frame_share) + 1) // 2
        return range(1 - reach, reach) if self.frame_share else range(0)

    @property
    def sink_kind(self) -> str:
        """What the sink does: "no-operation", "broadcast", or "" where that is not known."""
        return sink_kind(self.sink_routed, self.sink_value_ratio, self.update_stable_rank)

    @property
    def sink_sentence(self) -> str:
        """One sentence on where a sink is, how much it takes and what it does; "" for none."""
        return sink_sentence(self.sink_share, self.keys, self.sink_key, self.sink_kind)

    @property
    def verdict(self) -> str:
        """How degenerate the block is and, where there is a sink, what it is, a sentence each."""
        return " ".join(filter(None, (self.how_degenerate, self.sink_sentence)))

    @property
    def how_degenerate(self) -> str:
        """One sentence on how degenerate the block is; thresholds are in `analysis.verdict`."""
        return verdict(
            query_information_bits=self.query_information_bits,
            entropy_bits=self.entropy_bits,
            sink_share=self.sink_share,
            token_share=self.token_share,
            queries=self.queries,
            keys=self.keys,
            cosine_distance=self.cosine_distance,
            shuffled_cosine_distance=self.baselines["cosine_distance"].shuffled,
            restriction=self.restriction,
        )

    def bounds(self, statistic: str) -> tuple[float, float]:
        """Return the least and the greatest value that a statistic can take for this grid."""
        if statistic not in STATISTICS:
            raise ValueError(f"unknown statistic {statistic!r}; available: {', '.join(STATISTICS)}")
        scope = Scope(self.queries, self.keys, self.effective_rank_rows, self.farthest)
        return STATISTICS[statistic].bounds(scope)


def measure(
    record: AttentionRecord,
    *,
    vectors: VectorDistances | Unattended | None = None,
    seed: int = 0,
    shuffles: bool = True,
) -> DegeneracyReport:
    """Return the degeneracy statistics of a record, with their baselines.

    Of the rows of queries that are places, or of all where none is, over all keys. One pass over
    chunks of queries, which keeps a sample of their rows for the divergence and the
    effective rank: time O(queries x keys x channels), memory O((chunk + sample) x keys). Sums are
    kept in float64.

    Args:
        record: The block.
        vectors: What `analysis.vectors.vector_distances` measured while the block ran, or what
            `analysis.early_exit.observe_blocks` left of it; inputs and outputs are no part of a
            record.
        seed: Of everything random: sampled rows, shuffles.
        shuffles: Whether keys are really shuffled, for the baselines that have no closed form:
            those of the query information, the divergence and the effective rank, which are NaN
            otherwise. They take half of the time, and nothing else depends on them.

    Raises:
        ValueError: The record holds NaN or infinite values.
    """
    (report,) = measure_heads([record], vectors=[vectors], seed=seed, shuffles=shuffles)
    return report


def measure_heads(
    records: Sequence[AttentionRecord],
    *,
    vectors: Sequence[VectorDistances | Unattended | None] | None = None,
    seed: int = 0,
    shuffles: bool = True,
) -> list[DegeneracyReport]:
    """Return what `measure` does for each of some records; heads that are alike go together.

    One pass is over as many as have `analysis.streaming.CHUNK_VALUES` weights between them, so that
    memory does not grow with the number of heads. All of them are sampled and shuffled alike, as by
    themselves.

    Args:
        records: Heads of a block one after the other, as `analysis.capture.capture` returns them.
        vectors: Of each record's block; none if not given.
        seed: See `measure`.
        shuffles: Likewise.

    Raises:
        ValueError: A record holds NaN or infinite values.
    """
    vectors = [None] * len(records) if vectors is None else vectors
    found: list[DegeneracyReport] = []
    for numbers in alike(records, GROUPS * streaming.CHUNK_VALUES):
        of_them = [vectors[number] for number in numbers]
        found += _together([records[number] for number in numbers], of_them, seed, shuffles)
    return found


def _together(
    records: Sequence[AttentionRecord],
    vectors: Sequence[VectorDistances | Unattended | None],
    seed: int,
    shuffles: bool,
) -> list[DegeneracyReport]:
    """Measure heads that are alike."""
    _check_finite(records)
    values = [
        one.value if isinstance(one, Unattended) else record.value
        for record, one in zip(records, vectors, strict=True)
    ]
    known = [value for value in values if value is not None]
    sums = RowSums.of_all(
        [
            sum_rows(
                records[part.start : part.stop],
                generator=_seeded(seed),
                shuffles=shuffles,
                value=stacked(known[part.start : part.stop]) if known else None,
            )
            for part in alike(records, streaming.CHUNK_VALUES)
        ]
    )
    distances: list[VectorDistances | None] = []
    updates: list[Tensor] = []
    for head, one in enumerate(vectors):
        if isinstance(one, Unattended):
            assert sums.attended is not None  # there was a value
            if (update := one.update(sums.attended[head])) is not None:
                updates.append(update)
            one = one.distances(sums.attended[head])
        distances.append(one)
    if updates:
        sums = replace(sums, attended=stacked(updates))
    heads = MeasuredHeads(records, sums, distances, seed, shuffles)
    return [
        _report(measured, *of_rows)
        for measured, *of_rows in zip(heads.each, *_of_rows(heads), strict=True)
    ]


def _report(
    measured: Measured,
    entropy_bits_quantiles: list[float],
    perplexity_quantiles: list[float],
    frame_share: list[float],
) -> DegeneracyReport:
    record, distances = measured.record, measured.together.sums.distances
    found = {name: statistic.of(measured) for name, statistic in STATISTICS.items()}
    return DegeneracyReport(
        block=record.block,
        queries=measured.queries,
        keys=measured.keys,
        **{name: value for name, (value, _) in found.items()},
        jsd_standard_error=measured.divergences[0].standard_error,
        effective_rank_rows=measured.rank.rows,
        entropy_bits_quantiles=tuple(entropy_bits_quantiles),
        perplexity_quantiles=tuple(perplexity_quantiles),
        frame_share=tuple(frame_share),
        farthest=distances.farthest if distances else nan,
        sink=measured.sink,
        sink_cell=_cell(record.key_axis, measured.sink),
        sink_name=record.key_axis.name(measured.sink),
        sink_key=key_in_words(record.key_axis, measured.sink),
        token_shares=dict(zip(record.key_axis.names, measured.token_shares, strict=True)),
        baselines={
            name: baselines for name, (_, baselines) in found.items() if baselines is not None
        },
        restriction=measured.restriction,
    )


def _of_rows(heads: MeasuredHeads) -> tuple[list[list[float]], ...]:
    """Return what of every head is a list: quantiles over queries, shares between frames."""
    sums = heads.sums
    entropy = sums.entropy_nats.where(~sums.signed[:, None], nan)
    quantiles = _quantiles(torch.stack((entropy / log(2), entropy.exp()))).tolist()
    return *quantiles, _shares_by_offset(sums)


def _cell(axis: Axis, index: int) -> Cell | None:
    cell = axis.cell(index)
    return None if cell is None or axis.grid is None else axis.grid.cell(cell)


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _quantiles(values: Float[Tensor, "*some query_pos"]) -> Float[Tensor, "*some quantiles"]:
    at = values.new_tensor(QUANTILES)
    return torch.nanquantile(values, at, dim=-1).movedim(0, -1)


def _shares_by_offset(sums: RowSums) -> list[list[float]]:
    heads, frames, key_frames = sums.frame_share.shape
    if frames == 1 or frames != key_frames:
        return [[] for _ in range(heads)]
    offsets = range(1 - frames, frames)
    of_frames = [sums.frame_share.diagonal(d, dim1=1, dim2=2).sum(dim=1) for d in offsets]
    shares: list[list[float]] = torch.stack(of_frames, dim=1).tolist()
    return shares


def _check_finite(records: Sequence[AttentionRecord]) -> None:
    for name in ("query", "key", "unary"):
        tensors = [getattr(record, name) for record in records]
        # one that is not makes the sum so; that of large ones may be, too, and is looked at
        if tensors[0] is None or torch.isfinite(stacked(tensors).sum()):
            continue
        for record, tensor in zip(records, tensors, strict=True):
            if not torch.isfinite(tensor).all():
                raise ValueError(f"block {record.block!r} has NaN or infinite values in its {name}")
