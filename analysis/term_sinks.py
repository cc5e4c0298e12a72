"""Sinks of each term by itself: is it the pairwise or the unary part that has one?"""

from math import nan
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.statistics.sinks import SINK
from nonlocal_lens.analysis.streaming import query_chunks, shares


class Sink(NamedTuple):
    """The key that gets most of one term's attention; all NaN where weights have signs."""

    share: float  # of the term's mean row, 1 / keys to 1
    concentration: float  # that over the median of the mean row, 1 to infinity
    rate: float  # 1 where the share is at least `analysis.statistics.sinks.SINK`, else 0


def sinks_by_term(record: AttentionRecord) -> dict[terms.Term, Sink]:
    """Return the sink of the whole attention, and of either term attending by itself.

    A pass over chunks of rows for each term, each row divided by its sum.
    """
    return {term: _sink(mean_row(record, term)) for term in terms.TERMS}


def mean_row(record: AttentionRecord, term: terms.Term = "whole") -> Float[Tensor, " key_pos"]:
    """Return the mean of the rows of a term, each divided by its sum; NaN where they have signs."""
    total = torch.zeros(len(record.key), dtype=torch.float64)
    rows = 0
    for chunk in query_chunks(record):
        weights = terms.attention(record, chunk, term)
        if weights.amin() < 0:
            return torch.full_like(total, nan)
        attending = shares(weights)[weights.sum(dim=1) > 0].double()
        total += attending.sum(dim=0)
        rows += len(attending)
    return total / rows


def _sink(row: Float[Tensor, " key_pos"]) -> Sink:
    top, middle = row.max().item(), row.quantile(0.5).item()
    if top != top:
        return Sink(nan, nan, nan)
    return Sink(top, top / middle if middle else float("inf"), float(top >= SINK))
