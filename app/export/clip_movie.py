"""A clip with its maps beside it, frame by frame, as pictures for a video."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache

import cv2
import numpy as np
from jaxtyping import Bool, Int, UInt8
from matplotlib import font_manager
from PIL import Image, ImageDraw, ImageFont

from analysis.figures.drawing import color_map, shrunk
from analysis.figures.files import rgb
from analysis.figures.look import Look
from analysis.figures.panels import MapPanel, Panel, PhotoPanel
from analysis.figures.plate import Plate, Ranges

Picture = UInt8[np.ndarray, "height width 3"]

SCREEN = 0.5
"""Videos have this share of the resolution of print: 1012 pixels across at 300 dpi."""

LEAST_LABEL = 11  # pixels


def overlay_look(look: Look) -> Look:
    """Return the look of clips: maps lie over the gray frame unless a backdrop is asked for."""
    return replace(look, backdrop="grey") if look.backdrop == "none" else look


def movie_pictures(
    rows: Sequence[Sequence[Panel]],
    photos: UInt8[np.ndarray, "frames height width 3"],
    labels: Sequence[Sequence[str]],
    ranges: Ranges,
    look: Look,
    caption: str,
) -> Iterator[Picture]:
    """Yield a picture for every frame; headings, color bar and caption are drawn once.

    Args:
        rows: The panels of every frame.
        photos: The frames, which lie under the maps.
        labels: What stands in the corner of every panel of every frame; empty for nothing.
        ranges: The color range of every quantity: one for all frames.
        look: How it looks.
        caption: Words under the pictures.
    """
    look = replace(overlay_look(look), dpi=max(50, round(SCREEN * look.dpi)))
    plate = Plate([rows[0]], ranges, look, [photos[0]], caption=caption)
    ground = rgb(plate.figure.get_figure(root=True))
    (boxes,) = plate.panel_pixels
    for row, photo, words in zip(rows, photos, labels, strict=True):
        picture = ground.copy()
        for (x, y, width, height), panel, label in zip(boxes, row, words, strict=True):
            box = picture[y : y + height, x : x + width]  # whole pixels may end at the edge
            size = box.shape[1], box.shape[0]
            box[:] = painted(panel, photo, size, ranges, look, label)
        yield picture


def painted(
    panel: Panel, photo: Picture, size: tuple[int, int], ranges: Ranges, look: Look, label: str
) -> Picture:
    """Return a panel as pixels of a size (width, height), with its mark and its label."""
    picture = cv2.resize(shrunk(photo, size, smooth=True), size, interpolation=cv2.INTER_LINEAR)
    scale = size[0] / photo.shape[1], size[1] / photo.shape[0]
    if isinstance(panel, MapPanel):
        if look.backdrop == "grey":
            gray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
            picture = cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB)
        norm = ranges[panel.quantity].norm
        assert norm is not None  # clips have one scale for all frames
        values = np.ma.masked_invalid(panel.values)
        colors = color_map(panel.quantity, look)(norm(values))[..., :3] * 255
        rows, columns, inside = _cells_under(panel, photo, size)
        flat = colors[rows[:, None], columns[None]]
        mixed = np.rint((1 - look.alpha) * picture + look.alpha * flat).astype(np.uint8)
        picture = np.where(inside[..., None], mixed, picture)
    elif isinstance(panel, PhotoPanel) and panel.group:  # a map that is not there
        gray = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        picture = cv2.cvtColor(gray, cv2.COLOR_GRAY2RGB)
    picture = np.ascontiguousarray(picture)
    if panel.query is not None and look.marker != "none":
        _mark(picture, panel, scale, look.marker)
    return _written(picture, label, look) if label else picture


def _cells_under(
    panel: MapPanel, photo: Picture, size: tuple[int, int]
) -> tuple[Int[np.ndarray, " height"], Int[np.ndarray, " width"], Bool[np.ndarray, "height width"]]:
    """Return the row and the column of the cell under every pixel, and where there is one.

    As in `analysis.grid`: pixels that no moved cell covers belong to the nearest one.
    """
    left, top, right, bottom = panel.extent
    found = []
    for start, end, cells, whole, pixels in (
        (top, bottom, panel.values.shape[0], photo.shape[0], size[1]),
        (left, right, panel.values.shape[1], photo.shape[1], size[0]),
    ):
        at = (np.arange(pixels) + 0.5) * whole / pixels
        index = np.floor((at - start) / (end - start) * cells).astype(int)
        found.append((index.clip(0, cells - 1), at < end - start))
    (rows, down), (columns, across) = found
    return rows, columns, down[:, None] & across[None]


def _mark(picture: Picture, panel: Panel, scale: tuple[float, float], marker: str) -> None:
    """Draw the query's mark, white on black, with parts of a pixel kept."""
    assert panel.query is not None
    shift = 4  # OpenCV takes coordinates in 1 / 2^shift pixels
    x, y = (
        round((part * factor - 0.5) * 2**shift)
        for part, factor in zip(panel.query, scale, strict=True)
    )
    radius = max(5, picture.shape[1] // 32) * 2**shift
    for color, thickness in (((0, 0, 0), 4), ((255, 255, 255), 2)):
        if marker == "cell" and panel.cell is not None:
            left, top, width, height = panel.cell
            corners = [
                (round(px * scale[0]), round(py * scale[1]))
                for px, py in ((left, top), (left + width, top + height))
            ]
            cv2.rectangle(picture, corners[0], corners[1], color, thickness // 2, cv2.LINE_AA)
        elif marker in ("circle", "dot"):
            filled = marker == "dot" and thickness == 2
            size = radius // 2 if marker == "dot" else radius
            cv2.circle(
                picture, (x, y), size, color, -1 if filled else thickness, cv2.LINE_AA, shift
            )
        else:
            turned = marker == "cross"
            ends = [(radius, radius), (radius, -radius)] if turned else [(radius, 0), (0, radius)]
            for dx, dy in ends:
                one, other = (x - dx, y - dy), (x + dx, y + dy)
                cv2.line(picture, one, other, color, thickness, cv2.LINE_AA, shift)


def _written(picture: Picture, label: str, look: Look) -> Picture:
    """Return a picture with words in its lower left corner."""
    size = max(LEAST_LABEL, picture.shape[1] // 20)
    image = Image.fromarray(picture)
    ImageDraw.Draw(image).text(
        (size // 2, picture.shape[0] - size // 3),
        label,
        font=_font(look.family, size),
        fill="white",
        stroke_width=max(1, size // 9),
        stroke_fill="black",
        anchor="ls",
    )
    return np.asarray(image)


@lru_cache(maxsize=16)
def _font(family: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(font_manager.findfont(family), size)
