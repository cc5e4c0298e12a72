"""A canvas seen through a camera in some light: paints what is given in street coordinates."""

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float, UInt8

from nonlocal_lens.streets.camera import NEAR, Camera
from nonlocal_lens.streets.canvas import SHIFT, SUPERSAMPLING, Canvas, Paint, fixed
from nonlocal_lens.streets.light import UP, Light
from nonlocal_lens.streets.palette import Color
from nonlocal_lens.streets.textures import TEXELS_PER_METER

Points = Float[np.ndarray, "points 3"]
Normal = tuple[float, float, float]

TEXTURED_WITHIN = 30.0
"""Depth in meters beyond which textures are too fine to be seen."""

GRAYS = (0, 64, 128, 192, 255)
"""Brightness at which light is computed; between them it runs straight."""


@dataclass(frozen=True)
class View:
    """What is being painted: every method takes meters and unlit colors."""

    camera: Camera
    light: Light
    canvas: Canvas

    def scale(self, depth: float) -> float:
        """Return pixels per meter at a depth."""
        return self.camera.focal / max(depth, NEAR)

    def middle(self, points: Points) -> float:
        """Return the depth of the middle of a polygon or a line, roughly."""
        return float(points[0, 2] + points[len(points) // 2, 2]) / 2 - self.camera.s

    def eye(self, depth: float) -> Float[np.ndarray, " 3"]:
        """Return from where things at a depth are seen, once the street is laid straight."""
        camera = self.camera
        bent = depth * depth / 2
        return np.array(
            (camera.x + camera.bend * bent, camera.height + camera.rise * bent, camera.s)
        )

    def paint(self, color: Color, normal: Normal, depth: float, label: int) -> Paint:
        """Return what a stroke puts on the canvas."""
        return (*self.light.shade(color, normal, depth), label)

    def in_sight(self, points: Float[np.ndarray, "*shape 3"]) -> bool:
        """Say whether any point is in front of the camera."""
        return bool((points[..., 2] > self.camera.s + NEAR).any())

    def polygon(self, points: Points, color: Color, normal: Normal, label: int) -> None:
        """Fill one polygon."""
        if self.in_sight(points):
            depth = self.middle(points)
            pixels = self.camera.project(points)
            self.canvas.polygons(pixels[None], self.paint(color, normal, depth, label))

    def polygons(
        self,
        points: Float[np.ndarray, "polygons points 3"],
        color: Color,
        normal: Normal,
        label: int,
    ) -> None:
        """Fill polygons of one color that do not overlap; those behind the camera are left out."""
        points = points[(points[..., 2] > self.camera.s + NEAR).any(axis=1)]
        if len(points):
            depth = self.middle(points[len(points) // 2])
            pixels = self.camera.project(points)
            self.canvas.polygons(pixels, self.paint(color, normal, depth, label))

    def line(
        self, points: Points, width: float, color: Color, label: int, normal: Normal = UP
    ) -> None:
        """Draw a line with round ends, `width` meters thick."""
        depth = self.middle(points)
        if depth > NEAR:
            pixels = self.camera.project(points)
            paint = self.paint(color, normal, depth, label)
            self.canvas.lines(pixels[None], width * self.scale(depth), paint)

    def disc(
        self, center: Points, radius: float, color: Color, label: int, normal: Normal = UP
    ) -> None:
        """Fill a ball of `radius` meters."""
        depth = float(center[0, 2]) - self.camera.s
        if depth > NEAR:
            paint = self.paint(color, normal, depth, label)
            pixels = self.camera.project(center)[0]
            self.canvas.disc(pixels, radius * self.scale(depth), paint)

    def textured(
        self,
        points: Float[np.ndarray, "4 3"],
        texture: UInt8[np.ndarray, "tile tile"],
        color: Color,
        normal: Normal,
        label: int,
    ) -> None:
        """Fill an upright rectangle with a wrapping texture of brightness around 128.

        Corners: lower near, lower far, upper far, upper near.
        """
        depth = self.middle(points)
        self.polygon(points, color, normal, label)
        if depth > TEXTURED_WITHIN or not self.in_sight(points):
            return
        points = points.copy()
        points[:, 2] = np.maximum(points[:, 2], self.camera.s + NEAR)
        # One of x and s is the same for all corners, so their sum runs along the wall.
        texels = np.stack([points[:, 0] + points[:, 2], -points[:, 1]], axis=1) * TEXELS_PER_METER
        pixels = self.camera.project(points)
        subpixels = pixels * SUPERSAMPLING - 0.5
        rows, columns = self.canvas.pixels.shape[:2]
        low = np.maximum(np.floor(subpixels.min(axis=0)).astype(int), 0)
        high = np.minimum(np.ceil(subpixels.max(axis=0)).astype(int) + 1, (columns, rows))
        (x0, y0), (x1, y1) = low, high
        if x1 - x0 < 2 or y1 - y0 < 2:
            return
        to_texels = cv2.getPerspectiveTransform(
            (subpixels - low).astype(np.float32), texels.astype(np.float32)
        )
        shape = (int(x1 - x0), int(y1 - y0))
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        brightness = cv2.warpPerspective(
            texture, to_texels, shape, flags=flags, borderMode=cv2.BORDER_WRAP
        )
        mask = np.zeros(shape[::-1], np.uint8)
        corners = fixed(pixels - low / SUPERSAMPLING)
        cv2.fillPoly(mask, [corners], 255, cv2.LINE_8, SHIFT)
        lit = self.tones(brightness, color, normal, depth, label)
        cv2.copyTo(lit, mask, self.canvas.pixels[y0:y1, x0:x1])

    def tones(
        self,
        brightness: UInt8[np.ndarray, "rows columns"],
        color: Color,
        normal: Normal,
        depth: float,
        label: int,
    ) -> UInt8[np.ndarray, "rows columns 4"]:
        """Return the paint of a surface that is as bright as given: 128 is its own color."""
        shades = [self.light.shade(scaled(color, gray / 128), normal, depth) for gray in GRAYS]
        table = np.empty((256, 1, 4), np.uint8)
        for channel, levels in enumerate(zip(*shades, strict=True)):
            table[:, 0, channel] = np.interp(np.arange(256), GRAYS, levels)
        table[:, 0, 3] = label
        return cv2.LUT(cv2.merge([brightness] * 4), table)


def scaled(color: Color, factor: float) -> Color:
    """Return a color made darker or lighter."""
    return color[0] * factor, color[1] * factor, color[2] * factor
