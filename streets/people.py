"""Pedestrians and cyclists: jointed figures of thick lines that look the same walking back."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from nonlocal_lens.streets.camera import NEAR
from nonlocal_lens.streets.classes import BICYCLIST, PEDESTRIAN
from nonlocal_lens.streets.palette import Color
from nonlocal_lens.streets.thing import Outline, Thing, box_outline
from nonlocal_lens.streets.view import View, scaled

TOWARDS = (0.0, 0.3, -0.95)
GRAVEL: Color = (36, 36, 38)

Joints = list[tuple[float, float, float]]
"""Points of a figure: right, up, along, in meters."""


@dataclass(frozen=True)
class Person(Thing):
    """Someone on foot; heading 0 walks along the street, pi / 2 to the right."""

    x: float
    s: float
    heading: float
    height: float
    stride: float  # phase of the walk in radians
    walking: bool
    coat: Color
    trousers: Color
    skin: Color
    hair: Color
    long_coat: bool
    bag: bool

    @property
    def far(self) -> float:
        """Return where they are."""
        return self.s

    def footprint(self) -> tuple[Outline, float]:
        """Return their outline and height."""
        return box_outline(self.x, self.s, 0.4, 0.4), self.height

    def paint(self, view: View) -> None:
        """Paint legs, arms, body and head."""
        if self.s < view.camera.s + NEAR + 0.5:
            return
        k = self.height / 1.75
        swing = 0.3 * np.sin(self.stride) if self.walking else 0.04
        figure = Figure(view, self.x, self.s, self.heading, k, PEDESTRIAN)
        for side in (-1, 1):
            step = side * swing
            hip, knee = (side * 0.09, 0.9, 0.0), (side * 0.1, 0.49, step * 0.55)
            figure.limb([hip, knee, (side * 0.1, 0.07, step)], 0.15, self.trousers)
            figure.limb(
                [(side * 0.1, 0.05, step - 0.07), (side * 0.1, 0.05, step + 0.07)], 0.1, GRAVEL
            )
        broad = figure.breadth(0.2, 0.42)
        for side in (-1, 1):
            reach = -side * swing * 0.8
            arm = [
                (side * 0.2, 1.38, 0.0),
                (side * 0.25, 1.1, reach * 0.4),
                (side * 0.25, 0.85, reach),
            ]
            figure.limb(arm, 0.11, scaled(self.coat, 0.85))
            figure.ball((side * 0.25, 0.82, reach), 0.05, self.skin)
        hem = 0.7 if self.long_coat else 0.88
        figure.limb([(0, hem + broad / 2, 0), (0, 1.42 - broad / 3, 0)], broad, self.coat)
        if self.bag:
            figure.limb([(0.28, 0.62, 0.0), (0.28, 0.78, 0.0)], 0.22, scaled(self.trousers, 1.4))
        figure.limb([(0, 1.4, 0), (0, 1.5, 0)], 0.11, self.skin)
        figure.ball((0, 1.62, 0), 0.115, self.skin)
        figure.ball((0, 1.665, 0), 0.105, self.hair)


@dataclass(frozen=True)
class Cyclist(Thing):
    """Someone on a bicycle."""

    x: float
    s: float
    heading: float
    pedal: float  # phase of the pedals in radians
    coat: Color
    trousers: Color
    skin: Color
    helmet: Color
    frame: Color

    @property
    def far(self) -> float:
        """Return where the far wheel ends."""
        return self.s + 0.85 * abs(float(np.cos(self.heading)))

    def footprint(self) -> tuple[Outline, float]:
        """Return their outline and height."""
        return box_outline(self.x, self.s, 0.4, 1.6, self.heading), 1.4

    def paint(self, view: View) -> None:
        """Paint the wheels, the frame and the rider."""
        if self.s < view.camera.s + NEAR + 1.2:
            return
        figure = Figure(view, self.x, self.s, self.heading, 1.0, BICYCLIST)
        turn = np.linspace(0, 2 * np.pi, 17)
        for axle in (-0.52, 0.52):
            rim = [
                (0.0, float(0.34 + 0.33 * np.sin(a)), float(axle + 0.33 * np.cos(a))) for a in turn
            ]
            figure.claim(rim)
            figure.limb(rim, 0.055, GRAVEL)
        crank, seat, bars = (0.0, 0.3, -0.05), (0.0, 0.92, -0.2), (0.0, 0.98, 0.38)
        bike: tuple[Joints, ...] = (
            [(0.0, 0.34, -0.52), crank, seat, (0.0, 0.34, -0.52)],
            [crank, (0.0, 0.85, 0.4), seat],
            [(0.0, 0.34, 0.52), bars],
            [(-0.26, 1.0, 0.36), (0.26, 1.0, 0.36)],
        )
        for tube in bike:
            figure.limb(tube, 0.05, self.frame)
        for side in (-1, 1):
            angle = self.pedal + (np.pi if side > 0 else 0)
            foot = (
                side * 0.1,
                float(0.32 + 0.17 * np.sin(angle)),
                float(-0.05 + 0.17 * np.cos(angle)),
            )
            knee = (side * 0.11, 0.62 + 0.5 * (foot[1] - 0.3), 0.22)
            figure.limb([(side * 0.08, 0.96, -0.18), knee, foot], 0.14, self.trousers)
            figure.limb([(side * 0.19, 1.38, 0.08), (side * 0.25, 1.05, 0.32)], 0.1, self.coat)
        broad = figure.breadth(0.26, 0.42)
        figure.limb([(0, 0.98, -0.2), (0, 1.42 - broad / 3, 0.1)], broad, self.coat)
        figure.ball((0, 1.6, 0.18), 0.115, self.skin)
        figure.ball((0, 1.65, 0.16), 0.115, self.helmet)


class Figure:
    """Paints a jointed figure that stands at (x, s) and faces `heading`."""

    def __init__(
        self, view: View, x: float, s: float, heading: float, size: float, label: int
    ) -> None:
        sin, cos = float(np.sin(heading)), float(np.cos(heading))
        self.turn = np.array([(cos, 0.0, -sin), (0.0, 1.0, 0.0), (sin, 0.0, cos)]) * size
        self.at = np.array((x, 0.0, s))
        self.view, self.label, self.size = view, label, size
        self.seen_from_behind = abs(cos)

    def breadth(self, narrow: float, wide: float) -> float:
        """Return how wide something looks that is `narrow` from the side and `wide` from behind."""
        return narrow + (wide - narrow) * self.seen_from_behind

    def place(self, joints: Joints) -> Float[np.ndarray, "points 3"]:
        """Return joints in street coordinates."""
        placed: np.ndarray = np.array(joints, float) @ self.turn + self.at
        return placed

    def limb(self, joints: Joints, width: float, color: Color) -> None:
        """Paint a thick line through joints."""
        self.view.line(self.place(joints), width * self.size, color, self.label, TOWARDS)

    def ball(self, center: tuple[float, float, float], radius: float, color: Color) -> None:
        """Paint a ball."""
        self.view.disc(self.place([center]), radius * self.size, color, self.label, TOWARDS)

    def claim(self, joints: Joints) -> None:
        """Give what shows within joints this figure's class."""
        pixels = self.view.camera.project(self.place(joints))
        self.view.canvas.label_polygon(pixels, self.label)
