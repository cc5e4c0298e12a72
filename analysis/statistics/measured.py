"""What statistics are computed from: heads that were measured together, and each of them."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import log, nan

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nonlocal_lens.analysis.baselines import shuffled_extremes, shuffled_mean_entropy_nats
from nonlocal_lens.analysis.divergence import Estimate, jensen_shannon_nats
from nonlocal_lens.analysis.grams import LogitGrams
from nonlocal_lens.analysis.parts import Restriction, restriction
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.spectrum import SampledRank, sampled_ranks
from nonlocal_lens.analysis.streaming import RowSums, entropy_nats
from nonlocal_lens.analysis.vectors import VectorDistances


@dataclass(frozen=True, eq=False)
class MeasuredHeads:
    """Records of heads that are alike, and the sums of one pass over the rows of all of them.

    What is computed here is so of all heads at once: their number is the first side of tensors.
    """

    records: Sequence[AttentionRecord]  # see `analysis.head_rows.alike`
    sums: RowSums
    vectors: Sequence[VectorDistances | None]  # of each head's block, where it was watched
    seed: int = 0
    shuffles: bool = True
    _found: dict[Callable[["MeasuredHeads"], Tensor], list[float]] = field(
        default_factory=dict, init=False
    )

    def numbers(self, compute: Callable[["MeasuredHeads"], Float[Tensor, " heads"]]) -> list[float]:
        """Return what a function computes of all heads; it is asked once."""
        found = self._found.get(compute)
        if found is None:
            found = self._found[compute] = compute(self).tolist()
        return found

    @cached_property
    def each(self) -> list["Measured"]:
        """Every head by itself."""
        return [Measured(self, head) for head in range(len(self.records))]

    @cached_property
    def keys(self) -> int:
        """Number of keys, M: places and named tokens."""
        return len(self.records[0].key)

    @cached_property
    def named(self) -> int:
        """Number of keys that are no places."""
        return len(self.records[0].key_axis.names)

    @cached_property
    def grams(self) -> LogitGrams:
        """Gram matrices of queries and keys."""
        return LogitGrams(self.records)

    @cached_property
    def ranks(self) -> list[SampledRank]:
        """Effective rank of a sample of the rows."""
        return sampled_ranks(
            self.sums.sample_rows, generator=self._seeded(), shuffles=self.shuffles
        )

    @cached_property
    def token_shares(self) -> list[list[float]]:
        """Mean share of a row on every key that is no place; NaN where weights have a sign."""
        shares = self.sums.mean_share[:, self.keys - self.named :]
        of_names: list[list[float]] = shares.where(~self.sums.signed[:, None], nan).tolist()
        return of_names

    @cached_property
    def divergences(self) -> list[tuple[Estimate, Estimate]]:
        """Mean Jensen-Shannon divergence of pairs of rows, and with shuffled keys."""
        return jensen_shannon_nats(self.sums, generator=self._seeded(), shuffles=self.shuffles)

    @cached_property
    def shuffled_extremes(self) -> tuple[Float[Tensor, " heads"], Float[Tensor, " heads"]]:
        """The largest share of the mean row of shuffled rows, and that over its median."""
        if self.shuffles:
            return shuffled_extremes(self.sums)
        nothing = torch.full((len(self.records),), nan)
        return nothing, nothing

    def _seeded(self) -> torch.Generator:
        return torch.Generator().manual_seed(self.seed)


@dataclass(frozen=True, eq=False)
class Measured:
    """One head of those that were measured together: what several statistics need of it."""

    together: MeasuredHeads
    head: int

    def number(self, compute: Callable[[MeasuredHeads], Float[Tensor, " heads"]]) -> float:
        """Return this head's number of what a function computes of all heads at once."""
        return self.together.numbers(compute)[self.head]

    @property
    def record(self) -> AttentionRecord:
        """The head's record."""
        return self.together.records[self.head]

    @cached_property
    def sums(self) -> RowSums:
        """What one pass over the head's rows left."""
        return self.together.sums.of(self.head)

    @property
    def vectors(self) -> VectorDistances | None:
        """Of what goes into its block and comes out, where the block was watched."""
        return self.together.vectors[self.head]

    @property
    def seed(self) -> int:
        """Of everything random."""
        return self.together.seed

    @property
    def shuffles(self) -> bool:
        """Whether keys were really shuffled."""
        return self.together.shuffles

    @cached_property
    def signed(self) -> bool:
        """Whether any weight is below 0."""
        return bool(self.number(_signed))

    @cached_property
    def queries(self) -> int:
        """Number of queries that count, N: those that are places, or all where none is."""
        return self.record.query_axis.counting

    @cached_property
    def keys(self) -> int:
        """Number of keys, M: places and named tokens."""
        return self.together.keys

    @property
    def named(self) -> int:
        """Number of keys that are no places."""
        return self.together.named

    @property
    def token_share(self) -> float:
        """Mean share of a row on keys that are no places."""
        return self.number(_token_share)

    @property
    def token_shares(self) -> list[float]:
        """Mean share of a row on every key that is no place; NaN where weights have a sign."""
        return self.together.token_shares[self.head]

    @property
    def kind_information_bits(self) -> float:
        """Mutual information between the query and which named token it attends to, or a place."""
        return self.number(_kind_information_bits)

    @property
    def entropy_bits(self) -> float:
        """Mean entropy of a row's shares."""
        return self.number(_entropy_bits)

    @property
    def entropy_of_mean_bits(self) -> float:
        """Entropy of the mean row."""
        return self.number(_entropy_of_mean_bits)

    @property
    def shuffled_entropy_of_mean_bits(self) -> float:
        """Entropy of the mean row after the keys of all rows were shuffled."""
        return self.number(_shuffled_entropy_of_mean_bits) if self.shuffles else nan

    @property
    def shuffled_extremes(self) -> tuple[float, float]:
        """The largest share of the mean row of shuffled rows, and that over its median."""
        return self.number(_shuffled_largest), self.number(_shuffled_concentration)

    @cached_property
    def restriction(self) -> Restriction | None:
        """What it means for the rows that queries do not look at all keys."""
        return restriction(self.record)

    @property
    def rank(self) -> SampledRank:
        """Effective rank of a sample of the rows."""
        return self.together.ranks[self.head]

    @property
    def divergences(self) -> tuple[Estimate, Estimate]:
        """Mean Jensen-Shannon divergence of pairs of rows, and with shuffled keys."""
        return self.together.divergences[self.head]

    @property
    def update(self) -> Float[Tensor, "query_pos value_channels"] | None:
        """What every query is given: the values on their way out, weighted by its row."""
        attended = self.together.sums.attended
        return None if self.record.value is None or attended is None else attended[self.head]

    @cached_property
    def sink(self) -> int:
        """Index of the key that gets most attention on average; the first of several."""
        return int(self.number(_sink))


def _signed(heads: MeasuredHeads) -> Bool[Tensor, " heads"]:
    return heads.sums.signed


def _sink(heads: MeasuredHeads) -> Int[Tensor, " heads"]:
    return heads.sums.mean_share.argmax(dim=1)


def _token_share(heads: MeasuredHeads) -> Float[Tensor, " heads"]:
    return heads.sums.mean_share[:, heads.keys - heads.named :].sum(dim=1)


def _entropy_bits(heads: MeasuredHeads) -> Float[Tensor, " heads"]:
    return heads.sums.entropy_nats.nanmean(dim=1) / log(2)


def _entropy_of_mean_bits(heads: MeasuredHeads) -> Float[Tensor, " heads"]:
    return entropy_nats(heads.sums.mean_share) / log(2)


def _kind_information_bits(heads: MeasuredHeads) -> Float[Tensor, " heads"]:
    share, placed = heads.sums.mean_share, heads.keys - heads.named
    kinds = torch.cat((share[:, placed:], share[:, :placed].sum(dim=1, keepdim=True)), dim=1)
    return (entropy_nats(kinds) - heads.sums.kind_entropy_nats.nanmean(dim=1)) / log(2)


def _shuffled_entropy_of_mean_bits(heads: MeasuredHeads) -> Float[Tensor, " heads"]:
    return shuffled_mean_entropy_nats(heads.sums) / log(2)


def _shuffled_largest(heads: MeasuredHeads) -> Float[Tensor, " heads"]:
    return heads.shuffled_extremes[0]


def _shuffled_concentration(heads: MeasuredHeads) -> Float[Tensor, " heads"]:
    return heads.shuffled_extremes[1]
