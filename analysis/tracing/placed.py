"""Where the tokens along one side of an attention matrix lie, or why that is unknown."""

from dataclasses import dataclass, replace
from weakref import WeakKeyDictionary

import numpy as np
from jaxtyping import Bool, Float, Int

from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.analysis.grid import Grid
from nonlocal_lens.analysis.tracing.sources import FRAME, INPUT, PADDING, PICTURE, Ids, Sources

Size = tuple[int, int]  # height and width


class UnplacedError(ValueError):
    """Where tokens lie cannot be told; the sentence says why."""


@dataclass(frozen=True, eq=False)
class Placed:
    """The tokens of one side, put in order.

    Attributes:
        axis: Where they lie, in input pixels, and what the others are called.
        order: Token i of the axis is token order[i] of the network's.
        source: Which input, and which picture of its batch, the places are of; None without places.
    """

    axis: Axis
    order: Int[np.ndarray, " tokens"]
    source: tuple[int, int] | None


def place(sources: Sources, ids: Ids, input_hw: Size, *, frames: int | None = None) -> Placed:
    """Return where tokens lie of which the sources are given.

    Args:
        sources: All sources.
        ids: The number of each token's source, in the network's order. Those of padding must have
            been left out.
        input_hw: Height and width of the picture that the places are of, in pixels.
        frames: How many frames the clip has; None for a picture.

    Raises:
        UnplacedError: A token's source is mixed or unknown, tokens are of several pictures, several
            have one place, or their places are not those of a lattice.
    """
    known = _KNOWN.setdefault(sources, {})  # all heads of a block ask, and most blocks
    asked = (ids.tobytes(), input_hw, frames)
    if asked not in known:
        known[asked] = _place(sources, ids, input_hw, frames)
    return known[asked]


_KNOWN: WeakKeyDictionary[Sources, dict[tuple[bytes, Size, int | None], Placed]] = (
    WeakKeyDictionary()
)


def _place(sources: Sources, ids: Ids, input_hw: Size, frames: int | None) -> Placed:
    refuse_unknown(sources, ids)
    placed = np.flatnonzero(ids >= 0)
    named = np.flatnonzero(ids < 0)
    names = _unique([sources.of(int(ids[i])).text or "no source" for i in named])
    if not placed.size and all(sources.of(int(i)).kind == "nothing" for i in np.unique(ids)):
        raise UnplacedError("where its tokens lie is unknown: they come from no input")
    if not placed.size:
        return Placed(Axis(None, None, names), named, None)
    rows = sources.rows(ids[placed])
    source = rows[0, [INPUT, PICTURE]]
    if (rows[:, [INPUT, PICTURE]] != source).any():
        raise UnplacedError("its tokens lie on several pictures")
    grid, cells = _lattice(sources, ids[placed], rows, input_hw, frames)
    order = np.argsort(cells, kind="stable")
    cells = cells[order]
    if (np.diff(cells) == 0).any():
        raise UnplacedError("several of its tokens have the same place")
    whole = len(cells) == grid.positions
    return Placed(
        Axis(grid, None if whole else cells, names),
        np.concatenate([placed[order], named]),
        (int(source[0]), int(source[1])),
    )


def refuse_unknown(sources: Sources, ids: Ids) -> None:
    """Raise UnplacedError if the source of a token is mixed or unknown."""
    for number in np.unique(ids[ids < 0]):
        note = sources.of(int(number))
        if note.kind in ("mixed", "unknown"):
            raise UnplacedError(f"where its tokens lie is {note.kind}: {note.text}")


def is_padding(ids: Ids) -> Bool[np.ndarray, "..."]:
    """Return which sources are padding: cells beyond the picture."""
    padded: Bool[np.ndarray, ...] = np.equal(ids, PADDING)
    return padded


def scaled(axis: Axis, input_hw: Size, image_hw: Size) -> Axis:
    """Return an axis in pixels of the image of which the input was made by resizing."""
    grid = axis.grid
    if grid is None or input_hw == image_hw:
        return axis
    down, across = (image / side for image, side in zip(image_hw, input_hw, strict=True))
    moved = replace(
        grid,
        cell_height=grid.cell_height * down,
        cell_width=grid.cell_width * across,
        image_hw=image_hw,
        offset=(grid.offset[0] * down, grid.offset[1] * across),
    )
    return replace(axis, grid=moved)


def _unique(names: list[str]) -> tuple[str, ...]:
    """Return names of which those that occur several times are counted."""
    seen: dict[str, int] = {}
    result = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        result.append(name if names.count(name) == 1 else f"{name} {seen[name]}")
    return tuple(result)


def _lattice(
    sources: Sources,
    ids: Ids,
    rows: Float[np.ndarray, "token 8"],
    input_hw: Size,
    frames: int | None,
) -> tuple[Grid, Int[np.ndarray, " token"]]:
    """Return the smallest lattice that has a cell for each place, and which that is."""
    sides = [_side(rows[:, c], rows[:, c + 3]) for c in range(FRAME, 5)]
    counts = [count for _, _, count, _ in sides]
    if np.prod(counts) != len(ids):  # not all are there: of which lattice are they?
        bounds = sources.bounds(ids)
        sides = [_side(rows[:, c], rows[:, c + 3], bounds[:, c]) for c in range(FRAME, 5)]
        counts = [count for _, _, count, _ in sides]
    cells = np.ravel_multi_index([at for *_, at in sides], counts)
    (first_t, step_t, count_t, _), (first_y, step_y, count_y, _), (first_x, step_x, count_x, _) = (
        sides
    )
    spans_clip = frames is None or (
        abs(first_t - step_t / 2) < 1e-6 and abs(step_t * count_t - frames) < 1e-6
    )
    grid = Grid(
        height=count_y,
        width=count_x,
        cell_height=step_y,
        cell_width=step_x,
        image_hw=input_hw,
        frames=count_t,
        offset=(_rounded(first_y - step_y / 2), _rounded(first_x - step_x / 2)),
        **({} if spans_clip else {"first_frame": first_t - step_t / 2, "frame_step": step_t}),
    )
    return grid, cells


def _side(
    middles: Float[np.ndarray, " token"],
    sizes: Float[np.ndarray, " token"],
    bounds: Float[np.ndarray, " two"] | None = None,
) -> tuple[float, float, int, Int[np.ndarray, " token"]]:
    """Return first middle, step and number of cells along one side, and which each token is."""
    values = np.unique(np.round(middles, 6))
    size = float(np.median(sizes))
    steps = np.diff(values)
    step = size
    if steps.size and (bounds is None or not size or np.ptp(steps) < 1e-4 * steps.min()):
        step = float(np.mean(steps)) if np.ptp(steps) < 1e-4 * steps.min() else size
    first, last = (values[0], values[-1]) if bounds is None else bounds
    at = (middles - first) / step if step > 0 else np.zeros_like(middles)
    if np.abs(at - np.rint(at)).max(initial=0) > 1e-3:
        raise UnplacedError("its tokens do not lie on a lattice of evenly spaced cells")
    count = round((last - first) / step) + 1 if step > 0 else 1
    whole = np.rint(at).astype(int)
    if whole.min() < 0 or whole.max() >= count:
        raise UnplacedError("its tokens do not lie on a lattice of evenly spaced cells")
    return float(first), float(step), count, whole


def _rounded(value: float) -> float:
    """Return a number without the rounding of sums: 0 rather than 1e-13."""
    return float(np.round(value, 9)) + 0.0
