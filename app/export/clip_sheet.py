"""A clip as a film strip on paper: a column per frame, one scale, arrows from frame to frame."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.patches import ConnectionPatch

from analysis.figures.color_bar import bar_label, draw_bar
from analysis.figures.drawing import draw_backdrop, draw_marks, draw_picture, frame
from analysis.figures.files import PrintFigure
from analysis.figures.layout import Box, Furniture, grid_layout
from analysis.figures.look import SMALL, Look
from analysis.figures.panels import MapPanel, Panel, Point
from analysis.figures.plate import Ranges
from analysis.figures.text import fit, text_width, wrap
from app.export.clip_movie import overlay_look

ABREAST = 8
"""Frames side by side; more begin another band below."""

MOST_SHOWN = 32
"""Of longer clips so many frames are shown, evenly spread."""


class SpaceTimeArrow(NamedTuple):
    """From the query to a key in some frame."""

    from_frame: int
    start: Point
    to_frame: int
    end: Point


def shown_frames(frames: int, query_frame: int) -> list[int]:
    """Return which frames are shown; the query's is among them."""
    if frames <= MOST_SHOWN:
        return list(range(frames))
    chosen = np.linspace(0, frames - 1, MOST_SHOWN).round().astype(int)
    chosen[np.abs(chosen - query_frame).argmin()] = query_frame
    return [int(frame) for frame in chosen]


def sheet_figure(
    rows: Sequence[Sequence[Panel]],
    photos: UInt8[np.ndarray, "frames height width 3"],
    labels: Sequence[str],
    ranges: Ranges,
    look: Look,
    caption: str,
    arrows: Sequence[SpaceTimeArrow] = (),
) -> PrintFigure:
    """Draw a film strip.

    Args:
        rows: The panels of every frame that is shown.
        photos: The frames, which lie under the maps.
        labels: What stands over every frame.
        ranges: The color range of every quantity: one for all frames.
        look: How it looks.
        caption: Words under the strip.
        arrows: Drawn over the first row of panels; frames are counted among those shown.

    Raises:
        ValueError: The figure is too narrow for its frames.
    """
    look = overlay_look(look)
    em, small = look.sheet.font_size / 72, SMALL * look.sheet.font_size
    names = [[part for part in (panel.group, panel.title) if part] for panel in rows[0]]
    name_lines = max(map(len, names))
    abreast = min(ABREAST, len(rows))
    bands = -(-len(rows) // abreast)
    margin = (0.6 + name_lines) * em
    captions = wrap(caption, small, look.family, look.width) if caption else []
    aspect = photos.shape[1] / photos.shape[2]
    layout = grid_layout(
        [("", " ")] * abreast,
        [aspect] * (bands * len(names)),
        Furniture(em, bar_lines=len(ranges), caption_lines=len(captions)),
        look.width - margin,
    )
    label_height = 1.4 * em  # over every band but the first, whose is in the layout
    extra = (bands - 1) * label_height
    height = layout.height + extra
    size = [round(side * look.dpi) / look.dpi for side in (look.width, height)]
    figure = PrintFigure(figsize=(size[0], size[1]), dpi=look.dpi, facecolor=look.sheet.ground)

    def write(x: float, y: float, words: str, size: float, **options: object) -> None:
        figure.text(
            x / look.width,
            1 - y / height,
            words,
            fontsize=size,
            family=look.family,
            parse_math=False,  # names of files and networks may hold a dollar sign
            **{"ha": "center", "va": "center", "color": look.sheet.ink, **options},  # type: ignore[arg-type]
        )

    def add_axes(box: Box) -> Axes:
        box = box.snapped(look.dpi)
        return figure.add_axes(
            (
                box.x / look.width,
                1 - (box.y + box.height) / height,
                box.width / look.width,
                box.height / height,
            )
        )

    room = layout.panels[0][0].height
    name_size = min(fit(part, small, look.family, room)[1] for name in names for part in name)
    first_axes: list[Axes] = []
    for number, (row, photo, label) in enumerate(zip(rows, photos, labels, strict=True)):
        band, column = divmod(number, abreast)
        for line, panel in enumerate(row):
            placed = layout.panels[band * len(names) + line][column]
            box = Box(
                placed.x + margin, placed.y + band * label_height, placed.width, placed.height
            )
            if line == 0:
                words, fitted = fit(label, small, look.family, box.width)
                write(box.x + box.width / 2, box.y - 0.75 * em, words, fitted)
            if column == 0:
                parts = [fit(part, small, look.family, box.height)[0] for part in names[line]]
                x = (0.2 + 0.5 * name_lines) * em
                write(x, box.y + box.height / 2, "\n".join(parts), name_size, rotation=90)
            ax = add_axes(box)
            pixels = round(box.width * look.dpi), round(box.height * look.dpi)
            if isinstance(panel, MapPanel):
                draw_backdrop(ax, photo, look, pixels)
            norm = ranges[panel.quantity].norm if isinstance(panel, MapPanel) else None
            draw_picture(ax, panel, norm, look, pixels)
            ax.set_aspect("auto")
            frame(ax, (photo.shape[0], photo.shape[1]))
            draw_marks(ax, panel, look)
            if line == 0:
                first_axes.append(ax)
    _draw_arrows(figure, first_axes, arrows, look)
    for y, color_range in zip(layout.bars_y, ranges.values(), strict=True):
        label = bar_label(color_range, look)
        width = min(0.8 * look.width, max(31 * em, text_width(label, small, look.family) + 2 * em))
        bar = Box((look.width - width) / 2, y + extra, width, 0.85 * em)
        draw_bar(add_axes(bar), color_range, look, label)
    for line, words in enumerate(captions):
        write(0, layout.caption_y + extra + 1.35 * em * line, words, small, ha="left", va="top")
    return figure


def _draw_arrows(
    figure: PrintFigure, axes: Sequence[Axes], arrows: Sequence[SpaceTimeArrow], look: Look
) -> None:
    line = 0.06 * look.sheet.font_size
    for arrow in arrows:
        patch = ConnectionPatch(
            arrow.start,
            arrow.end,
            coordsA=axes[arrow.from_frame].transData,
            coordsB=axes[arrow.to_frame].transData,
            arrowstyle="-|>",
            mutation_scale=0.5 * look.sheet.font_size,
            shrinkA=0,
            shrinkB=0,
            linewidth=line,
            color="white",
            path_effects=[patheffects.withStroke(linewidth=2.6 * line, foreground="black")],
        )
        figure.add_artist(patch)
