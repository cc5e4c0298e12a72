"""Which queries look elsewhere than the rest: one number per query, drawn as a map."""

from collections.abc import Callable, Iterator
from math import log

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.streaming import CHUNK_VALUES, entropy_nats, query_chunks, shares

SWEEPS = 4
"""How often `most_different` may move to a farther pair."""

MOST_CANDIDATES = 400
"""Among so many queries, evenly spread, `most_different` looks; every page must know the pair."""


def divergence_from_mean_bits(record: AttentionRecord) -> Float[Tensor, " query_pos"]:
    """Return KL(row || mean row) of queries that count, in bits: how far they look from all others.

    0 to log2 of the number of queries; the mean over queries is `query_information_bits`. A row's
    weights are taken without their sign and divided by their sum; a row of zeros has NaN and is
    left out of the mean. Two passes over the attention, memory O(chunk x keys).
    """
    mean = torch.zeros(len(record.key), dtype=torch.float64)
    attending = 0
    for _, share in _share_chunks(record):
        mean += share.nansum(dim=0)
        attending += int((~share[:, 0].isnan()).sum())
    # where the mean is 0, so is every row
    log_mean = (mean / attending).clamp_min(torch.finfo(torch.float64).tiny).log()
    divergence = torch.empty(record.query_axis.counting, dtype=torch.float64)
    for chunk, share in _share_chunks(record):
        divergence[chunk] = -(share @ log_mean) - entropy_nats(share)
    return (divergence / log(2)).clamp_min(0)


def most_different(record: AttentionRecord, count: int = 2) -> tuple[int, ...]:
    """Queries whose attention differs most, by Jensen-Shannon divergence: the only definition.

    Looked for among an even choice of `MOST_CANDIDATES` queries that count (or of `count`, if that
    is more), without comparing all pairs: from the query farthest from the mean row to the one
    farthest from it, and on from there until no query is farther. The pair is the farthest from
    either of its ends; where attention falls into groups a farther pair may exist elsewhere. Every
    further query is the one whose nearest among those before is farthest (Gonzalez 1985). Ties go
    to the lower position; more queries leave the first ones as they are, and one alone is the
    pair's first.

    Args:
        record: The block, of a picture or a clip.
        count: At least 1.

    Returns:
        Indices of the query axis; of a whole grid its flat positions.

    Raises:
        ValueError: Fewer queries than that attend to anything.
    """
    positions = record.query_axis.counting
    if not 1 <= count <= positions:
        raise ValueError(f"at least 1 and at most {positions} queries can be chosen, got {count}")
    candidates = Candidates(record, max(count, MOST_CANDIDATES))
    if candidates.attending < count:
        wanted = {1: "a query that attends", 2: "two queries that attend"}
        raise ValueError(
            f"block {record.block!r} must have {wanted.get(count, f'{count} queries that attend')} "
            f"to anything, got {candidates.attending}"
        )
    if candidates.attending == 1:
        return (int(candidates.positions[candidates.divergence_from_mean().argmax()]),)
    chosen = list(_farthest_pair(candidates))
    nearest = torch.full((len(candidates.positions),), torch.inf, dtype=torch.float64)
    compared = 0  # how many of the chosen ones the rest was compared with
    while len(chosen) < count:
        for place in chosen[compared:]:
            nearest = torch.minimum(nearest, candidates.divergence_from(place))
        compared = len(chosen)
        nearest[chosen] = -torch.inf
        chosen.append(int(nearest.argmax()))
    return tuple(int(candidates.positions[place]) for place in chosen[:count])


def _farthest_pair(candidates: "Candidates") -> tuple[int, int]:
    first = int(candidates.divergence_from_mean().argmax())
    second, farthest = candidates.farthest_from(first)
    for _ in range(SWEEPS):
        other, distance = candidates.farthest_from(second)
        if distance <= farthest:
            break
        first, second, farthest = second, other, distance
    return first, second


class Candidates:
    """An even choice of a record's queries with their rows, to be compared by divergence in nats.

    What attends to nothing is at no distance: its divergence is -inf. Memory O(candidates x keys).
    """

    def __init__(self, record: AttentionRecord, most: int) -> None:
        self.positions = evenly(record.query_axis.counting, most)
        rows = [terms.attention(record, chunk) for chunk in query_chunks(record, self.positions)]
        self._shares = shares(torch.cat(rows))
        self._attends = ~self._shares[:, 0].isnan()
        self._entropies = self._over(entropy_nats)
        self.attending = int(self._attends.sum())

    def divergence_from_mean(self) -> Float[Tensor, " candidates"]:
        """Return KL(row || mean row of the candidates)."""
        mean = self._shares[self._attends].double().mean(dim=0)
        log_mean = mean.clamp_min(torch.finfo(torch.float64).tiny).log()
        return self._known(self._over(lambda share: -(share @ log_mean)) - self._entropies)

    def divergence_from(self, place: int) -> Float[Tensor, " candidates"]:
        """Return the Jensen-Shannon divergence of all candidates from one."""
        row = self._shares[place].double()
        middle = self._over(lambda share: entropy_nats((share + row) / 2))
        return self._known(middle - (self._entropies + self._entropies[place]) / 2)

    def farthest_from(self, place: int) -> tuple[int, float]:
        """Return another candidate and its divergence from one."""
        divergence = self.divergence_from(place)
        divergence[place] = -torch.inf
        other = int(divergence.argmax())
        return other, divergence[other].item()

    def _over(
        self, of: Callable[[Float[Tensor, "some key_pos"]], Float[Tensor, " some"]]
    ) -> Float[Tensor, " candidates"]:
        """Apply a function to the rows in double precision, a chunk at a time."""
        size = max(1, CHUNK_VALUES // self._shares.shape[1])
        return torch.cat([of(share.double()) for share in self._shares.split(size)])

    def _known(self, values: Float[Tensor, " candidates"]) -> Float[Tensor, " candidates"]:
        return values.where(self._attends, -torch.inf)


def evenly(total: int, most: int) -> Int[Tensor, " chosen"]:
    """Return at most so many of the numbers below a total, evenly spread."""
    if total <= most:
        return torch.arange(total)
    return ((torch.arange(most, dtype=torch.float64) + 0.5) * total / most).long()


def _share_chunks(
    record: AttentionRecord,
) -> Iterator[tuple[Int[Tensor, " queries"], Float[Tensor, "queries key_pos"]]]:
    for chunk in query_chunks(record):
        yield chunk, shares(terms.attention(record, chunk)).double()
