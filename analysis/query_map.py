"""Which queries look elsewhere than the rest: one number per query, drawn as a map."""

from collections.abc import Iterator
from math import log

import torch
from jaxtyping import Float, Int
from torch import Tensor

from analysis import terms
from analysis.record import AttentionRecord
from analysis.streaming import entropy_nats, query_chunks, shares

SWEEPS = 4
"""How often `most_different` may move to a farther pair."""


def divergence_from_mean_bits(record: AttentionRecord) -> Float[Tensor, " query_pos"]:
    """Return KL(row || mean row) of every query, in bits: how far it looks from where all look.

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
    divergence = torch.empty(len(record.query), dtype=torch.float64)
    for chunk, share in _share_chunks(record):
        divergence[chunk] = -(share @ log_mean) - entropy_nats(share)
    return (divergence / log(2)).clamp_min(0)


def most_different(record: AttentionRecord) -> tuple[int, int]:
    """Return two queries whose attention differs most, by Jensen-Shannon divergence.

    Found without comparing all pairs: from the query farthest from the mean row to the one farthest
    from it, and on from there until no query is farther. The pair is the farthest from either of
    its ends; where attention falls into groups a farther pair may exist elsewhere.

    Raises:
        ValueError: There are not two queries that attend to anything.
    """
    divergence = divergence_from_mean_bits(record)
    if int((~divergence.isnan()).sum()) < 2:
        raise ValueError(
            f"block {record.block!r} must have two queries that attend to anything, "
            f"got {int((~divergence.isnan()).sum())}"
        )
    first = int(divergence.nan_to_num(-1).argmax())
    second, farthest = _farthest_from(record, first)
    for _ in range(SWEEPS):
        other, distance = _farthest_from(record, second)
        if distance <= farthest:
            break
        first, second, farthest = second, other, distance
    return first, second


def _farthest_from(record: AttentionRecord, query: int) -> tuple[int, float]:
    """Return another query and its Jensen-Shannon divergence from one, in nats."""
    row = shares(terms.attention(record, [query])).double()
    divergence = torch.empty(len(record.query), dtype=torch.float64)
    for chunk, share in _share_chunks(record):
        mean_entropy = (entropy_nats(share) + entropy_nats(row)) / 2
        divergence[chunk] = entropy_nats((share + row) / 2) - mean_entropy
    divergence[query] = -1
    other = int(divergence.nan_to_num(-1).argmax())
    return other, divergence[other].item()


def _share_chunks(
    record: AttentionRecord,
) -> Iterator[tuple[Int[Tensor, " queries"], Float[Tensor, "queries key_pos"]]]:
    for chunk in query_chunks(record):
        yield chunk, shares(terms.attention(record, chunk)).double()
