"""Gram matrices: of the queries and keys whose products are logits, and of whatever else."""

from collections.abc import Sequence
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.record import AttentionRecord

PIECE = 512
"""Vectors whose products are summed in their own precision."""


def gram(
    vectors: Float[Tensor, "*heads pos channels"],
) -> Float[Tensor, "*heads channels channels"]:
    """Return V'V of vectors, summed in float64 over pieces in their own precision."""
    pieces = (piece.mT @ piece for piece in vectors.split(PIECE, dim=-2))
    total: Tensor = sum(piece.double() for piece in pieces)
    return total


class OfQueries(NamedTuple):
    """The Gram matrix of some queries less a mean, and what is left of their sum."""

    gram: Float[Tensor, "heads channels channels"]
    rest: Float[Tensor, "heads channels"]  # 0 where the mean is theirs


class LogitGrams:
    """What the squares of logits of heads that are alike are made of, each made once.

    Of queries and keys in float64, less their means, which add products of means and no more:
    sums of squares then lose nothing to means that are large.
    """

    def __init__(self, records: Sequence[AttentionRecord]) -> None:
        self._query = terms.stacked([record.query for record in records])
        self._key = terms.stacked([record.key for record in records])
        self._meant = terms.meant(records[0])
        self._of_queries: dict[int, OfQueries] = {}

    @cached_property
    def mean_query(self) -> Float[Tensor, "heads channels"]:
        """The mean of the queries whose mean is taken out, see `terms.meant`."""
        return _mean(self._query[:, : self._meant])

    @cached_property
    def mean_key(self) -> Float[Tensor, "heads channels"]:
        """The mean of all keys."""
        return _mean(self._key)

    @cached_property
    def of_keys(self) -> Float[Tensor, "heads channels channels"]:
        """The Gram matrix of the keys, less their mean."""
        return gram(_less(self._key, self.mean_key))

    def of_queries(self, count: int) -> OfQueries:
        """Return the Gram matrix of the first queries, less `mean_query`."""
        if count not in self._of_queries:
            queries = _less(self._query[:, :count], self.mean_query)
            rest = torch.zeros_like(self.mean_query)
            if count != self._meant:
                rest = queries.sum(dim=1)
            self._of_queries[count] = OfQueries(gram(queries), rest)
        return self._of_queries[count]

    def with_unary(
        self, unary: Float[Tensor, "heads key_pos"]
    ) -> Float[Tensor, "heads channels_and_one channels_and_one"]:
        """Return the Gram matrix of the keys less their mean, with one more channel of mean 0."""
        beside = self._key.mT.double() @ unary[..., None]
        return bordered(self.of_keys, beside[..., 0], unary.square().sum(dim=1))


def bordered(
    matrix: Float[Tensor, "heads channels channels"],
    beside: Float[Tensor, "heads channels"],
    corner: Float[Tensor, " heads"],
) -> Float[Tensor, "heads channels_and_one channels_and_one"]:
    """Return symmetric matrices with one more row and column."""
    upper = torch.cat((matrix, beside[..., None]), dim=2)
    lower = torch.cat((beside, corner[:, None]), dim=1)
    return torch.cat((upper, lower[:, None]), dim=1)


def outer(
    one: Float[Tensor, "heads channels"], other: Float[Tensor, "heads channels"]
) -> Float[Tensor, "heads channels channels"]:
    """Return the outer product of two vectors of every head."""
    return one[:, :, None] * other[:, None]


def _less(
    vectors: Float[Tensor, "heads pos channels"], mean: Float[Tensor, "heads channels"]
) -> Float[Tensor, "heads pos channels"]:
    return torch.sub(vectors, mean[:, None])


def _mean(vectors: Float[Tensor, "heads pos channels"]) -> Float[Tensor, "heads channels"]:
    # a sum takes half of the time that `mean` takes for the same
    return vectors.sum(dim=1, dtype=torch.float64) / vectors.shape[1]
