"""One panel on one pair of axes: its picture, its marks, its arrows."""

from typing import Any

import numpy as np
from jaxtyping import Float, UInt8
from matplotlib import patheffects
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import Colormap, Normalize
from matplotlib.image import AxesImage
from matplotlib.patches import FancyArrowPatch, Rectangle
from matplotlib.text import Text
from PIL import Image as Pillow

from nonlocal_lens.analysis import render
from nonlocal_lens.analysis.figures.look import SMALL, Look
from nonlocal_lens.analysis.figures.panels import Image, MapPanel, Panel, PhotoPanel, Quantity
from nonlocal_lens.analysis.figures.scales import SIGNED_COLORMAP

LINE = 0.06
"""Rules are this share of the text's size wide."""

MARK_SHARE = 0.18
"""Marks are as large as the text, but on small panels at most this share of their width."""

CORNER_SHARE = 0.06
"""Words in a panel's corner are at most this share of its width high."""

MARKS: dict[str, dict[str, Any]] = {
    "plus": {"marker": "+", "markersize": 0.85},
    "cross": {"marker": "x", "markersize": 0.7},
    "circle": {"marker": "o", "markersize": 0.75, "markerfacecolor": "none"},
    "ring": {"marker": "o", "markersize": 1.7, "markerfacecolor": "none"},  # the object stays seen
    "dot": {"marker": "o", "markersize": 0.4, "markerfacecolor": "white"},
}


def draw_picture(
    ax: Axes, panel: Panel, norm: Normalize | None, look: Look, pixels: tuple[int, int]
) -> AxesImage:
    """Draw what a panel shows; `pixels` is the size (width, height) it will have on paper."""
    if isinstance(panel, PhotoPanel):
        height, width = panel.picture.shape[:2]
        return ax.imshow(
            values_or_picture(panel, pixels),
            extent=(0, width, height, 0),
            interpolation="nearest",
        )
    left, top, right, bottom = panel.extent
    return ax.imshow(
        panel.values,
        extent=(left, right, bottom, top),
        norm=norm,
        cmap=color_map(panel.quantity, look),
        alpha=opacity(panel, look),
        interpolation="nearest",
    )


def opacity(panel: MapPanel, look: Look) -> float | Float[np.ndarray, "rows cols"] | None:
    """Return the opacity of a map: of each cell where some are no token, which stay empty."""
    if panel.missing is not None:
        return np.where(panel.missing, 0.0, look.alpha)
    return None if look.alpha == 1 else look.alpha


def draw_backdrop(ax: Axes, image: Image, look: Look, pixels: tuple[int, int]) -> AxesImage | None:
    """Lay the photograph under a map, if the look asks for one."""
    if look.backdrop == "none":
        return None
    height, width = image.shape[:2]
    photo = backdrop_pixels(image, look, pixels)
    return ax.imshow(photo, extent=(0, width, height, 0), interpolation="nearest")


def backdrop_pixels(
    image: Image, look: Look, pixels: tuple[int, int]
) -> UInt8[np.ndarray, "rows cols 3"]:
    """Return the photograph as it lies under a map."""
    photo = shrunk(image, pixels, smooth=True)
    if look.backdrop == "gray":
        photo = np.repeat(np.asarray(Pillow.fromarray(photo).convert("L"))[..., None], 3, axis=2)
    return photo


def draw_corner(ax: Axes, words: str, look: Look, *, at_top: bool = False) -> Text:
    """Write words into the lower, or the upper, left corner of a panel, white on black."""
    size = SMALL * min(look.sheet.font_size, CORNER_SHARE * ax.bbox.width / ax.figure.dpi * 72)
    return ax.text(
        0.02,
        0.98 if at_top else 0.02,
        words,
        va="top" if at_top else "baseline",
        transform=ax.transAxes,
        fontsize=size,
        family=look.family,
        color="white",
        parse_math=False,
        path_effects=[patheffects.withStroke(linewidth=0.25 * size, foreground="black")],
    )


def draw_letter(ax: Axes, letter: str, look: Look) -> Text:
    """Write a panel's letter into its upper left corner, as papers refer to it."""
    text = draw_corner(ax, f"({letter})", look)
    text.set(position=(0.02, 0.98), va="top")
    return text


def draw_marks(ax: Axes, panel: Panel, look: Look) -> list[Artist]:
    """Mark the query of a panel, or name it, and point from it to its strongest keys."""
    if panel.token:
        return [draw_corner(ax, f"query: {panel.token}", look, at_top=True)]
    if panel.query is None:
        return []
    width = ax.bbox.width / ax.figure.dpi * 72
    size = min(look.sheet.font_size, MARK_SHARE * width)  # points
    line = 0.13 * size
    halo = [patheffects.withStroke(linewidth=2.1 * line, foreground="black")]
    marks: list[Artist] = []
    for end in panel.strongest:
        arrow = FancyArrowPatch(
            panel.query,
            end,
            arrowstyle="-|>",
            mutation_scale=0.5 * size,
            shrinkA=0,
            shrinkB=0,
            linewidth=0.5 * line,
            color="white",
            path_effects=[patheffects.withStroke(linewidth=1.3 * line, foreground="black")],
            clip_on=True,
        )
        marks.append(ax.add_patch(arrow))
    if look.marker == "cell" and panel.cell is not None:
        x, y, width, height = panel.cell
        box = Rectangle(
            (x, y), width, height, fill=False, color="white", lw=0.7 * line, path_effects=halo
        )
        marks.append(ax.add_patch(box))
    elif look.marker in MARKS:
        style = MARKS[look.marker]
        marks += ax.plot(
            *panel.query,
            linestyle="none",
            color="white",
            markeredgewidth=line,
            path_effects=halo,
            **{**style, "markersize": style["markersize"] * size},
        )
    return marks


def frame(ax: Axes, image_hw: tuple[int, int]) -> None:
    """Show exactly the image's area, without ticks and lines."""
    ax.set(xlim=(0, image_hw[1]), ylim=(image_hw[0], 0))
    ax.set_axis_off()


def style_ticks(axis: Axis, look: Look, *, pad: float) -> None:
    """Let the ticks of an axis look like the rest of a figure; `pad` is in text sizes."""
    size = look.sheet.font_size
    axis.set_tick_params(
        labelsize=SMALL * size,
        labelfontfamily=look.family,
        labelcolor=look.sheet.ink,
        color=look.sheet.faint,
        width=LINE * size,
        length=0.25 * size,
        pad=pad * size,
    )


def color_map(quantity: Quantity, look: Look) -> Colormap:
    """Return the colors of a quantity's values."""
    return render.color_map(SIGNED_COLORMAP if quantity.signed else look.colormap)


def shrunk(
    picture: Image, pixels: tuple[int, int], *, smooth: bool
) -> UInt8[np.ndarray, "rows cols 3"]:
    """Return a picture at most `pixels` (width, height) large; more cannot be seen on paper."""
    height, width = picture.shape[:2]
    if width <= pixels[0] or height <= pixels[1]:
        return picture
    method = Pillow.Resampling.LANCZOS if smooth else Pillow.Resampling.NEAREST
    return np.asarray(Pillow.fromarray(picture).resize(pixels, method))


def values_or_picture(panel: Panel, pixels: tuple[int, int]) -> np.ndarray:
    """Return the array that a panel's image holds."""
    if isinstance(panel, MapPanel):
        return panel.values
    return shrunk(panel.picture, pixels, smooth=not panel.classes)
