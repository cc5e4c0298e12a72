"""What closes the view where a street ends, and behind the houses."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from nonlocal_lens.streets.camera import FAR
from nonlocal_lens.streets.classes import BUILDING
from nonlocal_lens.streets.dice import Dice
from nonlocal_lens.streets.palette import BRICKS, RENDERS, STONES, Color
from nonlocal_lens.streets.panels import across
from nonlocal_lens.streets.plan import SIDES
from nonlocal_lens.streets.plots import random_house, random_tree
from nonlocal_lens.streets.thing import Outline, Thing, box_outline
from nonlocal_lens.streets.view import View


def backdrop(dice: Dice) -> Iterator[Thing]:
    """Yield what closes the view: a row of houses and trees beyond the street's end."""
    x = -70.0
    while x < 70:
        width, height = dice.between(8, 18), dice.between(5, 11)
        color = dice.color(BRICKS + RENDERS + STONES)
        yield FarHouse(x + width / 2, width, FAR + 3, height, color)
        x += width + (dice.between(0, 3) if dice.chance(0.3) else 0)
    for _ in range(dice.whole(1, 7)):
        yield random_tree(dice, dice.between(-60, 60), FAR + dice.between(-3, 2), big=True)
    for side in SIDES:
        s = 50.0
        while s < FAR:
            end = s + dice.between(8, 14)
            yield random_house(dice, side * 34, s, end, "terrace")
            s = end
        for _ in range(dice.whole(0, 2)):
            yield random_tree(dice, side * dice.between(19, 28), dice.between(30, FAR), big=True)


@dataclass(frozen=True)
class FarHouse(Thing):
    """A house at the end of the street that faces the camera."""

    x: float  # of its middle
    width: float
    s: float
    height: float
    color: Color

    @property
    def far(self) -> float:
        """Return where it stands."""
        return self.s

    @property
    def reach(self) -> float:
        """Return half its width."""
        return self.width / 2

    def footprint(self) -> tuple[Outline, float]:
        """Return its outline and height."""
        return box_outline(self.x, self.s + 4, self.width, 8), self.height

    def paint(self, view: View) -> None:
        """Paint the wall, the roof and two rows of windows."""
        left, right = self.x - self.width / 2, self.x + self.width / 2
        eaves = self.height * 0.72
        facing = (0.0, 0.0, -1.0)
        roof = across(left, right, self.s, eaves, self.height)
        view.polygon(roof, (82, 74, 70), (0.0, 0.7, -0.7), BUILDING)
        wall = across(left, right, self.s, 0, eaves)
        view.polygon(wall, self.color, facing, BUILDING)
        count = max(2, int(self.width / 3))
        starts = left + (np.arange(count) + 0.3) * self.width / count
        panes = [
            across(x, x + 1.1, self.s, low * eaves, low * eaves + 1.3)
            for x in starts
            for low in (0.2, 0.62)
        ]
        view.polygons(np.stack(panes), (70, 74, 78), facing, BUILDING)
