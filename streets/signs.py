"""Signs: on poles, on walls, on the pavement; and traffic lights, which count as signs."""

from dataclasses import dataclass
from math import copysign

import numpy as np
from jaxtyping import Float

from nonlocal_lens.streets.classes import SIGN
from nonlocal_lens.streets.dice import Dice
from nonlocal_lens.streets.furniture import TOWARDS, Pole, paint_post
from nonlocal_lens.streets.palette import SHOPS, Color
from nonlocal_lens.streets.panels import across
from nonlocal_lens.streets.thing import Outline, Thing, box_outline
from nonlocal_lens.streets.view import View, scaled

MARKS = {
    "bar": ((-0.16, 0.16, -0.8, 0.8),),
    "dash": ((-0.8, 0.8, -0.2, 0.2),),
    "lines": ((-0.9, 0.9, 0.35, 0.65), (-0.9, 0.5, -0.15, 0.15), (-0.9, 0.7, -0.65, -0.35)),
    "number": ((-0.7, -0.12, -0.7, 0.7), (0.12, 0.7, -0.7, 0.7)),
    "arrow": ((-0.13, 0.13, -0.8, 0.4), (-0.5, 0.5, 0.2, 0.45), (-0.25, 0.25, 0.45, 0.75)),
    "cross": ((-0.15, 0.15, -0.8, -0.15), (-0.8, 0.8, -0.15, 0.15), (-0.15, 0.15, 0.15, 0.8)),
}
"""What is written on signs -> rectangles (left, right, low, high) in a square from -1 to 1."""


@dataclass(frozen=True)
class TrafficLight(Pole):
    """A traffic light; the class of its box is that of signs, as in CamVid."""

    lit: int = 0  # 0 red, 1 amber, 2 green

    def paint(self, view: View) -> None:
        """Paint the pole, then the box with its three lights."""
        paint_post(view, self.x, self.s, 0, self.height, self.radius, self.color)
        low, high = self.height - 1.25, self.height + 0.05
        s = self.s - 0.05
        board = across(self.x - 0.36, self.x + 0.36, s, low - 0.1, high + 0.1)
        view.polygon(board, (34, 34, 36), TOWARDS, SIGN)
        box = across(self.x - 0.19, self.x + 0.19, s, low, high)
        view.polygon(box, (16, 16, 18), TOWARDS, SIGN)
        lights: tuple[Color, ...] = ((480, 60, 50), (500, 330, 60), (60, 460, 260))
        for index, color in enumerate(lights):
            center = np.array([(self.x, high - 0.24 - 0.41 * index, s)])
            shown = color if index == self.lit else scaled(color, 0.13)
            view.disc(center, 0.14, shown, SIGN, TOWARDS)


@dataclass(frozen=True)
class Sign(Pole):
    """A road sign or a board on a pole."""

    shape: str = "disc"  # "disc", "triangle", "plate", "board" or "flag"
    face: Color = (210, 210, 205)
    rim: Color = (180, 40, 45)
    size: float = 0.4  # half the width in meters
    mark: str = "bar"  # a key of MARKS

    def paint(self, view: View) -> None:
        """Paint the pole, then the plate: a rim and a face with a mark on it."""
        paint_post(view, self.x, self.s, 0, self.height, self.radius, self.color)
        s, y, size = self.s - 0.05, self.height - self.size, self.size
        center = np.array([(self.x, y, s)])
        if self.shape == "disc":
            view.disc(center, size, self.rim, SIGN, TOWARDS)
            view.disc(center, size * 0.74, self.face, SIGN, TOWARDS)
        elif self.shape == "triangle":
            view.polygon(triangle(self.x, y, s, size * 1.1), self.rim, TOWARDS, SIGN)
            view.polygon(triangle(self.x, y - size * 0.05, s, size * 0.7), self.face, TOWARDS, SIGN)
        else:
            half = size * {"plate": 1.0, "board": 1.6, "flag": 0.7}[self.shape]
            x = self.x + (half if self.shape == "flag" else 0)
            plate = across(x - half, x + half, s, y - size, y + size)
            view.polygon(plate, self.rim, TOWARDS, SIGN)
            inner = across(x - half * 0.88, x + half * 0.88, s, y - size * 0.86, y + size * 0.86)
            view.polygon(inner, self.face, TOWARDS, SIGN)
        within = size * {"triangle": 0.42, "disc": 0.58}.get(self.shape, 0.8)
        center_x = self.x + (size * 0.7 if self.shape == "flag" else 0)
        paint_mark(view, self.mark, (center_x, y, s - 0.02), within, self.face)


def paint_mark(
    view: View, mark: str, center: tuple[float, float, float], half: float, ground: Color
) -> None:
    """Paint what a sign says, light on dark or dark on light, within a square."""
    x, y, s = center
    left, right, low, high = (np.array(MARKS[mark]) * half).T
    corners = np.empty((len(left), 4, 3))
    corners[..., 0] = x + np.stack([left, right, right, left], axis=1)
    corners[..., 1] = y + np.stack([low, low, high, high], axis=1)
    corners[..., 2] = s
    ink: Color = (215, 215, 210) if sum(ground) < 330 else (40, 40, 42)
    view.polygons(corners, ink, TOWARDS, SIGN)


def triangle(x: float, y: float, s: float, size: float) -> Float[np.ndarray, "3 3"]:
    """Return an upright triangle that faces the camera, pointing up."""
    return np.array(
        [(x - size, y - size * 0.7, s), (x + size, y - size * 0.7, s), (x, y + size, s)], float
    )


@dataclass(frozen=True)
class Board(Thing):
    """A board without a pole: a shop's hanging sign, or one that stands on the pavement."""

    x: float
    s: float
    low: float
    high: float
    half_width: float
    face: Color
    mark: str  # a key of MARKS

    @property
    def far(self) -> float:
        """Return where it is."""
        return self.s

    def footprint(self) -> tuple[Outline, float]:
        """Return its outline and height."""
        return box_outline(self.x, self.s, 2 * self.half_width, 0.1), self.high

    def paint(self, view: View) -> None:
        """Paint a rim, a face and what is written on it."""
        left, right = self.x - self.half_width, self.x + self.half_width
        rim = across(left, right, self.s, self.low, self.high)
        view.polygon(rim, scaled(self.face, 0.55), TOWARDS, SIGN)
        inset = 0.12 * self.half_width
        face = across(left + inset, right - inset, self.s, self.low + inset, self.high - inset)
        view.polygon(face, self.face, TOWARDS, SIGN)
        middle = (self.x, (self.low + self.high) / 2, self.s - 0.02)
        within = 0.75 * min(self.half_width, (self.high - self.low) / 2)
        paint_mark(view, self.mark, middle, within, self.face)


def hanging_sign(dice: Dice, wall: float, s: float) -> Board:
    """Return a sign that sticks out from a shop's wall."""
    half = dice.between(0.3, 0.5)
    low = dice.between(2.7, 3.3)
    x = wall - copysign(half + 0.15, wall)
    high = low + dice.between(0.6, 1.1)
    return Board(x, s, low, high, half, dice.color(SHOPS, 0.2), dice.pick(tuple(MARKS)))


def pavement_board(dice: Dice, x: float, s: float) -> Board:
    """Return a board that stands on the pavement."""
    height = dice.between(0.9, 1.3)
    half = dice.between(0.3, 0.42)
    return Board(x, s, 0.08, height, half, dice.color(SHOPS, 0.2), dice.pick(("lines", "cross")))


def random_sign(dice: Dice, x: float, s: float, metal: Color) -> Sign:
    """Return a road sign, a board or the flag of a bus stop."""
    shape = dice.pick(("disc", "disc", "triangle", "plate", "board", "flag"))
    white, red, blue = (212, 212, 206), (176, 36, 40), (36, 70, 150)
    green, yellow = (30, 90, 60), (210, 180, 60)
    face, rim = {
        "disc": dice.pick(((white, red), (blue, white), (red, red))),
        "triangle": (white, red),
        "plate": dice.pick(((white, (40, 40, 42)), (blue, white), (yellow, (50, 48, 40)))),
        "board": dice.pick(((green, white), (blue, white), (white, (40, 40, 42)), (yellow, white))),
        "flag": dice.pick(((red, white), (white, blue), (blue, white))),
    }[shape]
    return Sign(
        x,
        s,
        dice.between(2.5, 3.3),
        0.05,
        metal,
        shape=shape,
        face=face,
        rim=rim,
        size=dice.between(0.36, 0.6),
        mark=dice.pick(("lines", "lines", "arrow") if shape == "board" else tuple(MARKS)),
    )
