"""The pairwise and the unary term of attention: the split, and how the parts make a map.

A logit is `s_ij = scale * query_i . key_j`. Like any matrix of numbers it has one two-way
decomposition (the analysis of variance of a two-way table without replication):

    s_ij = grand + row_i + unary_j + pairwise_ij
    unary_j     = scale * mean_query . (key_j - mean_key)
    pairwise_ij = scale * (query_i - mean_query) . (key_j - mean_key)

`pairwise` is the whitened dot product and `unary` the key-only term of Yin et al. 2020 (arXiv
2006.06668), up to a constant. `grand` and `row_i` cancel in a softmax over j, so that
softmax(s) = softmax(pairwise + unary), exactly.

| coupling     | whole attention of query i            | its rows sum to |
|--------------|---------------------------------------|-----------------|
| coupled      | softmax(pairwise + unary)             | 1               |
| disentangled | softmax(pairwise) + softmax(m)        | 2               |

In the disentangled coupling m is the block's own learned unary logit, and `mean_query . key_j` has
no part in the attention.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from jaxtyping import Float, Int
from torch import Tensor

from analysis.record import AttentionRecord

Term = Literal["whole", "pairwise", "unary"]
TERMS: tuple[Term, ...] = get_args(Term)

Queries = Sequence[int] | Int[Tensor, " queries"]
"""Flat query positions, see `AttentionRecord.query_grid`."""


def whiten(x: Float[Tensor, "pos channels"]) -> Float[Tensor, "pos channels"]:
    """Subtract the mean over positions; the variance stays, as in the paper."""
    return x - x.mean(dim=0)


def pairwise_logits(record: AttentionRecord, queries: Queries) -> Float[Tensor, "queries key_pos"]:
    """Return the whitened dot products of some queries with every key, scaled.

    Each row sums to 0, and so does each column over all queries.

    Raises:
        ValueError: A query is not a position of the record's query grid.
    """
    query = whiten(record.query)[positions(record, queries)]
    return record.scale * query @ whiten(record.key).T


def unary_logits(record: AttentionRecord) -> Float[Tensor, " key_pos"]:
    """Return the logits that all queries share: learned where the block has them, else derived.

    Derived ones have mean 0; learned ones are the block's own, with whatever mean they have.
    """
    if record.unary is not None:
        return record.unary
    return record.scale * whiten(record.key) @ record.query.mean(dim=0)


def attention(
    record: AttentionRecord, queries: Queries, term: Term = "whole"
) -> Float[Tensor, "queries key_pos"]:
    """Return rows of attention: of the block as a whole, or of one term's softmax alone.

    Values are weights, at least 0; times the number of keys they are multiples of uniform
    attention. Rows of one term sum to 1, rows of the whole to `ROW_SUM[record.coupling]`. The rows
    of the unary term are all the same.

    Raises:
        ValueError: A query is not a position of the record's query grid, or the term is unknown.
    """
    if term not in TERMS:
        raise ValueError(f"unknown term {term!r}; available: {', '.join(TERMS)}")
    if term == "unary":
        row = unary_logits(record).softmax(dim=0)
        return row.expand(len(positions(record, queries)), -1)
    pairwise = pairwise_logits(record, queries)
    if term == "pairwise":
        return pairwise.softmax(dim=1)
    unary = unary_logits(record)
    if record.coupling == "disentangled":
        return pairwise.softmax(dim=1) + unary.softmax(dim=0)
    return (pairwise + unary).softmax(dim=1)


def positions(record: AttentionRecord, queries: Queries) -> Int[Tensor, " queries"]:
    """Return flat query positions as a tensor of indices; ValueError if one is not on the grid."""
    index = torch.as_tensor(queries, dtype=torch.long)
    count = record.query_grid.positions
    outside = index[(index < 0) | (index >= count)]
    if outside.numel():
        raise ValueError(f"queries must be positions in [0, {count}), got {outside[0].item()}")
    return index
