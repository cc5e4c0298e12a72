"""Operations that join tensors element by element: from which source the result comes."""

from collections.abc import Sequence
from itertools import zip_longest

import numpy as np

from nonlocal_lens.analysis.tracing.label import Label, Shape, raised
from nonlocal_lens.analysis.tracing.sources import (
    FRAME,
    INPUT,
    NOTHING,
    PICTURE,
    SIZE,
    Ids,
    Sources,
)

PLACE, UNKNOWN, MIXED, PADDED, NAME, OWN, WEAK, NONE = range(8)
"""Of two sources that are joined the first of these counts.

What is added to a token that has a place leaves it there, even if that itself has none. What is
added to padding makes it no token.
"""

_RANKS = {"unknown": UNKNOWN, "mixed": MIXED, "padding": PADDED, "name": NAME, "weak": WEAK}

Operand = tuple[Label, Shape]


def joined(sources: Sources, operands: Sequence[Operand], dimensions: int, what: str) -> Label:
    """Return the label of what is computed element by element.

    What is the same for all of the other's places, a gate, leaves them their places. Two lattices
    less than a cell apart, as convolution and pooling make them of one input, are met in the
    middle; places that lie farther apart are mixed.

    Args:
        sources: All sources.
        operands: The labels and shapes of all that have one.
        dimensions: How many dimensions the result has.
        what: What joins them, for the refusal.
    """
    (label, shape), *others = operands
    if not others and len(shape) == dimensions:
        return label.lost_ownership()
    label, shape = _lifted(label, shape, dimensions)
    for other, other_shape in others:
        if label.alike(other):
            label = label.lost_ownership()
            continue
        other, other_shape = _lifted(other, other_shape, dimensions)
        label = _joined_two(sources, label, shape, other, other_shape, what)
        shape = tuple(max(pair) for pair in zip(shape, other_shape, strict=True))
    return label


def _joined_two(
    sources: Sources, a: Label, a_shape: Shape, b: Label, b_shape: Shape, what: str
) -> Label:
    a_tracks, b_tracks = a.tracks, b.tracks
    own = a.own and b.own
    if a.own != b.own:  # a token with a parameter, as its position
        main = b if a.own else a
        if main.affine is not None or (main.ids >= 0).all():
            return main
    tracks = [
        first if second is None else second if first is None
        else join(sources, first, a_shape, second, b_shape, what, (a.own, b.own))
        for first, second in zip_longest(a_tracks, b_tracks)
    ]  # fmt: skip
    return Label(sources, written=tuple(tracks), own=own)


def join(
    sources: Sources,
    a: Ids,
    a_shape: Shape,
    b: Ids,
    b_shape: Shape,
    what: str,
    own: tuple[bool, bool] = (False, False),
) -> Ids:
    """Return the sources of what is computed of two tensors, element by element."""
    if a.shape == b.shape and (a is b or np.array_equal(a, b)):
        return a
    a_gates, b_gates = _gates(a, a_shape, b), _gates(b, b_shape, a)
    if a_gates != b_gates:
        gate, rest, gate_own = (a, b, own[0]) if a_gates else (b, a, own[1])
        best = _ranks(sources, rest, own[1] if a_gates else own[0]).min()
        least = _ranks(sources, gate, gate_own).min()
        if best in (PLACE, UNKNOWN, MIXED) or best <= least or (best, least) == (NAME, MIXED):
            return rest
    for main, added in ((a, b), (b, a)):
        if (main >= 0).all() and not sources.kinds(added) & {"place", "padding"}:
            return main
    a, b = np.broadcast_arrays(a, b)
    result = np.where(_ranks(sources, b, own[1]) < _ranks(sources, a, own[0]), b, a)
    both = (a >= 0) & (b >= 0) & (a != b)
    if both.any():
        result[both] = _met(sources, a[both], b[both], what)
    return result


def _gates(gate: Ids, gate_shape: Shape, other: Ids) -> bool:
    """Return whether a tensor is the same all along where the other's sources differ."""
    varies = [d for d, size in enumerate(other.shape) if size > 1]
    lengths = gate_shape if (gate < NOTHING).any() else gate.shape
    return bool(varies) and all(lengths[d] == 1 for d in varies)


def _ranks(sources: Sources, ids: Ids, own: bool) -> Ids:
    """Return how much each source counts."""
    numbers, which = np.unique(np.minimum(ids, 0), return_inverse=True)
    ranks = [_rank_of(sources, int(number), own) for number in numbers]
    return np.array(ranks)[which].reshape(ids.shape)


def _rank_of(sources: Sources, number: int, own: bool) -> int:
    if number >= 0:
        return PLACE
    rank = _RANKS.get(sources.of(number).kind, NONE)
    return OWN if own and rank == NAME else rank


def _met(sources: Sources, a: Ids, b: Ids, what: str) -> Ids:
    """Return the places in the middle of others, or that they are mixed."""
    ours, theirs = sources.rows(a), sources.rows(b)
    size = np.minimum(ours[:, SIZE], theirs[:, SIZE])
    size = np.where(size > 0, size, np.inf)
    apart = np.abs(ours - theirs)
    near = (apart[:, FRAME:5] < size * (1 - 1e-6)).all(1)
    near &= (apart[:, [INPUT, PICTURE]] == 0).all(1)
    same = near & (apart[:, FRAME:5] < 1e-6 * np.minimum(size, 1e9)).all(1)
    result = np.where(same, a, sources.note("mixed", f"{what} joined places apart"))
    between = near & ~same
    if between.any():
        middle = (ours[between] + theirs[between]) / 2
        middle[:, SIZE] = size[between]
        middle[~np.isfinite(middle)] = 0
        result[between] = sources.anyhow(middle) + np.arange(between.sum())
    return result


def _lifted(label: Label, shape: Shape, dimensions: int) -> Operand:
    """Return a label and shape with as many dimensions as are asked for."""
    more = dimensions - len(shape)
    if more <= 0:
        return label, shape
    tracks = tuple(raised(ids, dimensions) for ids in label.tracks)
    return Label(label.sources, written=tracks, own=label.own), (1,) * more + shape
