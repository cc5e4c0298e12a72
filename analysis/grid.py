"""Where attention lives on an image: the only place that maps pixel, cell and flat position."""

from dataclasses import dataclass
from math import isfinite
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int


class Cell(NamedTuple):
    """One cell of a grid; rows run down, columns run right, frames run forward."""

    row: int
    col: int
    frame: int = 0


@dataclass(frozen=True)
class Grid:
    """Cells of equal size laid over an image (or over every frame of a clip) from its top left.

    Points are continuous image coordinates: x runs right from 0 to the width, y runs down from 0 to
    the height, and the pixel in column c covers c <= x < c + 1. Positions are flat and row-major:
    frame by frame, row by row. The cells of a sub-sampled grid need not reach the right and the
    bottom edge: pooling 7 cells by 2 leaves 3, and the last column belongs to none.

    Where a network's windows are odd, its features are centered beside the middles of the cells
    that tile the image: all cells then lie `offset` pixels (down, across) from there, up or to the
    left where it is negative. No more pixels come into the grid or go out of it by that: those that
    no moved cell covers belong to the nearest one.
    """

    height: int  # rows
    width: int  # columns
    cell_height: float  # in image pixels
    cell_width: float  # in image pixels
    image_hw: tuple[int, int]  # height and width of the image, in pixels
    frames: int = 1
    offset: tuple[float, float] = (0.0, 0.0)  # down and across, in image pixels

    def __post_init__(self) -> None:
        if min(self.height, self.width, self.frames) < 1:
            raise ValueError(
                "a grid must have at least one cell along every side, got "
                f"(frames, height, width) = ({self.frames}, {self.height}, {self.width})"
            )
        if min(self.cell_height, self.cell_width, *self.image_hw) <= 0:
            raise ValueError(
                "cells and image must have positive sizes, got cells of "
                f"{self.cell_height} x {self.cell_width} on an image of {self.image_hw}"
            )
        if not all(isfinite(shift) for shift in self.offset):
            raise ValueError(f"the offset of cells must be finite, got {self.offset}")

    @classmethod
    def tiling(
        cls,
        image_hw: tuple[int, int],
        height: int,
        width: int,
        *,
        frames: int = 1,
        offset: tuple[float, float] = (0.0, 0.0),
    ) -> "Grid":
        """Return the grid whose cells cover the image without a remainder, before any offset."""
        return cls(
            height,
            width,
            image_hw[0] / max(height, 1),
            image_hw[1] / max(width, 1),
            image_hw,
            frames,
            offset,
        )

    def subsampled(self, height: int, width: int) -> "Grid":
        """Return the grid left by pooling whole windows of these cells; a remainder is dropped."""
        return Grid(
            height,
            width,
            self.cell_height * (self.height // height),
            self.cell_width * (self.width // width),
            self.image_hw,
            self.frames,
            self.offset,
        )

    def sampled(self, height: int, width: int, *, step: float, first: float = 0.0) -> "Grid":
        """Return a grid whose middles lie `step` of these cells apart, so large that they meet.

        The first one lies `first` cells from the first of these, down and across: 0 where every
        `step`-th cell is taken, (step - 1) / 2 where windows of `step` cells are pooled.
        """
        moved = first - (step - 1) / 2
        down, across = self.offset
        return Grid(
            height,
            width,
            self.cell_height * step,
            self.cell_width * step,
            self.image_hw,
            self.frames,
            (down + self.cell_height * moved, across + self.cell_width * moved),
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Frames, rows, columns."""
        return self.frames, self.height, self.width

    @property
    def positions(self) -> int:
        """Number of cells in all frames."""
        return self.frames * self.height * self.width

    def cell_at(self, *, x: float, y: float, frame: int = 0) -> Cell:
        """Return the cell under an image point.

        Raises:
            ValueError: The point lies outside the image, or beyond the last whole cell.
        """
        height, width = self.image_hw
        if not (0 <= x < width and 0 <= y < height):
            raise ValueError(
                f"pixel (x={x}, y={y}) is outside the image: "
                f"x must be in [0, {width}), y in [0, {height})"
            )
        cell = Cell(
            int(self.rows_at(np.array(float(y)))), int(self.columns_at(np.array(float(x)))), frame
        )
        if not self._holds(cell):
            raise ValueError(f"pixel (x={x}, y={y}, frame={frame}) is under no cell of {self}")
        return cell

    def rows_at(self, y: Float[np.ndarray, "*points"]) -> Int[np.ndarray, "*points"]:
        """Return the row of cells under each y of the image; `height` where there is none."""
        return _cells_at(y, self.cell_height, self.height, self.offset[0])

    def columns_at(self, x: Float[np.ndarray, "*points"]) -> Int[np.ndarray, "*points"]:
        """Return the column of cells under each x of the image; `width` where there is none."""
        return _cells_at(x, self.cell_width, self.width, self.offset[1])

    def position(self, cell: Cell) -> int:
        """Return the flat position of a cell."""
        if not self._holds(cell):
            raise ValueError(
                f"{cell} is outside the grid of (frames, rows, columns) = {self.shape}"
            )
        return (cell.frame * self.height + cell.row) * self.width + cell.col

    def cell(self, position: int) -> Cell:
        """Return the cell at a flat position."""
        if not 0 <= position < self.positions:
            raise ValueError(f"position must be in [0, {self.positions}), got {position}")
        rest, col = divmod(position, self.width)
        frame, row = divmod(rest, self.height)
        return Cell(row, col, frame)

    def center(self, cell: Cell) -> tuple[float, float]:
        """Return the image point (x, y) at the middle of a cell."""
        x, y, width, height = self.box(cell)
        return x + width / 2, y + height / 2

    def box(self, cell: Cell) -> tuple[float, float, float, float]:
        """Return left, top, width and height of a cell; an offset moves some beyond the image."""
        down, across = self.offset
        x, y = cell.col * self.cell_width + across, cell.row * self.cell_height + down
        return x, y, self.cell_width, self.cell_height

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom of all cells together."""
        left, top, *_ = self.box(Cell(0, 0))
        return left, top, left + self.width * self.cell_width, top + self.height * self.cell_height

    def _holds(self, cell: Cell) -> bool:
        return (
            0 <= cell.row < self.height
            and 0 <= cell.col < self.width
            and 0 <= cell.frame < self.frames
        )


def _cells_at(
    points: Float[np.ndarray, "*points"], size: float, count: int, offset: float
) -> Int[np.ndarray, "*points"]:
    cell = np.floor((points - offset) / size).clip(0, count - 1)
    return np.where(points < size * count, cell, count).astype(int)
