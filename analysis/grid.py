"""Where attention lives on an image: the only place that maps pixel, cell and flat position."""

from dataclasses import dataclass, replace
from math import floor, inf, isfinite
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
    no moved cell covers belong to the nearest one. Cells that are moved by more than one of them
    lie on a part of the image, and pixels beyond that belong to none.

    Where a network looks at clips, its features may have fewer frames than the clip that it was
    given, and a block may be shown some of these only. Frame k of the cells stands for the frames
    of the clip from `first_frame + k * frame_step` on, `frame_step` of them: `frame_at` and
    `clip_span` tell which. Of a grid whose `frame_step` is None all that is known is that its
    frames share the clip evenly. A block that runs once for each group of frames, as in networks
    for long clips, gives a record for each, and these differ in `first_frame`.
    """

    height: int  # rows
    width: int  # columns
    cell_height: float  # in image pixels
    cell_width: float  # in image pixels
    image_hw: tuple[int, int]  # height and width of the image, in pixels
    frames: int = 1
    offset: tuple[float, float] = (0.0, 0.0)  # down and across, in image pixels
    first_frame: float = 0.0  # where the first frame of cells begins, in frames of the clip
    frame_step: float | None = None  # frames of the clip that each spans; None: an even share of it

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
        if self.frame_step is None:
            if self.first_frame != 0:
                raise ValueError(
                    "frames that share a clip evenly begin with it: first_frame must be 0 where "
                    f"frame_step is None, got {self.first_frame}"
                )
        elif not (isfinite(self.first_frame) and 0 < self.frame_step < inf):
            raise ValueError(
                "frames of cells must begin somewhere and span something, got first_frame "
                f"{self.first_frame} and frame_step {self.frame_step}"
            )

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
        return replace(
            self,
            height=height,
            width=width,
            cell_height=self.cell_height * (self.height // height),
            cell_width=self.cell_width * (self.width // width),
        )

    def sampled(self, height: int, width: int, *, step: float, first: float = 0.0) -> "Grid":
        """Return a grid whose middles lie `step` of these cells apart, so large that they meet.

        The first one lies `first` cells from the first of these, down and across: 0 where every
        `step`-th cell is taken, (step - 1) / 2 where windows of `step` cells are pooled.
        """
        moved = first - (step - 1) / 2
        down, across = self.offset
        return replace(
            self,
            height=height,
            width=width,
            cell_height=self.cell_height * step,
            cell_width=self.cell_width * step,
            offset=(down + self.cell_height * moved, across + self.cell_width * moved),
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

    def frame_at(self, frame: float, clip_frames: int) -> int | None:
        """Return the frame of cells that a frame of the clip belongs to; None where there is none.

        What lies between the clip's ends and the cells there, if no wider than half a `frame_step`,
        belongs to these: networks that skip frames leave such gaps.

        Args:
            frame: Counted from 0, as the network was given them.
            clip_frames: How many frames the network was given.
        """
        start, step = self._timing(clip_frames)
        index = floor((frame + 0.5 - start) / step)  # of the middle of the frame
        if index < 0 and start <= step / 2:
            return 0
        if index >= self.frames and clip_frames - (start + self.frames * step) <= step / 2:
            return self.frames - 1
        return index if 0 <= index < self.frames else None

    def clip_span(self, frame: int, clip_frames: int) -> tuple[float, float]:
        """Return where a frame of cells begins and ends, in frames of the clip from its beginning.

        Args:
            frame: A frame of cells.
            clip_frames: How many frames the network was given.
        """
        start, step = self._timing(clip_frames)
        return start + frame * step, start + (frame + 1) * step

    def _timing(self, clip_frames: int) -> tuple[float, float]:
        if self.frame_step is None:
            return 0.0, clip_frames / self.frames
        return self.first_frame, self.frame_step

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
    cell = np.floor((points - offset) / size)
    there = points < size * count
    if abs(offset) >= size:  # a part of the image: what is beside it belongs to no cell
        there = (cell >= 0) & (cell < count)
    return np.where(there, cell.clip(0, count - 1), count).astype(int)
