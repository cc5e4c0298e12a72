"""Maps over a photograph and pictures of classes, as arrays, with their color bar and legend."""

from collections.abc import Sequence
from html import escape

import cv2
import matplotlib
import numpy as np
from jaxtyping import Float, UInt8

from nonlocal_lens.analysis.grid import Grid
from nonlocal_lens.analysis.render import colorize, palette_table
from nonlocal_lens.streets.classes import STREET_CLASSES

PALETTE = "viridis"
OPACITY = 0.75
LONG_SIDE = 900  # pixels of a picture on the page

Image = UInt8[np.ndarray, "height width 3"]


def painted(
    image: Image,
    grid: Grid,
    values: Float[np.ndarray, " pos"],
    top: float,
    opacity: float = OPACITY,
) -> Image:
    """Return a photograph, reduced for the page, under a map of its grid's cells.

    Args:
        image: The photograph that the grid lies on.
        grid: Of one frame; what no cell covers stays as it is.
        values: One per cell; 0 has the lowest color, NaN one that is in no palette.
        top: What has the highest color, and all above.
        opacity: Of the map, 0 to 1.
    """
    shown = reduced(image)
    height, width = shown.shape[:2]
    full_height, full_width = grid.image_hw
    rows = ((np.arange(height) + 0.5) / height * full_height // grid.cell_height).astype(int)
    cols = ((np.arange(width) + 0.5) / width * full_width // grid.cell_width).astype(int)
    rows, cols = rows[rows < grid.height], cols[cols < grid.width]
    cells = values.reshape(grid.height, grid.width)
    (table,) = palette_table((PALETTE,))
    colors = colorize(cells, 0.0, top, table)[rows][:, cols].astype(np.float64)
    under = shown[: len(rows), : len(cols)]
    mixed = opacity * colors + (1 - opacity) * under
    shown[: len(rows), : len(cols)] = np.rint(mixed)
    return shown


def reduced(image: UInt8[np.ndarray, "height width *channels"]) -> np.ndarray:
    """Return a copy of a picture that is small enough for the page; classes stay classes."""
    scale = LONG_SIDE / max(image.shape[:2])
    if scale >= 1:
        return image.copy()
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    how = cv2.INTER_AREA if image.ndim == 3 else cv2.INTER_NEAREST
    return cv2.resize(image, size, interpolation=how)


def color_bar(top: float, unit: str) -> str:
    """Return the bar that belongs to `painted`, with its unit, as HTML."""
    (table,) = palette_table((PALETTE,))
    stops = ", ".join(
        f"rgb({r},{g},{b})" for r, g, b in [*table[::16].tolist(), table[-1].tolist()]
    )
    return (
        f'<div role="img" aria-label="Color bar from 0 to {top:.3g} {escape(unit)}" '
        'style="font-size:.8rem">'
        f'<div style="height:10px;border-radius:2px;background:linear-gradient(to right,{stops})">'
        '</div><div style="display:flex;justify-content:space-between;opacity:.75">'
        f"<span>0</span><span>{escape(unit)}</span><span>{top:.3g}</span></div></div>"
    )


def class_colors(classes: Sequence[str]) -> UInt8[np.ndarray, "classes 3"]:
    """Return a color for every class: that of the street class of its name, or one of its own."""
    hues = np.arange(len(classes)) * 0.618034 % 1  # the golden ratio spreads any number of them
    others = matplotlib.colors.hsv_to_rgb(
        np.stack([hues, np.full_like(hues, 0.55), np.full_like(hues, 0.85)], axis=1)
    )
    colors: np.ndarray = np.rint(others * 255).astype(np.uint8)
    for index, name in enumerate(classes):
        colors[index] = STREET_CLASSES.get(name, colors[index])
    return colors


def class_legend(classes: Sequence[str], shown: Sequence[int]) -> str:
    """Return the names of the classes that a picture shows, with their colors, as HTML."""
    colors = class_colors(classes)
    items = "".join(
        '<li style="display:inline-flex;align-items:center;gap:.35rem;margin-right:.9rem">'
        f'<i style="width:.8rem;height:.8rem;border-radius:2px;background:rgb{tuple(color)}"></i>'
        f"{escape(classes[index])}</li>"
        for index, color in ((index, colors[index].tolist()) for index in shown)
    )
    return f'<ul style="list-style:none;padding:0;margin:0;font-size:.8rem">{items}</ul>'
