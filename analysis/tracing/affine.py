"""Moves that leave a regular lattice one: nothing needs to be written down for them.

Each rule gets the lattice, the shape of the tensor, the operation's arguments after it and the
shapes of the outputs. It returns the lattice of the output, or those of each output, or None where
it becomes irregular.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from nonlocal_lens.analysis.tracing.label import Affine, Shape
from nonlocal_lens.analysis.tracing.moves import padded, parts, sliced
from nonlocal_lens.analysis.tracing.sources import FRAME, Side

AffineMove = Callable[[Affine, Shape, tuple[Any, ...], Mapping[str, Any], list[Shape]], Any]

AFFINE_MOVES: dict[str, AffineMove] = {}
"""Operation -> how a lattice moves."""


def move(*names: str) -> Callable[[AffineMove], AffineMove]:
    """Return a decorator that makes a function the rule for some operations."""

    def registered(rule: AffineMove) -> AffineMove:
        AFFINE_MOVES.update(dict.fromkeys(names, rule))
        return rule

    return registered


@move("clone", "contiguous", "alias", "detach", "_to_copy", "lift_fresh")
def stay(
    affine: Affine, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: list[Shape]
) -> Affine:
    """Cells that stay where they are."""
    return affine


@move("view", "_unsafe_view", "reshape", "_reshape_alias")
def reshape(
    affine: Affine, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: list[Shape]
) -> Affine | None:
    """Cells in another shape where no dimension is parted or merged that cells lie along."""
    affine = _without_single_cells(affine)
    sides: list[Side | None] = [None] * len(out[0])
    for before, after in parts(shape, out[0]):
        along = [d for d in before if affine.sides[d] is not None]
        if not along:
            continue
        goal = [d for d in after if out[0][d] == shape[along[0]]]
        if len(along) > 1 or len(goal) != 1 or any(shape[d] != 1 for d in before if d != along[0]):
            return None
        sides[goal[0]] = affine.sides[along[0]]
    return replace(affine, sides=tuple(sides))


@move("permute")
def permute(
    affine: Affine, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: list[Shape]
) -> Affine:
    """Dimensions in another order."""
    return replace(affine, sides=tuple(affine.sides[d] for d in args[0]))


@move("transpose")
def transpose(
    affine: Affine, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: list[Shape]
) -> Affine:
    """Two dimensions that change places."""
    sides = list(affine.sides)
    sides[args[0]], sides[args[1]] = sides[args[1]], sides[args[0]]
    return replace(affine, sides=tuple(sides))


@move("expand")
def expand(
    affine: Affine, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: list[Shape]
) -> Affine | None:
    """New dimensions before the others."""
    lead = (None,) * (len(out[0]) - len(shape))
    grown = [d for d, size in enumerate(shape) if out[0][len(lead) + d] != size]
    if any(affine.sides[d] is not None for d in grown):
        return None
    return replace(affine, sides=lead + affine.sides)


@move("unsqueeze")
def unsqueeze(
    affine: Affine, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: list[Shape]
) -> Affine:
    """A new dimension of length 1."""
    at = args[0] % len(out[0])
    return replace(affine, sides=(*affine.sides[:at], None, *affine.sides[at:]))


@move("select")
def select(
    affine: Affine, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: list[Shape]
) -> Affine | None:
    """One element along a dimension, which goes."""
    at, index = args[0] % len(shape), args[1]
    side, index = affine.sides[at], index % shape[at]
    fixed = list(affine.fixed)
    if side is not None:
        if not side.start <= index < side.stop:
            return None
        fixed[side.coordinate] = side.first + side.step * index
        if side.coordinate >= FRAME:
            fixed[side.coordinate + 3] = abs(side.step)
    return Affine(tuple(fixed), affine.sides[:at] + affine.sides[at + 1 :])


@move("slice")
def cut(
    affine: Affine, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: list[Shape]
) -> Affine:
    """A part along one dimension."""
    dimension, start, _, step = sliced(args, kwargs)
    start, length = start or 0, shape[dimension]
    start = min(max(start + length if start < 0 else start, 0), length)
    return _part(affine, dimension % len(shape), start, step, out[0][dimension])


@move("split", "split_with_sizes", "unsafe_split", "chunk", "unsafe_split_with_sizes")
def split(
    affine: Affine, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: list[Shape]
) -> list[Affine]:
    """Parts along one dimension, one after another."""
    dimension = kwargs.get("dim", args[1] if len(args) > 1 else 0) % len(shape)
    result, start = [], 0
    for part in out:
        result.append(_part(affine, dimension, start, 1, part[dimension]))
        start += part[dimension]
    return result


@move("flip")
def flip(
    affine: Affine, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: list[Shape]
) -> Affine:
    """Cells in the opposite order."""
    for dimension in args[0]:
        at = dimension % len(shape)
        affine = _part(affine, at, shape[at] - 1, -1, shape[at])
    return affine


@move("constant_pad_nd")
def pad(
    affine: Affine, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: list[Shape]
) -> Affine | None:
    """Cells with padding around them, or without their border."""
    for dimension, (before, _) in padded(args[0], len(shape)):
        if affine.sides[dimension] is None:
            return None
        affine = _part(affine, dimension, -before, 1, out[0][dimension])
    return affine


def _without_single_cells(affine: Affine) -> Affine:
    """Return the same lattice where the place of an only cell is not that of a dimension."""
    fixed, sides = list(affine.fixed), list(affine.sides)
    for dimension, side in enumerate(sides):
        if side is not None and (side.start, side.stop) == (0, 1) and side.count == 1:
            fixed[side.coordinate] = side.first
            if side.coordinate >= FRAME:
                fixed[side.coordinate + 3] = abs(side.step)
            sides[dimension] = None
    return Affine(tuple(fixed), tuple(sides))


def _part(affine: Affine, dimension: int, start: int, step: int, count: int) -> Affine:
    """Return every `step`-th cell along a dimension, beyond the cells too: there it is padding."""
    side = affine.sides[dimension]
    if side is None:
        return affine
    inside = [i for i in (0, count - 1) if side.start <= start + step * i < side.stop]
    if len(inside) == 2 or (count == 1 and inside):
        first, stop = 0, count
    else:
        at = [i for i in range(count) if side.start <= start + step * i < side.stop]
        first, stop = (at[0], at[-1] + 1) if at else (0, 0)
    moved = Side(
        side.coordinate, side.first + side.step * start, side.step * step, count, first, stop
    )
    sides = (*affine.sides[:dimension], moved, *affine.sides[dimension + 1 :])
    return replace(affine, sides=sides)
