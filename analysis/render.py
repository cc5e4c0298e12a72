"""Arrays to pictures: palettes and encoded images. No torch in here."""

import io

import matplotlib
import numpy as np
from jaxtyping import UInt8
from PIL import Image

PALETTES = ("viridis", "inferno", "magma", "cividis", "turbo", "gray")
"""Color maps on offer: the first five are perceptually ordered, the last prints."""

DIVERGING_PALETTES = ("RdBu_r", "PuOr_r", "coolwarm")
"""Color maps for values of both signs: two hues that meet in a light middle, which is 0."""

MAX_SHOWN_SIDE = 1600
"""Photographs are reduced to this for the screen; what the network sees is not affected."""


def palette_table(names: tuple[str, ...] = PALETTES) -> UInt8[np.ndarray, "palettes 256 3"]:
    """Return the RGB colors of every palette, in the order of `names`."""
    levels = np.arange(256)
    tables = [matplotlib.colormaps[name].resampled(256)(levels)[:, :3] for name in names]
    colors: np.ndarray = np.rint(np.stack(tables) * 255).astype(np.uint8)
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
    return _encoded(picture, "PNG", optimize=True)


def _encoded(picture: Image.Image, format_name: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, format_name, **options)
    return buffer.getvalue()
