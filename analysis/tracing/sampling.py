"""Where cells lie that windows make of finer or coarser ones: convolution, pooling, resizing."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from nonlocal_lens.analysis.tracing.label import Affine, Label, Shape, written
from nonlocal_lens.analysis.tracing.regions import gathered
from nonlocal_lens.analysis.tracing.sources import PADDING, PICTURE, SIZE, Ids, Side, Sources

Middles = Float[np.ndarray, "_"]
"""Where the middles of new cells lie along a dimension, in the old ones: 0 in the first's."""


def along_windows(
    count: int, *, kernel: int, stride: int, padding: int = 0, dilation: int = 1
) -> Middles:
    """Return the middles of windows."""
    return np.arange(count) * stride - padding + dilation * (kernel - 1) / 2


def along_transposed(
    count: int, *, kernel: int, stride: int, padding: int = 0, dilation: int = 1
) -> Middles:
    """Return the middles of the cells that are seen by those of a transposed convolution."""
    return (np.arange(count) + padding - dilation * (kernel - 1) / 2) / stride


def along_bins(count: int, size: int) -> Middles:
    """Return the middles of the bins that adaptive pooling parts cells into."""
    bins = np.arange(count)
    first, last = bins * size // count, -(-(bins + 1) * size // count)
    return (first + last - 1) / 2


def along_resized(
    count: int, size: int, *, align_corners: bool = False, scale: float | None = None
) -> Middles:
    """Return where resizing samples cells."""
    at = np.arange(count)
    if align_corners:
        return at * ((size - 1) / max(count - 1, 1))
    return (at + 0.5) * (1 / scale if scale else size / count) - 0.5


def resampled(
    sources: Sources, label: Label, shape: Shape, middles: Sequence[Middles], what: str
) -> Label:
    """Return the label of cells that lie at given middles of others, along the last dimensions.

    Args:
        sources: All sources.
        label: That of the cells.
        shape: The tensor's, (..., channels, *cells).
        middles: Along each of the last dimensions.
        what: What samples them, for the refusal.
    """
    spatial = range(len(shape) - len(middles), len(shape))
    affine = label.affine
    if affine is None and len(label.tracks) == 1:
        affine = recognized(sources, label.ids, shape)
    if affine is not None and _untouched(shape, middles):
        return label
    if affine is not None:
        sides = list(affine.sides)
        regular = [_regular(m) for m in middles]
        if all(regular) and all(sides[d] is not None for d in spatial):
            for d, middle in zip(spatial, middles, strict=True):
                side = sides[d]
                assert side is not None
                step = middle[1] - middle[0] if len(middle) > 1 else _only_step(middle, shape[d])
                sides[d] = side.sampled(float(middle[0]), float(step), len(middle))
            return Label(sources, affine=replace(affine, sides=tuple(sides)))
    tracks = [_resampled(sources, ids, shape, spatial, middles, what) for ids in label.tracks]
    return written(sources, *tracks)


def recognized(sources: Sources, ids: Ids, shape: Shape) -> Affine | None:
    """Return the regular lattice that written numbers are of, with padding around it; or None."""
    placed = ids >= 0
    if not placed.any():
        return None
    box = [np.flatnonzero(placed.any(tuple(o for o in range(ids.ndim) if o != d)))
           for d in range(ids.ndim)]  # fmt: skip
    ends = [(int(at[0]), int(at[-1])) for at in box]
    inside = ids[tuple(slice(start, last + 1) for start, last in ends)]
    first = inside[(0,) * ids.ndim]
    expected = np.full((1,) * ids.ndim, first)
    corners, steps = [first], []
    for d, length in enumerate(inside.shape):
        if length == 1:
            if ids.shape[d] > 1:
                return None  # how far its cells lie apart, one of them does not tell
            continue
        along = [1] * ids.ndim
        along[d] = -1
        line = inside[tuple(slice(None) if o == d else 0 for o in range(ids.ndim))]
        expected = expected + (np.arange(length) * (line[1] - line[0])).reshape(along)
        corners += [line[1], line[-1]]
        steps.append((d, length))
    if not np.array_equal(np.broadcast_to(expected, inside.shape), inside):
        return None
    rows = sources.rows(np.array(corners))
    sides: list[Side | None] = [None] * ids.ndim
    for i, (d, length) in enumerate(steps):
        step, reach = rows[1 + 2 * i] - rows[0], rows[2 + 2 * i] - rows[0]
        (changed,) = np.nonzero(step[:5]) if np.count_nonzero(step[:5]) == 1 else (np.array([0]),)
        coordinate = int(changed[0])
        if coordinate < PICTURE or not np.allclose(step * (length - 1), reach):
            return None
        start, last = ends[d]
        origin = rows[0, coordinate] - step[coordinate] * start
        sides[d] = Side(coordinate, origin, step[coordinate], ids.shape[d], start, last + 1)
    if len({side.coordinate for side in sides if side}) < len(steps):
        return None
    outside = np.ones(ids.shape, dtype=bool)
    outside[tuple(slice(start, last + 1) for start, last in ends)] = False
    if not sources.kinds(ids[outside]) <= {"padding", "nothing"}:
        return None
    return Affine(tuple(float(x) for x in rows[0]), tuple(sides))


def _untouched(shape: Shape, middles: Sequence[Middles]) -> bool:
    sizes = shape[len(shape) - len(middles) :]
    return all(
        len(middle) == size and np.array_equal(middle, np.arange(size))
        for middle, size in zip(middles, sizes, strict=True)
    )


def _regular(middles: Middles) -> bool:
    return len(middles) < 3 or bool(np.allclose(np.diff(middles), middles[1] - middles[0]))


def _only_step(middle: Middles, size: int) -> float:
    """Return how large an only cell is: as large as all those that it is made of."""
    return float(size) if abs(middle[0] - (size - 1) / 2) < 1e-6 else 1.0


def _resampled(
    sources: Sources,
    ids: Ids,
    shape: Shape,
    spatial: range,
    middles: Sequence[Middles],
    what: str,
) -> Ids:
    """Return the sources of new cells where the old ones lie evenly, in whatever direction."""
    full = [shape[d] if d in spatial else ids.shape[d] for d in range(ids.ndim)]
    if all(ids.shape[d] == 1 for d in spatial):
        return ids
    ids = np.broadcast_to(ids, full)
    rows = sources.rows(ids)
    steps = [_step(rows, d, spatial) for d in spatial]
    expected = np.zeros((1,) * rows.ndim)
    result = np.zeros((1,) * rows.ndim)
    for d, step, middle in zip(spatial, steps, middles, strict=True):
        along = [1] * rows.ndim
        along[d] = -1
        expected = expected + np.arange(full[d]).reshape(along) * step
        result = result + middle.reshape(along) * step
    first = _first_known(rows - expected, spatial)
    far = np.abs(first + expected - rows)[..., :5] > 1e-4
    even = ~far.any(-1).any(tuple(spatial), keepdims=True) & np.isfinite(first[..., 0])
    result = first + result
    for d, step, middle in zip(spatial, steps, middles, strict=True):  # cells grow with steps
        growth = np.abs(np.diff(middle)).mean() if len(middle) > 1 else _only_step(middle, full[d])
        moving = np.abs(step[..., 2:5]) > 0
        result[..., SIZE] = np.where(moving, result[..., SIZE] * growth, result[..., SIZE])
    kept = np.broadcast_to(even, result.shape[:-1]).copy()
    numbers = np.full(kept.shape, sources.note("mixed", f"{what} mixed places that lie unevenly"))
    nearest = ids
    for d, middle in zip(spatial, middles, strict=True):
        nearest = nearest.take(np.rint(middle).astype(int).clip(0, full[d] - 1), axis=d)
    for number in np.unique(ids[ids < 0]):  # what was no place before is none now
        all_of_it = (ids == number).all(tuple(spatial), keepdims=True)
        gone = np.broadcast_to(all_of_it, kept.shape) | ((nearest == number) & (number == PADDING))
        numbers[gone] = number
        kept &= ~gone
    if kept.any():
        numbers[kept] = sources.anyhow(result[kept]) + np.arange(kept.sum())
    return numbers


Rows = Float[np.ndarray, "... 8"]


def _step(rows: Rows, dimension: int, spatial: range) -> Rows:
    """Return how far cells lie apart along a dimension, for each of the others before them."""
    if rows.shape[dimension] == 1:
        return _sole_step(_first_known(rows, spatial), dimension, spatial)
    known = _first_known(np.diff(rows, axis=dimension), spatial)
    flat = known.reshape(-1, 8)
    finite = np.flatnonzero(np.isfinite(flat[:, 0]))
    if not finite.size:
        return _sole_step(_first_known(rows, spatial), dimension, spatial)
    step = np.where(np.isfinite(known), known, flat[finite[0]])
    step[..., SIZE] = 0
    return step


def _first_known(rows: Rows, spatial: range) -> Rows:
    """Return the first cell that is a place, over some dimensions, which are kept."""
    lead = rows.shape[: spatial.start]
    flat = rows.reshape(*lead, -1, 8)
    at = np.isfinite(flat[..., 0]).argmax(-1)
    chosen = np.take_along_axis(flat, at[..., None, None], -2)
    return chosen.reshape(*lead, *(1 for _ in spatial), 8)


def _sole_step(first: Rows, dimension: int, spatial: range) -> Rows:
    """Return the step to where the next cell would be, were there one along the last dimensions."""
    step = np.zeros_like(first)
    from_last = spatial.stop - 1 - dimension  # 0 along columns, 1 along rows, 2 along frames
    step[..., 4 - from_last] = first[..., 7 - from_last]
    return step


def convolution(
    sources: Sources,
    label: Label,
    shape: Shape,
    out: Shape,
    *,
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    transposed: bool,
    what: str,
) -> Label:
    """Return the label of a convolution's output, (..., channels, *cells)."""
    if len(shape) == len(out) and len(kernel) + 1 <= len(shape):
        label = over_channels(sources, label, shape, len(kernel), what)
    if all(size == 1 for size in (*kernel, *stride)) and not any(padding):
        return label
    middle = along_transposed if transposed else along_windows
    middles = [
        middle(
            out[len(out) - len(kernel) + i],
            kernel=kernel[i],
            stride=stride[i],
            padding=padding[i],
            dilation=dilation[i],
        )
        for i in range(len(kernel))
    ]
    return resampled(sources, label, shape, middles, what)


def over_channels(sources: Sources, label: Label, shape: Shape, spatial: int, what: str) -> Label:
    """Return the label of what sums over channels, before any windows."""
    channels = len(shape) - spatial - 1
    if label.affine is not None and label.affine.sides[channels] is None:
        return label
    if all(ids.shape[channels] == 1 for ids in label.tracks):
        return label
    tracks = [gathered(sources, ids, [channels], shape, what, alone=True) for ids in label.tracks]
    return written(sources, *tracks)
