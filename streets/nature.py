"""Trees and hedges."""

from dataclasses import dataclass
from math import copysign

import cv2
import numpy as np

from nonlocal_lens.streets import textures
from nonlocal_lens.streets.canvas import SUPERSAMPLING
from nonlocal_lens.streets.classes import TREE
from nonlocal_lens.streets.crowns import SIDE, crown
from nonlocal_lens.streets.light import UP
from nonlocal_lens.streets.palette import Color
from nonlocal_lens.streets.panels import across, upright
from nonlocal_lens.streets.thing import Barrier, Outline, Thing, box_outline
from nonlocal_lens.streets.view import View, scaled

SOLID_FROM = {"leafy": 127, "bare": 95}
"""Kind of crown -> how much of a pixel must be wood or leaf to be painted, 0 to 255."""


@dataclass(frozen=True)
class Tree(Thing):
    """A tree: a trunk and a crown that always faces the camera."""

    x: float
    s: float
    height: float
    width: float  # of the crown
    trunk: float  # height of the crown's lower edge
    kind: str  # "leafy" or "bare"
    index: int
    mirrored: bool
    color: Color
    bark: Color

    @property
    def far(self) -> float:
        """Return where it stands."""
        return self.s

    @property
    def reach(self) -> float:
        """Return half its width."""
        return self.width / 2

    def footprint(self) -> tuple[Outline, float]:
        """Return the outline of a prism that shades about as much."""
        return box_outline(self.x, self.s, self.width * 0.5, self.width * 0.5), self.height

    def paint(self, view: View) -> None:
        """Paint the trunk, then the crown."""
        depth = self.s - view.camera.s
        if depth < 1.5:
            return
        if self.trunk > 0:
            half = 0.02 * self.height + 0.03
            top = self.trunk + (0.3 * (self.height - self.trunk) if self.kind == "leafy" else 0.1)
            stem = np.array(
                [
                    (self.x - half * 1.2, 0, self.s),
                    (self.x + half * 1.2, 0, self.s),
                    (self.x + half * 0.8, top, self.s),
                    (self.x - half * 0.8, top, self.s),
                ]
            )
            view.polygon(stem, self.bark, (0, 0, -1), TREE)
        self.paint_crown(view)

    def paint_crown(self, view: View) -> None:
        """Paint what is solid of the crown, and make all within its outline tree."""
        half = self.width / 2
        corners = np.array(
            [(self.x - half, self.height, self.s), (self.x + half, self.trunk, self.s)]
        )
        (left, upper), (right, lower) = view.camera.project(corners) * SUPERSAMPLING
        rows, columns = view.canvas.pixels.shape[:2]
        x0, y0 = max(0, int(left)), max(0, int(upper))
        x1, y1 = min(columns, int(right) + 1), min(rows, int(lower) + 1)
        if x1 <= x0 or y1 <= y0:
            return
        halvings = int(np.clip(np.log2(SIDE / (right - left)), 0, 4))
        side = SIDE >> halvings
        texels_x, texels_y = side / (right - left), side / (lower - upper)
        if self.mirrored:
            texels_x, left = -texels_x, right
        to_texels = np.array(
            [
                [texels_x, 0, (x0 + 0.5 - left) * texels_x - 0.5],
                [0, texels_y, (y0 + 0.5 - upper) * texels_y - 0.5],
            ]
        )
        sprite = crown(self.kind, self.index, halvings)
        flags = cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR
        warped = cv2.warpAffine(sprite, to_texels, (x1 - x0, y1 - y0), flags=flags)
        brightness, solid, outline = cv2.split(warped)
        color = self.color if self.kind == "leafy" else self.bark
        tones = view.tones(brightness, color, UP, self.s - view.camera.s, TREE)
        region = view.canvas.pixels[y0:y1, x0:x1]
        _, mask = cv2.threshold(solid, SOLID_FROM[self.kind], 255, cv2.THRESH_BINARY)
        cv2.copyTo(tones, mask, region)
        region[..., 3][outline > 127] = TREE


@dataclass(frozen=True)
class Hedge(Barrier):
    """A clipped hedge along or across the street."""

    thickness = 0.8

    def paint(self, view: View) -> None:
        """Paint its end, its side and the top's bright rim."""
        side = copysign(1, self.x - view.camera.x)
        tile = textures.leaves()
        if self.near > view.camera.s + 1:
            front = across(self.x, self.x + side * 0.8, self.near, 0, self.height)
            view.textured(front, tile, self.color, (0, 0, -1), TREE)
        wall = upright(self.x, self.near, self.end, 0, self.height)
        view.textured(wall, tile, self.color, (-side, 0, 0), TREE)
        rim = upright(self.x, self.near, self.end, self.height * 0.88, self.height)
        view.textured(rim, tile, scaled(self.color, 1.25), UP, TREE)
