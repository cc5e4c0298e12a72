"""Arrays to pictures: palettes and encoded images. No torch in here."""

import io

import matplotlib
import numpy as np
from jaxtyping import Float, UInt8
from matplotlib.colors import Colormap
from PIL import Image

PALETTES = ("viridis", "inferno", "magma", "cividis", "turbo", "gray")
"""Color maps on offer: the first five are perceptually ordered, the last prints."""

DIVERGING_PALETTES = ("RdBu_r", "PuOr_r", "coolwarm")
"""Color maps for values of both signs: two hues that meet in a light middle, which is 0."""

NOT_A_NUMBER = (255, 0, 255)
"""Magenta, which is in no palette: NaN is visible, on pages, in figures and in movies."""

MAX_SHOWN_SIDE = 1600
"""Photographs are reduced to this for the screen; what the network sees is not affected."""


def palette_table(names: tuple[str, ...] = PALETTES) -> UInt8[np.ndarray, "palettes 256 3"]:
    """Return the RGB colors of every palette, in the order of `names`."""
    levels = np.arange(256)
    tables = [matplotlib.colormaps[name].resampled(256)(levels)[:, :3] for name in names]
    colors: np.ndarray = np.rint(np.stack(tables) * 255).astype(np.uint8)
    return colors


def color_map(name: str) -> Colormap:
    """Return one of matplotlib's color maps, in which NaN is visible."""
    return matplotlib.colormaps[name].with_extremes(bad=(1.0, 0.0, 1.0))


def colorize(
    values: Float[np.ndarray, "*shape"],
    low: float,
    high: float,
    palette: UInt8[np.ndarray, "256 3"],
    *,
    log: bool = False,
) -> UInt8[np.ndarray, "*shape 3"]:
    """Return the colors of values: those beyond an end have its color, NaN is `NOT_A_NUMBER`.

    `colorize` in app/viewer/color.js gives the same ones.

    Args:
        values: Anything.
        low: What has the first color of the palette; above 0 on a logarithmic scale.
        high: What has the last one.
        palette: See `palette_table`.
        log: Whether equal ratios, not equal differences, are equal steps of color.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        at = np.log(values / low) / np.log(high / low) if log else (values - low) / (high - low)
    unknown = np.isnan(values)
    level = np.where(np.isnan(at), -np.inf, at) * 255
    colors: np.ndarray = palette[(level.clip(0, 255) + 0.5).astype(int).clip(0, 255)]
    colors[unknown] = NOT_A_NUMBER
    return colors


def jpeg(image: UInt8[np.ndarray, "height width 3"]) -> bytes:
    """Return an RGB image as JPEG, at most `MAX_SHOWN_SIDE` pixels along its long side."""
    picture = Image.fromarray(image)
    picture.thumbnail((MAX_SHOWN_SIDE, MAX_SHOWN_SIDE))
    return _encoded(picture, "JPEG", quality=92)


def indexed_png(
    labels: UInt8[np.ndarray, "height width"], colors: UInt8[np.ndarray, "classes 3"]
) -> bytes:
    """Return class indices as a palette PNG in the classes' colors."""
    picture = Image.fromarray(labels)
    picture.putpalette(colors.tobytes())
    return _encoded(picture, "PNG")


def _encoded(picture: Image.Image, format_name: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format_name, **options)
    return buffer.getvalue()
