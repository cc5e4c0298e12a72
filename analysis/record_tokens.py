"""Which tokens the rows of somebody's tensors are: from the fields of a record file to axes."""

from collections.abc import Mapping
from math import isqrt
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.analysis.grid import Grid
from nonlocal_lens.models.limits import LONGEST_NAME, MOST_PIXELS, MOST_POSITIONS, shortened

GRAY_CELL = 16  # pixels of a cell where there is no image

Size = tuple[int, int]  # height and width, or rows and columns


class Side(NamedTuple):
    """The tokens of one side, put in order: places first."""

    order: Int[Tensor, " tokens"]  # token i of the axis is row order[i] of the file's
    names: tuple[str, ...]

    @property
    def placed(self) -> int:
        """How many are places."""
        return len(self.order) - len(self.names)


def side_of(fields: Mapping[str, Any], side: str, count: int, is_grid: bool) -> Side:
    """Return which of the tokens of one side are places, and what the others are called.

    Args:
        fields: Of the file.
        side: "query" or "key".
        count: How many tokens there are.
        is_grid: Whether their tensor has rows and columns: then all are places.

    Raises:
        ValueError: The names do not fit; the sentence names the field.
    """
    field = f"{side}_names"
    names = _names(fields.get(field), field)
    if not names:
        return Side(torch.arange(count), ())
    if is_grid:
        raise ValueError(
            f"field {field!r} must not be given where {side!r} has rows and columns: "
            "all its positions are places"
        )
    if len(names) > count:
        raise ValueError(
            f"field {field!r} must have at most {count} names, one for each of the tokens, "
            f"got {len(names)}"
        )
    every = np.array([""] * (count - len(names)) + names if len(names) < count else names)
    if len(names) < count and "" in names:
        raise ValueError(f"field {field!r} must have {count} names where some are empty")
    called = every[every != ""].tolist()
    if len(set(called)) < len(called):
        raise ValueError(f"field {field!r} must have each name once, got {', '.join(called)[:80]}")
    order = np.argsort(every != "", kind="stable")
    return Side(torch.from_numpy(order), tuple(called))


def axes_of(
    fields: Mapping[str, Any],
    sides: Mapping[str, Side],
    shapes: Mapping[str, tuple[int, ...] | None],
    image_hw: Size | None,
) -> dict[str, Axis]:
    """Return where the tokens of both sides lie.

    Args:
        fields: Of the file.
        sides: "query" and "key": see `side_of`.
        shapes: Rows and columns of their tensors, None where they have none.
        image_hw: Height and width of the image, None where there is none.

    Raises:
        ValueError: A grid or its cells do not fit; the sentence names the field.
    """
    axes: dict[str, Axis] = {}
    like: Size | None = None
    for side, tokens in sides.items():
        cells = _cells(fields.get(f"{side}_cells"), f"{side}_cells", tokens.placed)
        if not tokens.placed:
            axes[side] = Axis(None, None, tokens.names)
            continue
        if cells is not None:
            grid_hw = _given_hw(fields, side)
            if grid_hw is None:
                raise ValueError(
                    f"field '{side}_grid' is missing: '{side}_cells' are those of a grid"
                )
        else:
            grid_hw = _grid_hw(fields, side, tokens.placed, shapes[side], image_hw, like)
        like = like or grid_hw
        image_hw = image_hw or _gray_hw(grid_hw)
        try:
            axes[side] = Axis(Grid.tiling(image_hw, *grid_hw), cells, tokens.names)
        except ValueError as error:
            raise ValueError(f"field '{side}_cells': {error}") from error
    return axes


def _names(value: Any, field: str) -> list[str]:
    if value is None:
        return []
    if isinstance(value, str):
        return [name.strip() for name in value.split(",")]
    given = np.asarray(value)
    if given.dtype.kind != "U" or given.ndim != 1:
        raise ValueError(f"field {field!r} must hold names, got {given.dtype}")
    return [shortened(name.strip(), LONGEST_NAME) for name in given.tolist()]


def _cells(value: Any, field: str, placed: int) -> Int[np.ndarray, " placed"] | None:
    if value is None:
        return None
    cells = np.asarray(value)
    if cells.dtype.kind not in "iu" or cells.shape != (placed,):
        raise ValueError(
            f"field {field!r} must hold an integer for each of the {placed} places, "
            f"got {cells.dtype} of shape {cells.shape}"
        )
    return cells.astype(np.int64)


def _given_hw(fields: Mapping[str, Any], side: str) -> Size | None:
    """Return rows and columns as they are given."""
    name = f"{side}_grid"
    given = fields.get(name)
    if given is None:
        return None
    try:
        if isinstance(given, str):
            given = given.replace("x", " ").replace(",", " ").split()
        rows, columns = (int(number) for number in np.asarray(given).ravel())
    except (TypeError, ValueError) as error:
        raise ValueError(f"field {name!r} must be rows, columns, got {given!r}") from error
    if rows < 1 or columns < 1 or rows * columns > MOST_POSITIONS:
        raise ValueError(
            f"field {name!r} must have at least one cell and at most {MOST_POSITIONS}, "
            f"got {rows} x {columns}"
        )
    return rows, columns


def _grid_hw(
    fields: Mapping[str, Any],
    side: str,
    positions: int,
    shape: tuple[int, ...] | None,
    image_hw: tuple[int, int] | None,
    like: tuple[int, int] | None = None,
) -> tuple[int, int]:
    """Return rows and columns: as given, as the tensor's shape says, or as the image suggests."""
    name = f"{side}_grid"
    given = _given_hw(fields, side)
    if given is not None:
        if given[0] * given[1] != positions:
            raise ValueError(
                f"field {name!r} must have as many cells as {side!r} has positions, {positions}, "
                f"got {given[0]} x {given[1]}"
            )
        return given
    if shape is not None:
        return shape[0], shape[1]
    if like is not None and like[0] * like[1] == positions:
        return like
    aspect = 1.0 if image_hw is None else image_hw[0] / image_hw[1]
    fitting = [
        (rows, positions // rows)
        for small in range(1, isqrt(positions) + 1)
        if positions % small == 0
        for rows in dict.fromkeys((small, positions // small))
        if abs(np.log(rows / (positions // rows) / aspect)) < 0.2
    ]
    if not fitting:
        hint = "a square" if image_hw is None else f"an image of {image_hw[0]} x {image_hw[1]}"
        raise ValueError(
            f"field {name!r} is missing: {positions} positions do not fill {hint}; "
            f"give rows, columns, or name the tokens that are no places ('{side}_names')"
        )
    return min(fitting, key=lambda hw: abs(np.log(hw[0] / hw[1] / aspect)))


def _gray_hw(grid_hw: tuple[int, int]) -> tuple[int, int]:
    """Return the size of the gray picture under a grid: so many pixels a cell as can be shown."""
    rows, columns = grid_hw
    cell = max(1, min(GRAY_CELL, isqrt(MOST_PIXELS // (rows * columns))))
    return rows * cell, columns * cell
