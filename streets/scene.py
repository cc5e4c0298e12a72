"""From a seed to a labeled picture of a street."""

from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from nonlocal_lens.streets.dice import Dice
from nonlocal_lens.streets.drawing import draw
from nonlocal_lens.streets.layout import random_camera, random_street
from nonlocal_lens.streets.lens import random_lens
from nonlocal_lens.streets.light import random_light

SIZE_HW = (360, 480)
"""Size of CamVid's pictures as they are commonly used: height, width."""

SMALLEST, LARGEST = 32, 2048


class Scene(NamedTuple):
    """A picture of a street and the class of every pixel."""

    image: UInt8[np.ndarray, "height width 3"]
    labels: UInt8[np.ndarray, "height width"]  # values of streets.classes


def render_scene(seed: int, size_hw: tuple[int, int] = SIZE_HW) -> Scene:
    """Return the street of a seed: the same bytes for the same seed, size and library versions.

    Args:
        seed: Any whole number from 0 up; `split_seeds` says which belong to which split.
        size_hw: Height and width in pixels, each from 32 to 2048.

    Raises:
        ValueError: The seed is negative or the size out of range.
    """
    check(seed, size_hw)
    dice = Dice(np.random.default_rng(seed))
    street = random_street(dice)
    camera = random_camera(dice, size_hw, street)
    return Scene(*draw(street, camera, random_light(dice), random_lens(dice)))


def check(seed: int, size_hw: tuple[int, int]) -> None:
    """Refuse what cannot be rendered."""
    if seed < 0:
        raise ValueError(f"seed must be 0 or more, got {seed}")
    whole = all(isinstance(side, int | np.integer) for side in size_hw)
    if len(size_hw) != 2 or not whole or not all(SMALLEST <= side <= LARGEST for side in size_hw):
        raise ValueError(
            f"size_hw must be (height, width), each from {SMALLEST} to {LARGEST} pixels, "
            f"got {size_hw}"
        )
