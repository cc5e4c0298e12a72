"""A clip on paper and as a video: a column per frame, one scale, arrows from frame to frame."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.patches import ConnectionPatch

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.figures.color_bar import bar_label, draw_bar
from nonlocal_lens.analysis.figures.drawing import draw_backdrop, draw_marks, draw_picture, frame
from nonlocal_lens.analysis.figures.files import PrintFigure
from nonlocal_lens.analysis.figures.layout import Box, Furniture, grid_layout
from nonlocal_lens.analysis.figures.look import SMALL, Look
from nonlocal_lens.analysis.figures.panels import MapPanel, Panel, Shown, frame_rows
from nonlocal_lens.analysis.figures.paper import maps_of
from nonlocal_lens.analysis.figures.plate import Ranges
from nonlocal_lens.analysis.figures.scales import color_ranges
from nonlocal_lens.analysis.figures.text import fit, text_width, wrap
from nonlocal_lens.analysis.figures.token_lines import draw_token_lines, lines_height, token_lines
from nonlocal_lens.analysis.over_time import strongest_arrows, temporal_mass
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.scene import Place, Point, middle_frame
from nonlocal_lens.app.export.formats import Note
from nonlocal_lens.app.export.movie import Movie, overlay_look
from nonlocal_lens.app.export.scene import Subject

ABREAST = 8
"""Frames side by side; more begin another band below."""

MOST_SHOWN = 32
"""Of longer clips so many frames are shown, evenly spread."""

CORNERS = " In the corners: the frame's share of the query's attention."


@dataclass(frozen=True, eq=False)
class Strip:
    """One query of a clip: what its contact sheet and its video show."""

    subject: Subject
    place: Place
    shown: tuple[Shown, ...]
    rows: list[list[Panel]]  # of every frame
    ranges: Ranges
    look: Look

    @property
    def movie(self) -> Movie:
        """The clip as a video, every frame with its maps."""
        clip = self.subject.clip
        times, fps = clip.times.tolist(), clip.fps
        corners = _corners(self.subject, self.place, self.shown)
        return Movie(
            self.rows, clip.frames, corners, self.ranges, self.look, self.caption, times, fps
        )

    @property
    def figure(self) -> PrintFigure:
        """The contact sheet; ValueError if it is too narrow for its frames."""
        clip, shown = self.subject.clip, shown_frames(len(self.rows), self.place.frame)
        return sheet_figure(
            [self.rows[index] for index in shown],
            clip.frames[shown],
            [f"{index} · {clip.times[index]:.2f} s" for index in shown],
            self.ranges,
            self.look,
            self.caption.removesuffix(CORNERS),
            _arrows(self.subject, self.place, self.look.arrows, shown),
        )

    def file(self, kind: str, *, note: Note) -> bytes:
        """Return the contact sheet as a file."""
        return self.figure.file(kind, note=note)

    @property
    def caption(self) -> str:
        """Which query of which clip this is, in words."""
        clip, place = self.subject.clip, self.place
        words = (
            f"{clip.name}: query in frame {place.frame} ({clip.times[place.frame]:.2f} s) "
            f"{f'token {place.token}' if place.token else f'at {place.words}'}"
        )
        words += ", followed by optical flow" if self.subject.scene.flow is not None else ""
        rate = f", {clip.fps:.3g} a second" if len(clip) > 1 and isfinite(clip.fps) else ""
        words = f"{words}. {len(clip)} frames{rate}."
        if any(over.of_clips for over in self.subject.scene.records.values()):
            words += CORNERS
        return words


def strips(subject: Subject, shown: Sequence[Shown], look: Look) -> list[Strip]:
    """Return the strip of every query of a clip; all have one scale.

    Args:
        subject: The clip.
        shown: Any of `DEFAULT_SHOWN`: the rows of the sheet, the maps for every network.
        look: See `analysis.figures.Look`; its scale must be one for all frames.
    """
    every = [frame_rows(subject.scene, place, shown) for place in subject.places]
    ranges = color_ranges(maps_of([row for rows in every for row in rows]), look.scale)
    return [
        Strip(subject, place, tuple(shown), rows, ranges, look)
        for place, rows in zip(subject.places, every, strict=True)
    ]


def _corners(subject: Subject, place: Place, shown: Sequence[Shown]) -> list[list[str]]:
    """Return what stands in every panel: the time, or the frame's share of the attention."""
    scene, frames = subject.scene, range(len(subject.clip))
    times = [f"frame {index} · {time:.2f} s" for index, time in enumerate(subject.clip.times)]
    columns: list[list[str]] = [times for name in shown if name == "input"]
    for over in scene.records.values():
        for name in shown:
            if name == "input":
                continue
            column = [""] * len(frames)
            if over.of_clips:
                record, query = over.query(place)
                at = [over.key_frame(record, index) for index in frames]
                shares = _shares(scene.viewed(record), query, name)
                column = ["not looked at" if one is None else shares[one] for one in at]
            elif name == "whole":
                column = ["" if point else "query lost" for point in scene.path(place)]
            columns.append(column)
    return [list(row) for row in zip(*columns, strict=True)]


def _shares(record: AttentionRecord, query: int, name: Shown) -> list[str]:
    """Return the share of a row that every frame of the keys has; nothing where rows have none."""
    if record.signed:
        return [""] * record.key_grid.frames
    mass = temporal_mass(record, [query], name)[0]  # type: ignore[arg-type]
    whole = terms.attention(record, [query], name)[0].sum().double()  # type: ignore[arg-type]
    return [f"{100 * share:.1f} %" for share in (mass / whole).tolist()]


def _arrows(subject: Subject, place: Place, count: int, shown: list[int]) -> list["SpaceTimeArrow"]:
    """Return arrows to the strongest keys of the first network, if it looks at whole clips."""
    over, frames = subject.scene.first, len(subject.clip)
    if not count or place.token or not over.of_clips or place.frame not in shown:
        return []
    record, query = over.query(place)
    found = []
    viewed = subject.scene.viewed(record)
    for arrow in strongest_arrows(viewed, query, count, distinct=True):
        middle = middle_frame(record.key_grid, arrow.cell.frame, frames)
        nearest = min(range(len(shown)), key=lambda at: abs(shown[at] - middle))
        start = shown.index(place.frame)
        found.append(SpaceTimeArrow(start, (place.x, place.y), nearest, (arrow.x, arrow.y)))
    return found


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
        Furniture(
            em,
            token_height=lines_height(token_lines([panel for row in rows for panel in row]), em),
            bar_lines=len(ranges),
            caption_lines=len(captions),
        ),
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
            below = Box(box.x, box.y + box.height, box.width, 0.0)
            draw_token_lines(figure, (look.width, height), below, panel, norm, look)
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
