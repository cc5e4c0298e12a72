"""A random generator in words."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

from nonlocal_lens.streets.palette import Color

Option = TypeVar("Option")


class Dice:
    """Random decisions; the same seed decides the same."""

    def __init__(self, rng: np.random.Generator) -> None:
        self.rng = rng

    def chance(self, probability: float) -> bool:
        """Return True that often."""
        return self.rng.random() < probability

    def between(self, low: float, high: float) -> float:
        """Return a number from a range, all equally likely."""
        return low + (high - low) * self.rng.random()

    def whole(self, low: int, high: int) -> int:
        """Return a whole number from a range, both ends included."""
        return int(self.rng.integers(low, high + 1))

    def pick(self, options: Sequence[Option]) -> Option:
        """Return one of the options."""
        return options[int(self.rng.integers(len(options)))]

    def color(self, options: Sequence[Color], spread: float = 0.1) -> Color:
        """Return one of the colors, a little lighter or darker."""
        r, g, b = self.pick(options)
        factor = self.between(1 - spread, 1 + spread)
        return r * factor, g * factor, b * factor
