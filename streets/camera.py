"""Street coordinates and the camera that looks along them.

A point of a street is (x, y, s): meters to the right of the road's center line, meters above the
road, and meters along the street. A bend or a rise of the street is part of the camera: it sees
the point at depth z displaced by z² / 2 times the curvature, so everything that stands in a street
is laid out as if the street were straight and level.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

NEAR = 0.5
"""Depth in meters in front of which nothing is drawn."""

FAR = 95.0
"""Depth in meters at which the street ends in a backdrop."""


class Ground(NamedTuple):
    """The ground under each pixel of the rows from `top` down."""

    top: int
    x: Float[np.ndarray, "rows width"]
    depth: Float[np.ndarray, "rows 1"]


@dataclass(frozen=True)
class Camera:
    """A camera in a car: level, slightly turned, with a shifted horizon in place of a pitch."""

    size_hw: tuple[int, int]
    focal: float  # pixels
    horizon: float  # row, in pixels, where depth is infinite on a level street
    height: float  # meters above the road
    x: float
    s: float = 0.0
    yaw: float = 0.0  # tangent of the angle by which the street runs off to the right
    bend: float = 0.0  # 1 / m; positive bends to the right
    rise: float = 0.0  # 1 / m; positive climbs
    bonnet: float = 0.0  # share of the height that the own car's bonnet hides

    def depth(self, points: Float[np.ndarray, "*shape 3"]) -> Float[np.ndarray, "*shape"]:
        """Return how far in front of the camera points lie, in meters."""
        return points[..., 2] - self.s

    def project(self, points: Float[np.ndarray, "*shape 3"]) -> Float[np.ndarray, "*shape 2"]:
        """Return where points appear as (x, y) in pixels; (0, 0) is the image's upper left corner.

        What lies nearer than `NEAR` is moved there along the street, which clips exactly whatever
        runs parallel to it.
        """
        z = np.maximum(points[..., 2] - self.s, NEAR)
        pixels = np.empty((*points.shape[:-1], 2))
        sideways = (points[..., 0] - self.x) / z + self.bend / 2 * z
        pixels[..., 0] = self.focal * sideways + (self.focal * self.yaw + self.size_hw[1] / 2)
        down = (self.height - points[..., 1]) / z - self.rise / 2 * z
        pixels[..., 1] = self.focal * down + self.horizon
        return pixels

    def may_show(self, x: float, far: float, reach: float) -> bool:
        """Say whether something can be in the picture whose far end is at (x, far).

        The nearer a thing beside the street comes, the farther out it appears, so that its far end,
        with `reach` meters on both sides, decides.
        """
        z = far - self.s
        if z < NEAR:
            return False
        sideways = (x - self.x) / z
        outwards = sideways + self.bend / 2 * z + self.yaw
        if sideways < 0:
            outwards = -outwards
        return (outwards - reach / z) * self.focal < self.size_hw[1] / 2

    def ground(self) -> Ground:
        """Return street coordinates of every pixel that shows the ground within `FAR`."""
        height, width = self.size_hw
        down = (np.arange(height) + 0.5 - self.horizon) / self.focal
        # project() solved for z at y = 0, in the form that stays exact as `rise` goes to 0.
        root = np.sqrt(np.maximum(down**2 + 2 * self.rise * self.height, 0))
        with np.errstate(divide="ignore"):
            depth = np.where(down + root > 0, 2 * self.height / (down + root), np.inf)
        top = int(np.argmax(depth < FAR)) if (depth < FAR).any() else height
        depth = depth[top:, None].astype(np.float32)
        across = ((np.arange(width) + 0.5 - width / 2) / self.focal - self.yaw).astype(np.float32)
        x = self.x + (across - np.float32(self.bend / 2) * depth) * depth
        return Ground(top, x.astype(np.float32), depth)
