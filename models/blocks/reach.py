"""Which keys a query looks at, where a block does not let it look at all of them."""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Bool, Int
from torch import Tensor


class Parts(NamedTuple):
    """The part that every position lies in, counted from 0."""

    of_queries: Int[Tensor, " query_pos"]
    of_keys: Int[Tensor, " key_pos"]
    number: int


@dataclass(frozen=True, eq=False)
class Reach:
    """A query looks at the keys that have one of its labels; all other weights are 0.

    With one label for every position, those that have it in common are a part of the grid that
    attends to itself: a frame, a window. With two, reaches overlap: a row and a column.

    Args:
        kind: What a query has in common with the keys that it looks at, in words.
        query: The labels of every query.
        key: The labels of every key; only labels in the same column are compared.

    Raises:
        ValueError: Queries and keys have not equally many labels, or a query reaches no key.
    """

    kind: str
    query: Int[Tensor, "query_pos labels"]
    key: Int[Tensor, "key_pos labels"]

    def __post_init__(self) -> None:
        if self.query.ndim != 2 or self.key.ndim != 2 or not self.query.shape[1]:
            raise ValueError(
                "labels must be (positions, labels), at least one for every position, got "
                f"{tuple(self.query.shape)} and {tuple(self.key.shape)}"
            )
        if self.query.shape[1] != self.key.shape[1]:
            raise ValueError(
                f"queries and keys must have equally many labels, got {self.query.shape[1]} "
                f"and {self.key.shape[1]}"
            )
        pairs = zip(self.query.T, self.key.T, strict=True)
        reaching = torch.stack([torch.isin(query, key) for query, key in pairs]).any(dim=0)
        if not reaching.all():
            query = int(reaching.int().argmin())
            raise ValueError(f"every query must reach a key, query {query} has no label of any")

    def sees(self, queries: Int[Tensor, " queries"]) -> Bool[Tensor, "queries key_pos"]:
        """Return which keys some queries look at."""
        seen = self.query[queries, None, 0] == self.key[:, 0]
        for label in range(1, self.query.shape[1]):
            seen |= self.query[queries, None, label] == self.key[:, label]
        return seen

    @cached_property
    def parts(self) -> Parts | None:
        """The parts of the grid that attend to themselves; None where reaches overlap."""
        if self.query.shape[1] > 1:
            return None
        names, numbers = torch.cat((self.query, self.key)).flatten().unique(return_inverse=True)
        of_queries, of_keys = numbers.split((len(self.query), len(self.key)))
        return Parts(of_queries, of_keys, len(names))
