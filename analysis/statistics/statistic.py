"""What a statistic is, and what all of them are computed from."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import inf, log, log2, nan
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from nonlocal_lens.analysis.baselines import (
    Baselines,
    shuffled_extremes,
    shuffled_mean_entropy_nats,
)
from nonlocal_lens.analysis.divergence import Estimate, jensen_shannon_nats
from nonlocal_lens.analysis.parts import Restriction, restriction
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.spectrum import SampledRank, sampled_rank
from nonlocal_lens.analysis.streaming import RowSums, entropy_nats
from nonlocal_lens.analysis.vectors import VectorDistances


@dataclass(frozen=True, eq=False)
class Measured:
    """One record, the sums of one pass over its rows, and what several statistics need of them."""

    record: AttentionRecord
    sums: RowSums
    vectors: VectorDistances | None  # of what goes in and comes out, where the block was watched
    seed: int = 0
    shuffles: bool = True

    @cached_property
    def queries(self) -> int:
        """Number of queries that count, N: those that are places, or all where none is."""
        return self.record.query_axis.counting

    @cached_property
    def keys(self) -> int:
        """Number of keys, M: places and named tokens."""
        return self.record.key.shape[0]

    @cached_property
    def named(self) -> int:
        """Number of keys that are no places."""
        return len(self.record.key_axis.names)

    @cached_property
    def token_share(self) -> float:
        """Mean share of a row on keys that are no places."""
        return self.sums.mean_share[self.keys - self.named :].sum().item()

    @cached_property
    def kind_information_bits(self) -> float:
        """Mutual information between the query and which named token it attends to, or a place."""
        share = self.sums.mean_share
        placed = self.keys - self.named
        kinds = torch.cat((share[placed:], share[:placed].sum()[None]))
        return (entropy_nats(kinds) - self.sums.kind_entropy_nats.nanmean()).item() / log(2)

    @cached_property
    def entropy_bits(self) -> float:
        """Mean entropy of a row's shares."""
        return self.sums.entropy_nats.nanmean().item() / log(2)

    @cached_property
    def entropy_of_mean_bits(self) -> float:
        """Entropy of the mean row."""
        return entropy_nats(self.sums.mean_share).item() / log(2)

    @cached_property
    def shuffled_entropy_of_mean_bits(self) -> float:
        """Entropy of the mean row after the keys of all rows were shuffled."""
        return shuffled_mean_entropy_nats(self.sums) / log(2) if self.shuffles else nan

    @cached_property
    def shuffled_extremes(self) -> tuple[float, float]:
        """The largest share of the mean row of shuffled rows, and that over its median."""
        return shuffled_extremes(self.sums) if self.shuffles else (nan, nan)

    @cached_property
    def restriction(self) -> Restriction | None:
        """What it means for the rows that queries do not look at all keys."""
        return restriction(self.record)

    @cached_property
    def rank(self) -> SampledRank:
        """Effective rank of a sample of the rows."""
        return sampled_rank(self.sums.sample_rows, generator=self._seeded(), shuffles=self.shuffles)

    @cached_property
    def divergences(self) -> tuple[Estimate, Estimate]:
        """Mean Jensen-Shannon divergence of pairs of rows, and with shuffled keys."""
        if self.sums.signed:
            return Estimate(nan, nan), Estimate(nan, nan)
        return jensen_shannon_nats(self.sums, generator=self._seeded(), shuffles=self.shuffles)

    @cached_property
    def update(self) -> Float[Tensor, "query_pos value_channels"] | None:
        """What every query is given: the values on their way out, weighted by its row."""
        return None if self.record.value is None else self.sums.attended

    @cached_property
    def sink(self) -> int:
        """Index of the key that gets most attention on average; the first of several."""
        return int(self.sums.mean_share.argmax())

    def _seeded(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)


@dataclass(frozen=True)
class Scope:
    """What bounds may depend on."""

    queries: int
    keys: int
    ranked_rows: int  # that the effective rank is of
    farthest: float  # greatest distance between a query and a key, in image pixels


Degenerate = Literal["low", "high", "either"]
"""Which end of its range a statistic moves to as attention degenerates."""


@dataclass(frozen=True)
class Statistic:
    """One number of one record: what it means, what it can be, how it is computed."""

    name: str
    label: str
    unit: str  # empty where the number is a plain ratio or count
    definition: str
    compute: Callable[[Measured], float]
    bounds: Callable[[Scope], tuple[float, float]]
    bottom: str = ""  # the lower end in words, where it depends on the grid
    top: str = ""  # the upper end, likewise
    degenerate: Degenerate = "either"
    source: str = "A common measure; the papers' tables do not have it."
    baselines: Callable[[Measured], Baselines] | None = None  # None: not a statistic of attention
    of_distributions: bool = False  # whether weights with a sign do not have it
    plain: str = ""  # one sentence that needs no formula; the definition stands in for none

    def of(self, measured: Measured) -> tuple[float, Baselines | None]:
        """Return the number and its baselines; NaN where the weights do not have it."""
        if self.of_distributions and measured.sums.signed:
            return nan, self.baselines and Baselines(nan, nan, nan)
        return self.compute(measured), self.baselines and self.baselines(measured)


def share_of(_: Scope) -> tuple[float, float]:
    """Return the bounds of a share."""
    return 0.0, 1.0


def cosine_bounds(_: Scope) -> tuple[float, float]:
    """Return the bounds of a mean cosine distance."""
    return 0.0, 0.5


def bits_over_keys(scope: Scope) -> tuple[float, float]:
    """Return the bounds of an entropy over keys."""
    return 0.0, log2(scope.keys)


def from_one_to_keys(scope: Scope) -> tuple[float, float]:
    """Return the bounds of an effective number of keys."""
    return 1.0, float(scope.keys)


def at_least_one(_: Scope) -> tuple[float, float]:
    """Return the bounds of a ratio that can be no less than 1."""
    return 1.0, inf


def at_least_zero(value: float) -> float:
    """Return a number without the sign that rounding may leave at 0; NaN stays NaN."""
    return max(value, 0.0)  # in this order: max(0.0, nan) is 0
