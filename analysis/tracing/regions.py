"""What sums over sources gathers: the middle of a patch, or places that are mixed."""

from collections.abc import Sequence

import numpy as np

from nonlocal_lens.analysis.tracing.label import alike_along
from nonlocal_lens.analysis.tracing.sources import (
    FRAME,
    INPUT,
    PADDING,
    PICTURE,
    SIZE,
    Ids,
    Sources,
)


def gathered(
    sources: Sources,
    ids: Ids,
    dimensions: Sequence[int],
    shape: Sequence[int],
    what: str,
    *,
    alone: bool = False,
) -> Ids:
    """Return the sources of sums over some dimensions, which are kept with length 1.

    A sum over places is a place where it is a patch of them, a filled box, and each sum has a patch
    of its own, all alike: as pooling gathers them, and patches flattened into channels. Its place
    is the middle. All else is mixed.

    Args:
        sources: All sources.
        ids: The numbers of the sources, broadcast.
        dimensions: Those summed over.
        shape: The tensor's.
        what: What sums, for the refusal.
        alone: Whether a patch may be all that there is.
    """
    dimensions = tuple(d % ids.ndim for d in dimensions)
    over = [d for d in dimensions if ids.shape[d] > 1 and not alike_along(ids, d)]
    for d in set(dimensions) - set(over):
        ids = ids.take([0], axis=d)
    if not over:
        return ids
    kept = [d for d in range(ids.ndim) if d not in over]
    sets = ids.transpose(*kept, *over).reshape(*(ids.shape[d] for d in kept), -1)
    many = sets.reshape(-1, sets.shape[-1])
    result = _middles(sources, many, what)
    # All that there is of a picture has no place, unless it is one patch that is the only one.
    rows = np.prod([shape[d] for d in kept if d not in dimensions] or [1])
    if not (alone and rows == 1):
        result = _without_wholes(sources, result, what)
    full = [1 if d in over else ids.shape[d] for d in range(ids.ndim)]
    return result.reshape(full)


def _middles(sources: Sources, sets: Ids, what: str) -> Ids:
    """Return the middle of each row of places, or why it has none."""
    mixed = sources.note("mixed", f"{what} mixed places that are no patch")
    anew = np.ones(sets.shape[1], dtype=bool)  # channels that come from where those before them do
    anew[1:] = (sets[:, 1:] != sets[:, :-1]).any(axis=0)
    sets = sets[:, anew]
    shifted = _shifted(sources, sets, mixed)
    if shifted is not None:
        return shifted
    result = np.full(len(sets), mixed)
    alike = (sets == sets[:, :1]).all(1)
    result[alike] = sets[alike, 0]
    placed = (sets >= 0).any(1)
    for row in np.flatnonzero(~placed & ~alike):
        result[row] = _name(sources, sets[row], mixed)
    # What is gathered beside places, the same for all or positions, leaves them their place.
    highest = sets.max(1)
    lone = placed & ~alike & ((sets == highest[:, None]) | ((sets < 0) & (sets != PADDING))).all(1)
    result[lone] = highest[lone]
    rest = placed & ~alike & ~lone
    if rest.any():
        result[rest] = _patches(sources, sets[rest], mixed)
    return result


def _shifted(sources: Sources, sets: Ids, mixed: int) -> Ids | None:
    """Return the middles of patches that are one patch moved about on one lattice, or None.

    Then the numbers of places are moved alike, and all is told by the first patch and, since a row
    of the lattice ends somewhere, by the outermost places of the others.
    """
    step = sets[:, :1] - sets[0, 0]
    if len(sets) < 2 or sets.min() < 0 or not np.array_equal(sets[0] + step, sets):
        return None
    if not sources.on_one_lattice(sets):
        return None
    first = sources.rows(sets[0])[:, :5]
    outermost = np.unique([*first.argmin(0), *first.argmax(0)])
    middle = _patches(sources, sets[:1], mixed)
    if middle[0] < 0:
        return None
    rows = sources.rows(sets[:, outermost])
    moved = rows[:, :, :5] - first[outermost]
    if not np.allclose(moved, moved[:, :1], atol=1e-6):
        return None
    places = np.tile(sources.rows(middle), (len(sets), 1))
    places[:, :5] += moved[:, 0]
    return sources.anyhow(places) + np.arange(len(sets))


def _patches(sources: Sources, sets: Ids, mixed: int) -> Ids:
    """Return the middle of each row of places that is a patch; all patches must be alike."""
    rows = sources.rows(sets)
    low, high = np.nanmin(rows, 1), np.nanmax(rows, 1)
    size = np.where(high[:, SIZE] > 0, high[:, SIZE], 1)
    counts = np.rint((high - low)[:, FRAME:5] / size) + 1
    ordered = np.sort(sets, axis=1)
    distinct = ((np.diff(ordered, axis=1) > 0) & (ordered[:, 1:] >= 0)).sum(1)
    distinct += ordered[:, 0] >= 0
    finest = np.where(low[:, SIZE] > 0, low[:, SIZE], np.inf)
    near = ((high - low)[:, FRAME:5] < finest * (1 - 1e-6)).all(1)  # lattices within one cell
    near &= (low[:, [INPUT, PICTURE]] == high[:, [INPUT, PICTURE]]).all(1)
    whole = (sets != PADDING).all(1)
    box = whole & (distinct == counts.prod(1))
    box &= (low[:, [INPUT, PICTURE]] == high[:, [INPUT, PICTURE]]).all(1)
    middle = (low + high) / 2
    middle[:, SIZE] = np.where(high[:, SIZE] > 0, high[:, SIZE] * counts, 0)
    middle[near, SIZE] = low[near, SIZE]
    box &= ~near
    if box.any():
        like = int(np.flatnonzero(box)[0])
        box &= (counts == counts[like]).all(1)
        offset = rows[like, :, :5] - middle[like, :5]
        for row in np.flatnonzero(~whole):  # patches that lie partly on padding
            seen = sets[row] >= 0
            middles = rows[row, seen, :5] - offset[seen]
            if np.allclose(middles, middles[0], atol=1e-6):
                middle[row, :5], middle[row, SIZE] = middles[0], middle[like, SIZE]
                box[row] = True
    numbers = np.full(len(sets), mixed)
    box |= near
    if box.any():
        numbers[box] = sources.anyhow(middle[box]) + np.arange(box.sum())
    return numbers


def _without_wholes(sources: Sources, numbers: Ids, what: str) -> Ids:
    """Return sources of sums, those mixed that are the only ones of their picture."""
    placed = np.flatnonzero(numbers >= 0)
    rows = sources.rows(numbers[placed])[:, :5]
    result = numbers.copy()
    pictures = rows[:, [INPUT, PICTURE]]
    for picture in np.unique(pictures, axis=0):
        of_picture = (pictures == picture).all(1)
        if np.ptp(rows[of_picture], axis=0).max(initial=0) == 0:
            result[placed[of_picture]] = sources.note("mixed", f"{what} mixed all places")
    return result


def _name(sources: Sources, row: Ids, mixed: int) -> int:
    """Return what is known of a sum of sources of which none is a place."""
    notes = [(int(number), sources.of(int(number))) for number in np.unique(row)]
    for kind in ("unknown", "mixed"):
        for number, note in notes:
            if note.kind == kind:
                return number
    for kind in ("name", "weak", "padding", "nothing"):
        numbers = [number for number, note in notes if note.kind == kind]
        if numbers:
            return numbers[0] if len(numbers) == 1 else mixed
    return mixed
