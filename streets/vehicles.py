"""Cars, vans and buses: small solids of a few dozen faces, seen from any side."""

from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from nonlocal_lens.streets.camera import NEAR
from nonlocal_lens.streets.classes import CAR
from nonlocal_lens.streets.palette import Color
from nonlocal_lens.streets.thing import Outline, Thing, box_outline
from nonlocal_lens.streets.view import View

SIDES = (-1.0, 1.0)

DETAILED_ABOVE = 22.0
"""Width in pixels above which lights, plates and hubs are drawn."""


class Body(NamedTuple):
    """The shape of a body: (along, up) in meters; along is 0 in the middle, positive in front."""

    width: float
    lower: tuple[tuple[float, float], ...]  # from the rear bumper over the top to the front bumper
    cabin: tuple[tuple[float, float], ...]  # rear base, rear roof, front roof, front base
    pillars: tuple[float, ...]  # between side windows, as shares of the cabin's length
    wheels: tuple[float, ...]  # where the axles are
    wheel: float = 0.31  # radius

    @property
    def length(self) -> float:
        """Length in meters."""
        return self.lower[-1][0] - self.lower[0][0]


BODIES = {
    "hatchback": Body(
        1.72,
        (
            (-1.95, 0.3),
            (-1.97, 0.72),
            (-1.85, 0.98),
            (0.95, 0.94),
            (1.78, 0.76),
            (1.95, 0.58),
            (1.95, 0.3),
        ),
        ((-1.85, 0.97), (-1.45, 1.43), (0.1, 1.45), (1.0, 0.93)),
        (0.42,),
        (-1.2, 1.25),
    ),
    "saloon": Body(
        1.78,
        (
            (-2.25, 0.32),
            (-2.27, 0.75),
            (-2.15, 0.98),
            (-1.35, 1.0),
            (0.95, 0.94),
            (2.0, 0.78),
            (2.25, 0.58),
            (2.25, 0.3),
        ),
        ((-1.6, 0.99), (-1.0, 1.4), (0.25, 1.42), (1.1, 0.93)),
        (0.48,),
        (-1.35, 1.4),
    ),
    "estate": Body(
        1.78,
        (
            (-2.3, 0.32),
            (-2.32, 0.75),
            (-2.25, 0.98),
            (0.95, 0.94),
            (2.0, 0.78),
            (2.3, 0.58),
            (2.3, 0.3),
        ),
        ((-2.25, 0.97), (-1.95, 1.43), (0.2, 1.45), (1.1, 0.93)),
        (0.33, 0.66),
        (-1.4, 1.45),
    ),
    "offroader": Body(
        1.86,
        (
            (-2.2, 0.45),
            (-2.25, 0.85),
            (-2.2, 1.12),
            (0.9, 1.08),
            (2.0, 0.98),
            (2.2, 0.75),
            (2.2, 0.42),
        ),
        ((-2.2, 1.1), (-2.0, 1.76), (0.2, 1.78), (0.85, 1.07)),
        (0.35, 0.68),
        (-1.35, 1.4),
        0.38,
    ),
    "van": Body(
        1.95,
        (
            (-2.4, 0.4),
            (-2.42, 0.9),
            (-2.4, 1.95),
            (0.9, 1.98),
            (1.45, 1.15),
            (2.25, 0.98),
            (2.4, 0.65),
            (2.4, 0.35),
        ),
        ((-2.4, 1.5), (-2.39, 1.93), (0.85, 1.96), (1.5, 1.12)),
        (0.62,),
        (-1.5, 1.5),
        0.34,
    ),
    "bus": Body(
        2.5,
        ((-5.0, 0.4), (-5.05, 1.2), (-5.0, 2.98), (4.9, 3.0), (5.05, 1.2), (5.0, 0.35)),
        ((-5.02, 1.25), (-5.0, 2.6), (4.95, 2.6), (5.04, 1.2)),
        (0.16, 0.32, 0.48, 0.64, 0.8),
        (-3.0, 3.2),
        0.48,
    ),
}
"""Body type -> shape."""


class Face(NamedTuple):
    """One flat piece of a body, in local coordinates: right, up, along."""

    points: Float[np.ndarray, "points 3"]
    normal: Float[np.ndarray, " 3"]
    material: str
    detail: bool = False  # left out from afar


MATERIALS: dict[str, Color] = {
    "glass": (46, 52, 58),
    "screen": (66, 74, 82),
    "tyre": (22, 22, 23),
    "under": (14, 14, 15),
    "trim": (38, 38, 40),
    "hub": (120, 122, 124),
    "tail": (150, 22, 20),
    "head": (215, 215, 205),
    "rear plate": (200, 170, 50),
    "front plate": (205, 205, 200),
}


@cache
def mesh(body_name: str) -> tuple[Face, ...]:
    """Return the faces of a body in the order in which they are painted."""
    body = BODIES[body_name]
    half = body.width / 2
    rear, front = body.lower[0][0], body.lower[-1][0]
    faces = []

    low, high = 0.1, 0.42
    for end, out in ((rear + 0.12, -1.0), (front - 0.12, 1.0)):
        faces.append(quad_across(half - 0.05, half - 0.05, (end, low), (end, high), out, "under"))
        for side in SIDES:
            tyre = [
                (side * (half - 0.02), 0, end),
                (side * (half - 0.24), 0, end),
                (side * (half - 0.24), high, end),
                (side * (half - 0.02), high, end),
            ]
            faces.append(Face(np.array(tyre, float), np.array((0, 0, out)), "tyre"))
    for side in SIDES:
        sill = [(half * side, low, rear + 0.2), (half * side, low, front - 0.2)]
        sill += [(half * side, high, front - 0.2), (half * side, high, rear + 0.2)]
        faces.append(Face(np.array(sill), np.array((side, 0, 0)), "under"))

    for side in SIDES:
        outline = [(half * side, up, along) for along, up in body.lower]
        faces.append(Face(np.array(outline), np.array((side, 0, 0)), "paint"))
    for a, b in pairwise(body.lower):
        faces.append(strip(half, half, a, b, "paint"))

    for side in SIDES:
        for axle in body.wheels:
            for radius, material in ((body.wheel, "tyre"), (body.wheel * 0.6, "hub")):
                turn = np.linspace(0, 2 * np.pi, 14, endpoint=False)
                circle = np.stack(
                    [
                        np.full(14, side * (half + 0.01)),
                        body.wheel + radius * np.sin(turn),
                        axle + radius * np.cos(turn),
                    ],
                    axis=1,
                )
                faces.append(Face(circle, np.array((side, 0, 0)), material, material == "hub"))

    tail_height = body.lower[1][1]
    for side in SIDES:
        lamp = rectangle(side * (half - 0.16), 0.15, tail_height, 0.12, rear - 0.02)
        faces.append(Face(lamp, np.array((0.0, 0, -1)), "tail"))
        head = rectangle(side * (half - 0.25), 0.2, body.lower[-2][1] + 0.05, 0.09, front + 0.02)
        faces.append(Face(head, np.array((0.0, 0, 1)), "head"))
    plate = rectangle(0, 0.26, 0.62, 0.06, rear - 0.03)
    faces.append(Face(plate, np.array((0.0, 0, -1)), "rear plate", True))
    plate = rectangle(0, 0.26, 0.42, 0.06, front + 0.03)
    faces.append(Face(plate, np.array((0.0, 0, 1)), "front plate", True))
    for along, out in ((rear - 0.02, -1.0), (front + 0.02, 1.0)):
        bumper = rectangle(0, half * 0.96, 0.4, 0.09, along)
        faces.append(Face(bumper, np.array((0, 0, out)), "trim", True))
    grille = rectangle(0, half * 0.5, body.lower[-2][1] + 0.02, 0.07, front + 0.02)
    faces.append(Face(grille, np.array((0.0, 0, 1)), "trim", True))

    faces.extend(cabin_faces(body))
    return tuple(faces)


def cabin_faces(body: Body) -> list[Face]:
    """Return roof, pillars and windows."""
    base, roof = body.width / 2 - 0.04, body.width / 2 - (0.05 if body.width > 1.9 else 0.2)
    rear_base, rear_roof, front_roof, front_base = body.cabin
    faces = []
    for side in SIDES:
        corners = np.array(
            [
                (side * base, rear_base[1], rear_base[0]),
                (side * base, front_base[1], front_base[0]),
                (side * roof, front_roof[1], front_roof[0]),
                (side * roof, rear_roof[1], rear_roof[0]),
            ]
        )
        normal = np.array((side, 0.35, 0.0)) / np.hypot(1, 0.35)
        faces.append(Face(corners, normal, "paint"))
        stops = (0.06, *body.pillars, 0.93)
        for start, end in pairwise(stops):
            window = within(corners, start + 0.015, end - 0.015, 0.1, 0.88)
            window[:, 0] += side * 0.01
            faces.append(Face(window, normal, "glass"))
    ends = ((rear_base, rear_roof), (rear_roof, front_roof), (front_roof, front_base))
    for index, (a, b) in enumerate(ends):
        half_a, half_b = (base, roof, roof)[index], (roof, roof, base)[index]
        face = strip(half_a, half_b, a, b, "paint")
        faces.append(face)
        if index != 1:
            inner = within(face.points, 0.1, 0.9, 0.07, 0.93)
            inner += 0.01 * face.normal
            faces.append(Face(inner, face.normal, "screen"))
    return faces


def strip(
    half_a: float, half_b: float, a: tuple[float, float], b: tuple[float, float], material: str
) -> Face:
    """Return the face across a body between two points of its outline, rear to front."""
    points = np.array(
        [(-half_a, a[1], a[0]), (half_a, a[1], a[0]), (half_b, b[1], b[0]), (-half_b, b[1], b[0])]
    )
    along, up = b[0] - a[0], b[1] - a[1]
    return Face(points, np.array((0, along, -up)) / np.hypot(along, up), material)


def quad_across(
    half_a: float,
    half_b: float,
    a: tuple[float, float],
    b: tuple[float, float],
    out: float,
    material: str,
) -> Face:
    """Return an upright face across a body that looks backward (-1) or forward (1)."""
    face = strip(half_a, half_b, a, b, material)
    return face._replace(normal=np.array((0.0, 0.0, out)))


def rectangle(
    right: float, half_width: float, up: float, half_height: float, along: float
) -> Float[np.ndarray, "4 3"]:
    """Return an upright rectangle across a body."""
    return np.array(
        [
            (right - half_width, up - half_height, along),
            (right + half_width, up - half_height, along),
            (right + half_width, up + half_height, along),
            (right - half_width, up + half_height, along),
        ],
        float,
    )


def within(
    corners: Float[np.ndarray, "4 3"], left: float, right: float, low: float, high: float
) -> Float[np.ndarray, "4 3"]:
    """Return the part of a quadrilateral between shares of its sides."""

    def at(u: float, v: float) -> np.ndarray:
        lower = corners[0] * (1 - u) + corners[1] * u
        upper = corners[3] * (1 - u) + corners[2] * u
        point: np.ndarray = lower * (1 - v) + upper * v
        return point

    return np.stack([at(left, low), at(right, low), at(right, high), at(left, high)])


@dataclass(frozen=True)
class Vehicle(Thing):
    """A vehicle: heading 0 drives along the street, pi comes towards the camera."""

    x: float
    s: float
    heading: float
    body: str  # a key of BODIES
    color: Color

    @property
    def far(self) -> float:
        """Return where its far end is."""
        body = BODIES[self.body]
        reach = abs(np.cos(self.heading)) * body.length + abs(np.sin(self.heading)) * body.width
        return self.s + float(reach) / 2

    @property
    def reach(self) -> float:
        """Return how far it reaches at most."""
        return BODIES[self.body].length / 2

    def footprint(self) -> tuple[Outline, float]:
        """Return its outline and height."""
        body = BODIES[self.body]
        outline = box_outline(self.x, self.s, body.width, body.length, self.heading)
        return outline, max(up for _, up in body.cabin) * 0.85

    def paint(self, view: View) -> None:
        """Paint the faces that look at the camera."""
        depth = self.s - view.camera.s
        if self.far < view.camera.s + NEAR:
            return
        sin, cos = float(np.sin(self.heading)), float(np.cos(self.heading))
        turn = np.array([(cos, 0.0, -sin), (0.0, 1.0, 0.0), (sin, 0.0, cos)])
        faces = mesh(self.body)
        points = np.concatenate([face.points for face in faces]) @ turn + (self.x, 0, self.s)
        normals = np.stack([face.normal for face in faces]) @ turn
        pixels = view.camera.project(points)
        ends = np.cumsum([len(face.points) for face in faces])
        centers = points[ends - 1]
        visible = ((view.eye(depth) - centers) * normals).sum(axis=1) > 0
        detailed = BODIES[self.body].width * view.scale(depth) > DETAILED_ABOVE
        for face, normal, end, seen in zip(faces, normals, ends, visible, strict=True):
            if not seen or (face.detail and not detailed):
                continue
            color = self.color if face.material == "paint" else MATERIALS[face.material]
            if view.light.lamps_lit and face.material in ("head", "tail"):
                color = (700, 660, 560) if face.material == "head" else (620, 60, 50)
            nx, ny, ns = normal.tolist()
            paint = view.paint(color, (nx, ny, ns), depth, CAR)
            view.canvas.polygons(pixels[None, end - len(face.points) : end], paint)
