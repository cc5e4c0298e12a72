"""Where scenes are painted: color and class in one stroke, so that they cannot come apart."""

import cv2
import numpy as np
from jaxtyping import Float, UInt8

SUPERSAMPLING = 2
SHIFT = 3  # binary digits of a pixel that OpenCV is given

Paint = tuple[int, int, int, int]
"""Red, green, blue and label value, 0 to 255."""


class Canvas:
    """A picture with four channels, red, green, blue and label value, in subpixels.

    Coordinates that come in are pixels of the finished picture.
    """

    def __init__(self, size_hw: tuple[int, int]) -> None:
        height, width = size_hw
        shape = (height * SUPERSAMPLING, width * SUPERSAMPLING, 4)
        self.pixels: UInt8[np.ndarray, "rows columns 4"] = np.zeros(shape, np.uint8)

    def background(self, top: int, pixels: UInt8[np.ndarray, "rows width 4"]) -> None:
        """Lay finished pixels over the rows from `top` down."""
        rows, columns = pixels.shape[0] * SUPERSAMPLING, pixels.shape[1] * SUPERSAMPLING
        if rows:
            start = top * SUPERSAMPLING
            self.pixels[start : start + rows] = cv2.resize(
                pixels, (columns, rows), interpolation=cv2.INTER_NEAREST
            )

    def polygons(self, corners: Float[np.ndarray, "polygons points 2"], paint: Paint) -> None:
        """Fill polygons that do not overlap each other."""
        cv2.fillPoly(self.pixels, list(fixed(corners)), paint, cv2.LINE_8, SHIFT)

    def label_polygon(self, corners: Float[np.ndarray, "points 2"], label: int) -> None:
        """Give a polygon a class without painting it: gaps that belong to what is around them."""
        low = np.floor(corners.min(axis=0) * SUPERSAMPLING).astype(int)
        high = np.ceil(corners.max(axis=0) * SUPERSAMPLING).astype(int) + 1
        rows, columns = self.pixels.shape[:2]
        (x0, y0), (x1, y1) = np.maximum(low, 0), np.minimum(high, (columns, rows))
        if x0 >= x1 or y0 >= y1:
            return
        mask = np.zeros((y1 - y0, x1 - x0), np.uint8)
        offset = np.array((x0, y0)) / SUPERSAMPLING
        cv2.fillPoly(mask, [fixed(corners - offset)], 255, cv2.LINE_8, SHIFT)
        self.pixels[y0:y1, x0:x1, 3][mask > 0] = label

    def lines(
        self, points: Float[np.ndarray, "lines points 2"], width: float, paint: Paint
    ) -> None:
        """Draw open lines with round ends, `width` pixels wide."""
        thickness = max(1, round(width * SUPERSAMPLING))
        cv2.polylines(self.pixels, list(fixed(points)), False, paint, thickness, cv2.LINE_8, SHIFT)

    def disc(self, center: Float[np.ndarray, " 2"], radius: float, paint: Paint) -> None:
        """Fill a disc of `radius` pixels."""
        x, y = fixed(center)
        scaled = max(1, round(radius * SUPERSAMPLING * 2**SHIFT))
        cv2.circle(self.pixels, (int(x), int(y)), scaled, paint, -1, cv2.LINE_8, SHIFT)

    def finish(
        self,
    ) -> tuple[UInt8[np.ndarray, "height width 3"], UInt8[np.ndarray, "height width"]]:
        """Return the picture and its labels in pixels: the mean color and the commonest class."""
        rows, columns = self.pixels.shape[:2]
        size = (columns // SUPERSAMPLING, rows // SUPERSAMPLING)
        mean = cv2.resize(self.pixels, size, interpolation=cv2.INTER_AREA)
        labels = cv2.extractChannel(self.pixels, 3)
        # The four subpixels of each pixel.
        a, b = labels[::2, ::2], labels[::2, 1::2]
        c, d = labels[1::2, ::2], labels[1::2, 1::2]
        most = np.where((a == b) | (a == c) | (a == d), a, np.where((b == c) | (b == d), b, c))
        return cv2.cvtColor(mean, cv2.COLOR_RGBA2RGB), most


def fixed(pixels: Float[np.ndarray, "*shape 2"]) -> np.ndarray:
    """Return subpixel coordinates as OpenCV wants them: integers with `SHIFT` binary digits."""
    # Pixel centers are at integers there and at halves here; another half rounds.
    fixed: np.ndarray = pixels * (SUPERSAMPLING * 2**SHIFT) - (2 ** (SHIFT - 1) - 0.5)
    return fixed.astype(np.int32)
