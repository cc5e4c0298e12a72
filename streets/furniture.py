"""Street furniture: lamps, beacons, bollards, railings, fences and walls."""

from dataclasses import dataclass
from math import copysign

import numpy as np
from jaxtyping import Float

from nonlocal_lens.streets import textures
from nonlocal_lens.streets.classes import BUILDING, FENCE, POLE, SIGN
from nonlocal_lens.streets.palette import Color
from nonlocal_lens.streets.panels import across, upright
from nonlocal_lens.streets.thing import Barrier, Outline, Thing, box_outline
from nonlocal_lens.streets.view import View, scaled

TOWARDS = (0.0, 0.0, -1.0)
"""Normal of what faces the camera."""

THINNEST = 1 / 110
"""Least width of a post, as a share of the picture's height."""


@dataclass(frozen=True)
class Pole(Thing):
    """An upright pole, with or without something on it."""

    x: float
    s: float
    height: float
    radius: float
    color: Color

    @property
    def far(self) -> float:
        """Return where it stands."""
        return self.s

    def footprint(self) -> tuple[Outline, float]:
        """Return its outline and height."""
        return box_outline(self.x, self.s, 2 * self.radius, 2 * self.radius), self.height

    def paint(self, view: View) -> None:
        """Paint it with a lit and a dark side."""
        paint_post(view, self.x, self.s, 0, self.height, self.radius, self.color)


def paint_post(
    view: View, x: float, s: float, low: float, high: float, radius: float, color: Color
) -> None:
    """Paint a post, never thinner than can be seen; the side away from the sun is darker."""
    radius = max(radius, THINNEST / 2 * view.camera.size_hw[0] / view.scale(s - view.camera.s))
    view.polygon(across(x - radius, x + radius, s, low, high), color, TOWARDS, POLE)
    shade = across(x + radius * 0.1, x + radius, s, low, high)
    view.polygon(shade, scaled(color, 0.78), TOWARDS, POLE)


@dataclass(frozen=True)
class Lamp(Pole):
    """A street lamp that leans over the road."""

    arm: float = 1.5  # meters towards the road

    @property
    def reach(self) -> float:
        """Return how far it leans over."""
        return self.arm + 1

    def paint(self, view: View) -> None:
        """Paint the post, the arm and the lantern."""
        paint_post(view, self.x, self.s, 0, self.height, self.radius, self.color)
        tip = self.x - copysign(1, self.x) * self.arm
        arm = np.array([(self.x, self.height, self.s), (tip, self.height + 0.35, self.s)], float)
        view.line(arm, self.radius * 1.4, self.color, POLE, TOWARDS)
        reach = tip - copysign(1, self.x) * 0.7
        lantern = np.array(
            [(tip, self.height + 0.35, self.s), (reach, self.height + 0.38, self.s)], float
        )
        glow: Color = (560, 480, 330) if view.light.lamps_lit else scaled(self.color, 0.9)
        view.line(lantern, 0.24, glow, POLE, TOWARDS)


@dataclass(frozen=True)
class Beacon(Pole):
    """A Belisha beacon: a striped pole with an orange globe at a zebra crossing."""

    def paint(self, view: View) -> None:
        """Paint the stripes, then the globe."""
        bands = 7
        for index in range(bands):
            low, high = self.height * index / bands, self.height * (index + 1) / bands
            color: Color = (210, 210, 205) if index % 2 else (28, 28, 30)
            post = across(self.x - self.radius, self.x + self.radius, self.s, low, high)
            view.polygon(post, color, TOWARDS, POLE)
        globe = np.array([(self.x, self.height + 0.15, self.s)])
        view.disc(globe, 0.2, (330, 190, 50), SIGN, TOWARDS)


@dataclass(frozen=True)
class Bollard(Pole):
    """A bollard on the kerb, with a pale band."""

    def paint(self, view: View) -> None:
        """Paint the post and its band."""
        paint_post(view, self.x, self.s, 0, self.height, self.radius, self.color)
        low, high = self.height * 0.75, self.height * 0.86
        ring = across(self.x - self.radius, self.x + self.radius, self.s, low, high)
        view.polygon(ring, (190, 188, 180), TOWARDS, POLE)


@dataclass(frozen=True)
class Railing(Barrier):
    """Railings; what shows between the bars counts as fence, as in CamVid."""

    spacing: float = 0.16  # meters from bar to bar

    def paint(self, view: View) -> None:
        """Paint posts, rails and, where they can be told apart, bars."""
        near = max(self.near, view.camera.s + 0.6)
        if near >= self.end:
            return
        facing = (-copysign(1, self.x), 0.0, 0.0)
        outline = upright(self.x, near, self.end, 0.1, self.height)
        view.canvas.label_polygon(view.camera.project(outline), FENCE)
        rails = np.array(
            [(near, self.end, 0.12, 0.18), (near, self.end, self.height - 0.07, self.height)]
        )
        first = np.ceil(near / self.spacing) * self.spacing
        at = np.arange(first, self.end, self.spacing)
        bars = np.stack([at, at + 0.035, np.full_like(at, 0.15), np.full_like(at, self.height)], 1)
        posts = np.array(
            [(near, near + 0.07, 0, self.height), (self.end - 0.07, self.end, 0, self.height)]
        )
        for spans in (bars, posts, rails):
            view.polygons(bars_at(self.x, spans), self.color, facing, FENCE)


def bars_at(x: float, spans: Float[np.ndarray, "bars 4"]) -> Float[np.ndarray, "bars 4 3"]:
    """Return upright bars along the street from their (near, end, low, high).

    They are turned a little towards the camera, as round bars would seem.
    """
    near, end, low, high = spans.T
    corners = np.empty((len(spans), 4, 3))
    lean = np.where(end - near < 0.1, 0.035, 0.0)
    corners[..., 0] = x + np.stack([0 * lean, lean, lean, 0 * lean], axis=1)
    corners[..., 1] = np.stack([low, low, high, high], axis=1)
    corners[..., 2] = np.stack([near, end, end, near], axis=1)
    return corners


@dataclass(frozen=True)
class Boards(Barrier):
    """A fence of upright boards."""

    def paint(self, view: View) -> None:
        """Paint the boards and a rail on top."""
        facing = (-copysign(1, self.x), 0.0, 0.0)
        fence = upright(self.x, self.near, self.end, 0, self.height)
        view.textured(fence, textures.boards(), self.color, facing, FENCE)
        rail = upright(self.x, self.near, self.end, self.height - 0.08, self.height)
        view.polygon(rail, scaled(self.color, 1.2), facing, FENCE)


@dataclass(frozen=True)
class Wall(Barrier):
    """A low wall of brick: a building, as in CamVid."""

    def paint(self, view: View) -> None:
        """Paint its end, its side and the coping."""
        side = copysign(1, self.x)
        if self.near > view.camera.s + 1:
            front = across(self.x, self.x + side * 0.3, self.near, 0, self.height)
            view.polygon(front, scaled(self.color, 0.9), TOWARDS, BUILDING)
        wall = upright(self.x, self.near, self.end, 0, self.height)
        view.textured(wall, textures.brick(), self.color, (-side, 0, 0), BUILDING)
        coping = upright(self.x, self.near, self.end, self.height - 0.08, self.height)
        view.polygon(coping, scaled(self.color, 1.2), (-side, 0, 0), BUILDING)
