"""Masks as labels: a query looks at the keys that have one of its labels."""

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from nonlocal_lens.analysis.tracing.low_rank import MAX_RANK

Labels = tuple[Int[Tensor, "masks queries labels"], Int[Tensor, "masks keys labels"]]
"""Of every group, or a single one if all groups have the same mask."""


class NoLabelsError(ValueError):
    """A mask hides other keys from more queries than labels can tell apart."""


def labels(seen: Bool[Tensor, "groups queries keys"]) -> Labels | None:
    """Return labels such that a query sees the keys that have one of its labels; None if all.

    One label is enough where queries that see a key in common see the same keys. A prefix of the
    keys, as of causal attention, takes as many as the number of keys has binary digits. Else every
    kind of row has a label of its own.

    Raises:
        NoLabelsError: A query sees no key, or there are more than `MAX_RANK` kinds of rows.
    """
    if bool(seen.all()):
        return None
    if not bool(seen.any(dim=2).all()):
        raise NoLabelsError("a mask hides every key from a query")
    found = [_of_one(group) for group in seen]
    width = max(query.shape[1] for query, _ in found)

    def padded(x: Tensor, value: int) -> Tensor:
        return torch.nn.functional.pad(x, (0, width - x.shape[1]), value=value)

    return (
        torch.stack([padded(query, -1) for query, _ in found]),
        torch.stack([padded(key, -2) for _, key in found]),
    )


def _of_one(seen: Tensor) -> tuple[Tensor, Tensor]:
    kinds, kind = seen.unique(dim=0, return_inverse=True)
    if bool((kinds.sum(dim=0) <= 1).all()):  # disjoint
        key = torch.where(kinds.any(dim=0), kinds.int().argmax(dim=0), -2)
        return kind[:, None], key[:, None]
    length = seen.sum(dim=1)
    position = torch.arange(seen.shape[1], device=seen.device)
    if bool((seen == (position < length[:, None])).all()):
        return _of_prefixes(length, position)
    if len(kinds) > MAX_RANK:
        raise NoLabelsError(
            f"a mask hides keys in {len(kinds)} different ways: labels tell at most {MAX_RANK}"
        )
    number = torch.arange(len(kinds), device=seen.device)
    return (
        torch.where(kind[:, None] == number, number, -1),
        torch.where(kinds.T, number, -2),
    )


def _of_prefixes(length: Tensor, position: Tensor) -> tuple[Tensor, Tensor]:
    """Cut every prefix into blocks whose sizes are different powers of two, the largest first."""
    levels = torch.arange(int(length.max()).bit_length(), device=length.device)
    has_block = (length[:, None] >> levels) & 1 == 1
    query = torch.where(has_block, (length[:, None] >> levels) - 1, -1)
    return query, position[:, None] >> levels
