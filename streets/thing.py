"""What stands in a street: something with a far end that can be painted and casts a shadow."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

import cv2
import numpy as np
from jaxtyping import Float

from nonlocal_lens.streets.palette import Color
from nonlocal_lens.streets.view import View

Outline = Float[np.ndarray, "points 2"]
"""A polygon on the ground as (x, s) in meters."""


class Thing(ABC):
    """Painted from the farthest `far` to the nearest; no long thing may pass another."""

    x: float

    @property
    @abstractmethod
    def far(self) -> float:
        """Return where along the street it ends, in meters."""

    @property
    def reach(self) -> float:
        """Return within how many meters beside x it is at its far end."""
        return 1.0

    @abstractmethod
    def paint(self, view: View) -> None:
        """Paint it over what is behind it."""

    @abstractmethod
    def footprint(self) -> tuple[Outline, float]:
        """Return the outline on the ground of what casts a shadow, and its height in meters."""


def box_outline(
    x: float, s: float, width: float, length: float, heading: float = 0.0
) -> Float[np.ndarray, "4 2"]:
    """Return a rectangle on the ground; heading 0 points along the street, pi / 2 to the right."""
    forward = np.array((np.sin(heading), np.cos(heading))) * length / 2
    right = np.array((np.cos(heading), -np.sin(heading))) * width / 2
    corners = np.stack([-forward - right, forward - right, forward + right, right - forward])
    outline: np.ndarray = corners + np.array((x, s))
    return outline


@dataclass(frozen=True)
class Barrier(Thing):
    """Something long and upright beside the street."""

    thickness: ClassVar[float] = 0.1  # in meters

    x: float
    near: float
    end: float
    height: float
    color: Color

    @property
    def far(self) -> float:
        """Return where it ends."""
        return self.end

    def footprint(self) -> tuple[Outline, float]:
        """Return its outline and height."""
        middle, length = (self.near + self.end) / 2, self.end - self.near
        return box_outline(self.x, middle, self.thickness, length), self.height


def cast(
    outline: Outline, height: float, sun: tuple[float, float, float]
) -> Float[np.ndarray, "corners 2"]:
    """Return the shadow on the ground of a prism under a sun."""
    offset = np.array((sun[0], sun[2])) * (-height / sun[1])
    both = np.concatenate([outline, outline + offset]).astype(np.float32)
    return cv2.convexHull(both)[:, 0].astype(float)
