"""Where the cells of a grid move to from frame to frame: OpenCV's Lucas-Kanade optical flow."""

from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from nonlocal_lens.analysis.grid import Cell, Grid

LONG_SIDE = 640
"""Frames are reduced to this before the flow is found: enough for cells, and fast."""

MOST_ERROR = 1.5
"""A cell is lost if the way there and back ends further from its beginning, in reduced pixels."""

WINDOW = (21, 21)
LEVELS = 4


@dataclass(frozen=True, eq=False)
class CellFlow:
    """How the middle of every cell moves, in image pixels; NaN where it is lost."""

    forward: Float[np.ndarray, "steps rows cols 2"]  # from frame t to t + 1: x, y
    backward: Float[np.ndarray, "steps rows cols 2"]  # from frame t + 1 to t
    grid: Grid

    def follow(self, x: float, y: float, frame: int) -> list[tuple[float, float] | None]:
        """Return where the point (x, y) of a frame is in every frame; None where it is lost.

        A point moves as the middle of its cell does. Once lost, or out of the image, it stays lost.

        Raises:
            ValueError: The point is outside the image, or there is no such frame.
        """
        frames = len(self.forward) + 1
        if not 0 <= frame < frames:
            raise ValueError(f"frame must be in [0, {frames}), got {frame}")
        self.grid.cell_at(x=x, y=y)
        path: list[tuple[float, float] | None] = [None] * frames
        path[frame] = (x, y)
        for at in range(frame, frames - 1):
            path[at + 1] = self._moved(path[at], self.forward[at])
        for at in range(frame, 0, -1):
            path[at - 1] = self._moved(path[at], self.backward[at - 1])
        return path

    def _moved(
        self, point: tuple[float, float] | None, flow: Float[np.ndarray, "rows cols 2"]
    ) -> tuple[float, float] | None:
        if point is None:
            return None
        try:
            cell = self.grid.cell_at(x=point[0], y=point[1])
        except ValueError:
            return None
        x, y = (
            point[0] + float(flow[cell.row, cell.col, 0]),
            point[1] + float(flow[cell.row, cell.col, 1]),
        )
        height, width = self.grid.image_hw
        return (x, y) if 0 <= x < width and 0 <= y < height else None  # NaN is in no range


def cell_flow(frames: UInt8[np.ndarray, "frames height width 3"], grid: Grid) -> CellFlow:
    """Return how the cells of a grid move over the frames of a clip.

    Every step is taken there and back; where the two do not meet, the cell is lost.
    """
    height, width = frames.shape[1:3]
    factor = min(1.0, LONG_SIDE / max(height, width))
    size = max(round(width * factor), 8), max(round(height * factor), 8)
    grays = [cv2.resize(cv2.cvtColor(one, cv2.COLOR_RGB2GRAY), size) for one in frames]
    scale = np.array([width / size[0], height / size[1]], np.float32)
    centers = np.array(
        [grid.center(Cell(row, col)) for row in range(grid.height) for col in range(grid.width)],
        np.float32,
    )
    start = (centers / scale - 0.5).reshape(-1, 1, 2)  # OpenCV counts from the middle of pixels
    shape = (len(frames) - 1, grid.height, grid.width, 2)
    forward = np.empty(shape, np.float32)
    backward = np.empty(shape, np.float32)
    for step, (one, other) in enumerate(pairwise(grays)):
        forward[step] = (_steps(one, other, start) * scale).reshape(shape[1:])
        backward[step] = (_steps(other, one, start) * scale).reshape(shape[1:])
    return CellFlow(forward, backward, grid)


def _steps(
    one: UInt8[np.ndarray, "rows cols"],
    other: UInt8[np.ndarray, "rows cols"],
    start: Float[np.ndarray, "points 1 2"],
) -> Float[np.ndarray, "points 2"]:
    # Without a first guess, which OpenCV's own types do not know of.
    guess: Any = None
    flow = partial(cv2.calcOpticalFlowPyrLK, nextPts=guess, winSize=WINDOW, maxLevel=LEVELS)
    there, found, _ = flow(one, other, start)
    back, returned, _ = flow(other, one, there)
    error = np.linalg.norm(back - start, axis=2)[:, 0]
    step: np.ndarray = (there - start)[:, 0]
    lost = (found[:, 0] == 0) | (returned[:, 0] == 0) | (error > MOST_ERROR)
    step[lost] = np.nan
    return step
