"""Buildings: terraced houses, shops and blocks, drawn bay by bay."""

from dataclasses import dataclass
from math import copysign, hypot

import numpy as np
from jaxtyping import Float

from nonlocal_lens.streets import textures
from nonlocal_lens.streets.classes import BUILDING
from nonlocal_lens.streets.palette import Color
from nonlocal_lens.streets.panels import across, upright, uprights
from nonlocal_lens.streets.thing import Outline, Thing, box_outline
from nonlocal_lens.streets.view import Normal, View, scaled

DETAILED_WITHIN = 70.0
"""Depth in meters beyond which windows have no frames."""

BARS_WITHIN = 40.0
"""Depth in meters beyond which windows have no bars, and shops nothing in them."""

SHOP_HEIGHT = 3.1
"""Height of a shop front in meters."""

DEPTH = 9.0
"""How far buildings reach back from the street, in meters."""

TEXTURES = {"brick": textures.brick, "plaster": textures.plaster, "stone": textures.stone}


@dataclass(frozen=True)
class Building(Thing):
    """A building whose facade is parallel to the street."""

    x: float  # of the facade
    near: float
    end: float
    eaves: float  # height in meters
    ridge: float  # height in meters; equal to `eaves` for a flat roof
    bays: int
    storeys: int
    kind: str  # "house", "shop" or "block"
    wall: str  # a key of TEXTURES
    wall_color: Color
    trim_color: Color
    roof_color: Color
    shop_colors: tuple[Color, ...]
    glass: tuple[float, ...]  # brightness of each window, in turns
    door_bay: int
    gable: bool  # whether the wall that faces the camera stands free
    chimney: bool
    side_windows: bool  # in the gable wall

    @property
    def far(self) -> float:
        """Return where it ends."""
        return self.end

    def footprint(self) -> tuple[Outline, float]:
        """Return its outline and height."""
        side = copysign(1, self.x)
        middle, length = (self.near + self.end) / 2, self.end - self.near
        return box_outline(self.x + side * DEPTH / 2, middle, DEPTH, length), self.eaves

    def paint(self, view: View) -> None:
        """Paint roof, walls and what is in them."""
        side = copysign(1, self.x - view.camera.x)
        facing = (-side, 0.0, 0.0)
        if self.ridge > self.eaves:
            self.paint_roof(view, side)
        texture = TEXTURES[self.wall]()
        if self.near > view.camera.s + 1:
            self.paint_gable(view, side)
        view.textured(
            upright(self.x, self.near, self.end, 0, self.eaves),
            texture,
            self.wall_color,
            facing,
            BUILDING,
        )
        if self.end < view.camera.s + 1:
            return
        self.paint_openings(view, facing)
        if self.near - view.camera.s < DETAILED_WITHIN:
            cornice = upright(self.x, self.near, self.end, self.eaves - 0.25, self.eaves)
            view.polygon(cornice, scaled(self.trim_color, 0.8), facing, BUILDING)

    def paint_roof(self, view: View, side: float) -> None:
        """Paint the slope towards the street, where the camera is above its plane, and chimneys."""
        rise, run = self.ridge - self.eaves, DEPTH / 2
        distance = abs(self.x - view.camera.x)
        back = self.x + side * run
        if view.camera.height <= self.eaves - rise / run * distance:
            return
        if self.chimney:
            low, high = self.ridge - 0.4, self.ridge + 0.9
            stack = upright(back, self.near + 0.2, self.near + 1.0, low, high)
            view.polygon(stack, self.roof_color, (-side, 0, 0), BUILDING)
            front = across(back, back + side * 0.6, self.near + 0.2, low, high)
            view.polygon(front, scaled(self.roof_color, 0.85), (0, 0, -1), BUILDING)
        steep = hypot(rise, run)
        slope = np.array(
            [
                (self.x - side * 0.3, self.eaves - 0.1, self.near),
                (self.x - side * 0.3, self.eaves - 0.1, self.end),
                (back, self.ridge, self.end),
                (back, self.ridge, self.near),
            ]
        )
        view.polygon(slope, self.roof_color, (-side * rise / steep, run / steep, 0.0), BUILDING)

    def paint_gable(self, view: View, side: float) -> None:
        """Paint the end wall that faces the camera."""
        back = self.x + side * DEPTH
        wall = across(self.x, back, self.near, 0, self.eaves)
        color = scaled(self.wall_color, 0.94)
        if self.gable:
            view.textured(wall, TEXTURES[self.wall](), color, (0, 0, -1), BUILDING)
        else:  # a neighbor hides all but the top
            view.polygon(wall, color, (0, 0, -1), BUILDING)
        if self.ridge > self.eaves:
            top = np.array(
                [
                    (self.x, self.eaves, self.near),
                    (back, self.eaves, self.near),
                    (self.x + side * DEPTH / 2, self.ridge, self.near),
                ]
            )
            view.polygon(top, color, (0, 0, -1), BUILDING)
        if self.gable and self.side_windows:
            at = self.x + side * DEPTH * np.array((0.25, 0.65))
            lows = np.arange(1.0, self.eaves - 1.5, 2.9)
            panes = [across(x, x + side * 0.9, self.near, y, y + 1.3) for x in at for y in lows]
            glass = glass_color(view, self.glass[0])
            view.polygons(np.stack(panes), glass, (0, 0, -1), BUILDING)

    def paint_openings(self, view: View, facing: Normal) -> None:
        """Paint windows, doors and shop fronts."""
        panes = self.windows()
        if len(panes):
            self.paint_windows(view, facing, panes)
        if self.kind == "shop":
            self.paint_shop_fronts(view, facing)
        elif self.near - view.camera.s < DETAILED_WITHIN:
            width = (self.end - self.near) / self.bays
            middle, half = self.near + width * (self.door_bay + 0.5), min(0.5, width * 0.35)
            rim = upright(self.x, middle - half - 0.1, middle + half + 0.1, 0.0, 2.45)
            view.polygon(rim, self.trim_color, facing, BUILDING)
            door = upright(self.x, middle - half, middle + half, 0.1, 2.3)
            view.polygon(door, self.shop_colors[0], facing, BUILDING)

    def windows(self) -> Float[np.ndarray, "windows 4"]:
        """Return the windows' (near, end, low, high), storey by storey."""
        width = (self.end - self.near) / self.bays
        pane = width * (0.6 if self.kind == "block" else 0.44)
        start = self.near + width * np.arange(self.bays) + (width - pane) / 2
        ground = SHOP_HEIGHT + 0.1 if self.kind == "shop" else 2.8
        storey = (self.eaves - ground - 0.3) / max(1, self.storeys - 1)
        rows = [
            (start, ground + storey * (floor + 0.3), min(1.7, 0.52 * storey))
            for floor in range(self.storeys - 1)
        ]
        if self.kind != "shop":
            rows.append((np.delete(start, self.door_bay), 0.95, 1.3))
        return np.concatenate(
            [
                np.stack([at, at + pane, np.full_like(at, low), np.full_like(at, low + high)], 1)
                for at, low, high in rows
            ]
        )

    def paint_windows(
        self, view: View, facing: Normal, panes: Float[np.ndarray, "windows 4"]
    ) -> None:
        """Paint frames, panes and, where they can be seen, glazing bars."""
        depth = self.near - view.camera.s
        if depth < DETAILED_WITHIN:
            rims = panes + np.array((-0.16, 0.16, -0.22, 0.2))
            view.polygons(uprights(self.x, rims), self.trim_color, facing, BUILDING)
        for turn, brightness in enumerate(self.glass):
            some = panes[turn :: len(self.glass)]
            if len(some):
                color = glass_color(view, brightness)
                view.polygons(uprights(self.x, some), color, facing, BUILDING)
        if depth < BARS_WITHIN:
            middle = (panes[:, 2:3] + panes[:, 3:4]) / 2
            bars = np.concatenate([panes[:, :2], middle - 0.03, middle + 0.03], axis=1)
            view.polygons(uprights(self.x, bars), self.trim_color, facing, BUILDING)

    def paint_shop_fronts(self, view: View, facing: Normal) -> None:
        """Paint a shop about every six meters."""
        units = max(1, round((self.end - self.near) / 6))
        length = (self.end - self.near) / units
        for unit in range(units):
            shop = Shop(
                x=self.x,
                near=self.near + unit * length + 0.15,
                end=self.near + (unit + 1) * length - 0.15,
                color=self.shop_colors[unit % len(self.shop_colors)],
                goods=scaled(self.shop_colors[(unit + 1) % len(self.shop_colors)], 0.75),
                glass=0.8 * self.glass[unit % len(self.glass)],
                letters=5 + unit % 4,
            )
            shop.paint(view, facing)


@dataclass(frozen=True)
class Shop:
    """A shop front: two panes and a door under a board with letters."""

    x: float
    near: float
    end: float
    color: Color
    goods: Color
    glass: float
    letters: int

    def paint(self, view: View, facing: Normal) -> None:
        """Paint the front, what is behind its panes, and the board."""
        front = upright(self.x, self.near, self.end, 0, SHOP_HEIGHT)
        view.polygon(front, self.color, facing, BUILDING)
        length = self.end - self.near
        stops = self.near + length * np.array((0.04, 0.36, 0.39, 0.7, 0.76, 0.94))
        panes = np.stack(
            [stops[::2], stops[1::2], np.array((0.55, 0.55, 0.15)), np.full(3, 2.35)], 1
        )
        color = glass_color(view, self.glass)
        view.polygons(uprights(self.x, panes), color, facing, BUILDING)
        if self.near - view.camera.s > BARS_WITHIN:
            return
        goods = panes[:2] + np.array((0.15, -0.15, 0.05, -1.1))
        view.polygons(uprights(self.x, goods), self.goods, facing, BUILDING)
        board = upright(self.x, self.near, self.end, 2.5, SHOP_HEIGHT)
        view.polygon(board, scaled(self.color, 0.8), facing, BUILDING)
        at = self.near + length * (0.25 + 0.5 * np.arange(self.letters) / self.letters)
        wide = length * 0.3 / self.letters
        low, high = np.full_like(at, 2.68), np.full_like(at, 2.92)
        letters = uprights(self.x, np.stack([at, at + wide, low, high], 1))
        ink: Color = (215, 210, 195) if sum(self.color) < 330 else (50, 45, 45)
        view.polygons(letters, ink, facing, BUILDING)


def glass_color(view: View, brightness: float) -> Color:
    """Return the color of a pane: a lit room at dusk, else the sky's dim reflection."""
    if view.light.lamps_lit and brightness > 0.8:
        return (420.0, 350.0, 220.0)
    return scaled((92.0, 100.0, 108.0), brightness)
