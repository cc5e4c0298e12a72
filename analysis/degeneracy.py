"""How query-independent (degenerate) a block's attention is: statistics of one record."""

from dataclasses import dataclass, field
from math import log, log2, nan

import torch
from jaxtyping import Float
from torch import Tensor

from analysis.baselines import (
    Baselines,
    shuffled_cosine_distance,
    shuffled_mean_entropy_nats,
    unary_share_baselines,
)
from analysis.catalog import HEADLINES as HEADLINES
from analysis.catalog import OF_DISTRIBUTIONS
from analysis.catalog import STATISTICS as STATISTICS
from analysis.divergence import Estimate, jensen_shannon_nats
from analysis.parts import Restriction, restriction
from analysis.record import AttentionRecord
from analysis.spectrum import sampled_rank
from analysis.streaming import RowSums, entropy_nats, sum_rows
from analysis.variance import unary_share as unary_share
from analysis.vectors import (
    Unattended,
    VectorDistances,
    cosine_distance,
    distance_from_mean_cosine,
)
from analysis.verdict import verdict

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Shares of queries at whose place `DegeneracyReport` gives quantiles."""


@dataclass(frozen=True)
class DegeneracyReport:
    """The `STATISTICS` of one record's whole attention; `bounds` gives their ranges.

    Rows are divided by their sums into distributions before anything is measured: those of the
    disentangled coupling sum to 2, unnormalized ones to anything. Queries whose weights are all 0
    are left out. A number that has no meaning is NaN: statistics of distributions where weights
    have a sign, `input_cosine_distance` and `output_cosine_distance` where the block was not
    watched (see `measure`).
    """

    block: str
    queries: int  # N, query positions
    keys: int  # M, key positions
    unary_share: float
    query_information_bits: float
    cosine_distance: float
    entropy_bits: float
    perplexity: float
    jsd_nats: float
    effective_rank: float
    attention_distance: float
    input_cosine_distance: float
    query_cosine_distance: float
    key_cosine_distance: float
    output_cosine_distance: float
    jsd_standard_error: float  # of jsd_nats, one sigma; 0 where all pairs were compared
    effective_rank_rows: int  # that effective_rank is of
    entropy_bits_quantiles: tuple[float, ...]  # over queries, at QUANTILES
    perplexity_quantiles: tuple[float, ...]  # likewise
    frame_share: tuple[float, ...]  # of attention, by frames from query to key; see `frame_offsets`
    farthest: float  # greatest distance between a query and a key, in image pixels
    baselines: dict[str, Baselines] = field(repr=False)  # of every statistic of attention
    restriction: Restriction | None = None  # where queries do not look at all keys

    @property
    def frame_offsets(self) -> range:
        """Frames from query to key that `frame_share` is listed by; empty for images."""
        reach = (len(self.frame_share) + 1) // 2
        return range(1 - reach, reach) if self.frame_share else range(0)

    @property
    def verdict(self) -> str:
        """One sentence on how degenerate the block is; thresholds are in `analysis.verdict`."""
        return verdict(
            query_information_bits=self.query_information_bits,
            entropy_bits=self.entropy_bits,
            queries=self.queries,
            keys=self.keys,
            cosine_distance=self.cosine_distance,
            shuffled_cosine_distance=self.baselines["cosine_distance"].shuffled,
            restriction=self.restriction,
        )

    def bounds(self, statistic: str) -> tuple[float, float]:
        """Return the least and the greatest value that a statistic can take for this grid."""
        ranges = {
            "unary_share": (0.0, 1.0),
            "query_information_bits": (0.0, log2(min(self.queries, self.keys))),
            "cosine_distance": (0.0, 0.5),
            "entropy_bits": (0.0, log2(self.keys)),
            "perplexity": (1.0, float(self.keys)),
            "jsd_nats": (0.0, log(2)),
            "effective_rank": (1.0, float(min(self.effective_rank_rows, self.keys))),
            "attention_distance": (0.0, self.farthest),
            "input_cosine_distance": (0.0, 0.5),
            "query_cosine_distance": (0.0, 0.5),
            "key_cosine_distance": (0.0, 0.5),
            "output_cosine_distance": (0.0, 0.5),
        }
        if statistic not in ranges:
            raise ValueError(f"unknown statistic {statistic!r}; available: {', '.join(ranges)}")
        return ranges[statistic]


def measure(
    record: AttentionRecord,
    *,
    vectors: VectorDistances | Unattended | None = None,
    seed: int = 0,
    shuffles: bool = True,
) -> DegeneracyReport:
    """Return the degeneracy statistics of a record, with their baselines.

    One pass over chunks of queries, which keeps a sample of their rows for the divergence and the
    effective rank: time O(queries x keys x channels), memory O((chunk + sample) x keys). Sums are
    kept in float64.

    Args:
        record: The block.
        vectors: What `analysis.vectors.vector_distances` measured while the block ran, or what
            `analysis.watching.watch` left of it; inputs and outputs are not part of a record.
        seed: Of everything random: sampled rows, shuffles.
        shuffles: Whether keys are really shuffled, for the baselines that have no closed form:
            those of the query information, the divergence and the effective rank, which are NaN
            otherwise. They take half of the time, and nothing else depends on them.

    Raises:
        ValueError: The record holds NaN or infinite values.
    """
    _check_finite(record)
    value = vectors.value if isinstance(vectors, Unattended) else None
    sums = sum_rows(record, generator=_seeded(seed), shuffles=shuffles, value=value)
    if isinstance(vectors, Unattended):
        assert sums.attended is not None  # there was a value
        vectors = vectors.distances(sums.attended)
    rank = sampled_rank(sums.sample_rows, generator=_seeded(seed), shuffles=shuffles)
    jsd = shuffled_jsd = Estimate(nan, nan)
    if not sums.signed:
        jsd, shuffled_jsd = jensen_shannon_nats(sums, generator=_seeded(seed), shuffles=shuffles)
    restricted = restriction(record)
    together = len(record.query) / 2 ** (restricted.information_bits if restricted else 0)
    found = {
        "unary_share": (unary_share(record), unary_share_baselines(together)),
        **_of_rows(sums),
        "jsd_nats": (jsd.mean, Baselines(0.0, 0.0, shuffled_jsd.mean)),
        "effective_rank": (rank.rank, Baselines(1.0, 1.0, rank.shuffled)),
    }
    entropy = sums.entropy_nats
    if sums.signed:
        found |= dict.fromkeys(OF_DISTRIBUTIONS, (nan, Baselines(nan, nan, nan)))
        entropy = torch.full_like(entropy, nan)
    return DegeneracyReport(
        block=record.block,
        queries=len(record.query),
        keys=len(record.key),
        **{name: value for name, (value, _) in found.items()},
        input_cosine_distance=vectors.input if vectors else nan,
        query_cosine_distance=cosine_distance(record.query),
        key_cosine_distance=cosine_distance(record.key),
        output_cosine_distance=vectors.output if vectors else nan,
        jsd_standard_error=jsd.standard_error,
        effective_rank_rows=rank.rows,
        entropy_bits_quantiles=_quantiles(entropy / log(2)),
        perplexity_quantiles=_quantiles(entropy.exp()),
        frame_share=_share_by_offset(sums),
        farthest=sums.distances.farthest,
        baselines={name: baselines for name, (_, baselines) in found.items()},
        restriction=restricted,
    )


def _of_rows(sums: RowSums) -> dict[str, tuple[float, Baselines]]:
    """Return the statistics that one pass over the rows gives, each with its baselines."""
    keys = len(sums.mean_share)
    entropy = sums.entropy_nats.nanmean().item() / log(2)
    entropy_of_mean = entropy_nats(sums.mean_share).item() / log(2)
    shuffled_entropy_of_mean = shuffled_mean_entropy_nats(sums) / log(2)
    perplexity = sums.entropy_nats.exp().nanmean().item()
    # |mean unit row|^2 is the mean cosine over all ordered pairs, so no pair is ever visited
    cosine = sums.mean_unit.square().sum().item()
    uniform_distance = sums.distances.mean_to_keys.mean().item()
    mean_row_distance = (sums.mean_share @ sums.distances.mean_to_keys).item()
    return {
        # of max(x, 0.0), unlike max(0.0, x), NaN comes out as NaN
        "query_information_bits": (
            max(entropy_of_mean - entropy, 0.0),
            Baselines(0.0, 0.0, max(shuffled_entropy_of_mean - entropy, 0.0)),
        ),
        "cosine_distance": (
            distance_from_mean_cosine(cosine),
            Baselines(0.0, 0.0, shuffled_cosine_distance(sums)),
        ),
        "entropy_bits": (entropy, Baselines(log2(keys), entropy_of_mean, entropy)),
        "perplexity": (perplexity, Baselines(float(keys), 2**entropy_of_mean, perplexity)),
        "attention_distance": (
            sums.distance.nanmean().item(),
            Baselines(uniform_distance, mean_row_distance, uniform_distance),
        ),
    }


def _seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def _quantiles(values: Float[Tensor, " query_pos"]) -> tuple[float, ...]:
    at = torch.tensor(QUANTILES, dtype=values.dtype)
    return tuple(torch.nanquantile(values, at).tolist())


def _share_by_offset(sums: RowSums) -> tuple[float, ...]:
    frames, key_frames = sums.frame_share.shape
    if frames == 1 or frames != key_frames:
        return ()
    return tuple(sums.frame_share.diagonal(d).sum().item() for d in range(1 - frames, frames))


def _check_finite(record: AttentionRecord) -> None:
    tensors: dict[str, Float[Tensor, ...] | None] = {
        "query": record.query,
        "key": record.key,
        "unary": record.unary,
    }
    for name, tensor in tensors.items():
        if tensor is not None and not torch.isfinite(tensor).all():
            raise ValueError(f"block {record.block!r} has NaN or infinite values in its {name}")
