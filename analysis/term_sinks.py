"""Sinks of each term by itself: is it the pairwise or the unary part that has one?"""

from math import nan
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.statistics.sinks import ROUTED, SINK
from nonlocal_lens.analysis.streaming import query_chunks, shares


class Sink(NamedTuple):
    """The key that gets most of one term's attention; all NaN where weights have signs."""

    share: float  # of the term's mean row, 1 / keys to 1
    concentration: float  # that over the median of the mean row, 1 to infinity
    rate: float  # 1 where the share is at least `analysis.statistics.sinks.SINK`, else 0
    routed: float  # share of queries that give it at least `analysis.statistics.sinks.ROUTED`


def sinks_by_term(record: AttentionRecord) -> dict[terms.Term, Sink]:
    """Return the sink of the whole attention, and of either term attending by itself.

    A pass over chunks of rows for each term, each row divided by its sum.
    """
    return {term: sink_of(record, term) for term in terms.TERMS}


def sink_of(record: AttentionRecord, term: terms.Term) -> Sink:
    """Return the sink of one term, or of the whole attention."""
    return _sink(*_mean_and_routed(record, term))


def mean_row(record: AttentionRecord, term: terms.Term = "whole") -> Float[Tensor, " key_pos"]:
    """Return the mean of the rows of a term, each divided by its sum; NaN where they have signs."""
    return _mean_and_routed(record, term)[0]


def _mean_and_routed(
    record: AttentionRecord, term: terms.Term
) -> tuple[Float[Tensor, " key_pos"], Float[Tensor, " key_pos"]]:
    """Return the mean row, and the share of queries that are routed to each key."""
    total, routed = torch.zeros(2, len(record.key), dtype=torch.float64)
    rows = 0
    for chunk in query_chunks(record):
        weights = terms.attention(record, chunk, term)
        if weights.amin() < 0:
            return torch.full_like(total, nan), torch.full_like(total, nan)
        attending = shares(weights)[weights.sum(dim=1) > 0].double()
        total += attending.sum(dim=0)
        routed += (attending >= ROUTED).sum(dim=0)
        rows += len(attending)
    return total / rows, routed / rows


def _sink(mean: Float[Tensor, " key_pos"], routed: Float[Tensor, " key_pos"]) -> Sink:
    top, middle = mean.max().item(), mean.quantile(0.5).item()
    if top != top:
        return Sink(nan, nan, nan, nan)
    concentration = top / middle if middle else float("inf")
    return Sink(top, concentration, float(top >= SINK), routed[mean.argmax()].item())
