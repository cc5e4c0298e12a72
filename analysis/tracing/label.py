"""What a tensor is labelled with: from which source each of its elements comes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

import numpy as np
from jaxtyping import Shaped
from torch import Tensor

from nonlocal_lens.analysis.tracing.sources import PADDING, Ids, Side, Sources

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Affine:
    """Elements on a regular lattice: no number is written down, however many there are.

    Attributes:
        fixed: The eight coordinates and sizes of all elements, where no side says otherwise.
        sides: For each dimension of the tensor the cells along it; None where all lie alike.
    """

    fixed: tuple[float, ...]
    sides: tuple[Side | None, ...]


@dataclass(frozen=True, eq=False)
class Label:
    """From which source the elements of a tensor come.

    Attributes:
        sources: All sources.
        affine: The places of a regular lattice, or None.
        written: The number of each element's source, broadcast: a dimension along which all is
            alike has length 1. A matrix of products has two: the sources of its rows, and those of
            its columns. None where `affine` says it.
        own: Whether the tensor is a parameter as it is: weights, maybe, and no token.
    """

    sources: Sources
    affine: Affine | None = None
    written: tuple[Ids, ...] | None = None
    own: bool = False

    @cached_property
    def tracks(self) -> tuple[Ids, ...]:
        """`written`, or what `affine` would have written."""
        if self.written is not None:
            return self.written
        assert self.affine is not None
        return (write_down(self.affine, self.sources),)

    @property
    def ids(self) -> Ids:
        """The first of the tracks."""
        return self.tracks[0]

    @cached_property
    def canonical(self) -> Ids:
        """The first of the tracks, places that are the same as the same number."""
        return self.sources.canonical(self.ids)

    def alike(self, other: "Label") -> bool:
        """Return whether another label says the same, at a glance."""
        if self is other:
            return True
        if self.affine is not None or other.affine is not None:
            return self.affine == other.affine
        ours, theirs = self.tracks, other.tracks
        return len(ours) == len(theirs) and all(
            x is y or (x.shape == y.shape and np.array_equal(x, y))
            for x, y in zip(ours, theirs, strict=True)
        )

    def moved(self, move: Callable[[Ids], Ids]) -> "Label":
        """Return the label of a tensor whose elements come from this one's by a move."""
        return Label(self.sources, written=tuple(move(ids) for ids in self.tracks), own=self.own)

    def lost_ownership(self) -> "Label":
        """Return the label of what was computed from the tensor, element by element."""
        return replace(self, own=False) if self.own else self


def written(sources: Sources, *tracks: Ids) -> Label:
    """Return a label of numbers."""
    return Label(sources, written=tracks)


def everywhere(sources: Sources, number: int, dimensions: int) -> Label:
    """Return the label of a tensor all of which comes from one source."""
    return written(sources, np.full((1,) * dimensions, number))


def write_down(affine: Affine, sources: Sources) -> Ids:
    """Return the numbers of the sources of a regular lattice, broadcast."""
    order = sorted(
        (dimension for dimension, side in enumerate(affine.sides) if side is not None),
        key=lambda dimension: _side(affine, dimension).coordinate,
    )
    sides = tuple(_side(affine, dimension) for dimension in order)
    ids = np.full((1,) * len(affine.sides), sources.lattice(affine.fixed, sides))
    outside = np.zeros_like(ids, dtype=bool)
    for rank, dimension in enumerate(order):
        side = sides[rank]
        along = [1] * ids.ndim
        along[dimension] = -1
        at = np.arange(side.count).reshape(along)
        ids = ids + at * prod(later.count for later in sides[rank + 1 :])
        if (side.start, side.stop) != (0, side.count):
            outside = outside | (at < side.start) | (at >= side.stop)
    if outside.any():
        return np.where(outside, PADDING, ids)
    return ids


def _side(affine: Affine, dimension: int) -> Side:
    side = affine.sides[dimension]
    assert side is not None
    return side


def spread(ids: Ids, shape: Sequence[int], dimension: int) -> Ids:
    """Return numbers written out along one dimension."""
    if ids.shape[dimension] == shape[dimension]:
        return ids
    full = list(ids.shape)
    full[dimension] = shape[dimension]
    return np.broadcast_to(ids, full)


def raised(ids: Shaped[np.ndarray, "..."], dimensions: int) -> Shaped[np.ndarray, "..."]:
    """Return numbers with new dimensions of length 1 before the others, until there are so many."""
    return ids.reshape((1,) * (dimensions - ids.ndim) + ids.shape)


def alike_along(ids: Ids, dimension: int) -> bool:
    """Return whether sources are the same all along a dimension."""
    if ids.shape[dimension] == 1:
        return True
    first = ids.take([0], axis=dimension)
    return bool((ids == first).all())


def first_along(ids: Ids, dimension: int) -> Ids:
    """Return what is first along a dimension, which is kept with length 1."""
    return ids.take([0], axis=dimension)


def shape_of(x: Tensor) -> Shape:
    """Return a tensor's shape, as plain numbers."""
    return tuple(x.shape)
