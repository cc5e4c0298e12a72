"""A grid of panels drawn with its headings, color bars, legend and caption."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure, SubFigure
from matplotlib.image import AxesImage
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle
from matplotlib.text import Text

from nonlocal_lens.analysis.figures.color_bar import bar_label, draw_bar
from nonlocal_lens.analysis.figures.drawing import (
    LINE,
    backdrop_pixels,
    draw_backdrop,
    draw_corner,
    draw_letter,
    draw_marks,
    draw_picture,
    frame,
    opacity,
    values_or_picture,
)
from nonlocal_lens.analysis.figures.files import PrintFigure, figure_bytes, png_bytes, printing
from nonlocal_lens.analysis.figures.layout import Box, Furniture, GridLayout, grid_layout
from nonlocal_lens.analysis.figures.look import SMALL, Look
from nonlocal_lens.analysis.figures.panels import (
    Image,
    MapPanel,
    Panel,
    PhotoPanel,
    Quantity,
    Shade,
)
from nonlocal_lens.analysis.figures.scales import ColorRange, own_norm
from nonlocal_lens.analysis.figures.text import fit, text_width, wrap
from nonlocal_lens.analysis.figures.token_lines import draw_token_lines, lines_height, token_lines

AnyFigure = Figure | SubFigure
Rows = Sequence[Sequence[Panel]]
Ranges = Mapping[Quantity, ColorRange]

SWATCH = 0.9  # side of a legend's color, in ems
MOST_IN_LEGEND = 24


@dataclass
class _Slot:
    """A panel's place on the plate and what can be exchanged in it."""

    panel: Panel
    ax: Axes
    pixels: tuple[int, int]
    image_hw: tuple[int, int]
    backdrop: AxesImage | None
    picture: AxesImage
    marks: list[Artist]
    under: Text | None
    corner: Text | None
    lines_at: Box  # where what lies off the picture is told
    lines: list[Artist]


class Plate:
    """A drawn grid of panels, whose pictures can be exchanged without drawing the rest again.

    Args:
        rows: Panels; titles and headings are those of the first row.
        ranges: The color range of every quantity among the panels.
        look: How everything looks.
        images: The photograph of each row, for its backdrop and its size.
        figure: What to draw in, as large as it is; a new figure of the look's width if None.
        caption: Words under the figure.
        letters: Whether panels are lettered from a on, row by row.
        names: Of the rows, written into the corner of their first panel.
        corners: Words in the corner of every panel, of a film: its photographs change, too.

    Attributes:
        figure: What was drawn in.
    """

    def __init__(
        self,
        rows: Rows,
        ranges: Ranges,
        look: Look,
        images: Sequence[Image],
        *,
        figure: AnyFigure | None = None,
        caption: str = "",
        corners: Sequence[Sequence[str]] | None = None,
        letters: bool = False,
        names: Sequence[str] = (),
    ) -> None:
        self._look = look
        self._film = corners is not None
        self._ranges = ranges
        self._em = look.sheet.font_size / 72
        self._legend = _classes_shown(rows)
        size = None if figure is None else _inches(figure)
        width = look.width if size is None else size[0]
        self._bars_abreast = self._fit_abreast(width)
        captions = wrap(caption, self._small, look.family, width) if caption else []
        bars = len(ranges)
        lines = token_lines([panel for row in rows for panel in row])
        furniture = Furniture(
            em=self._em,
            token_height=lines_height(lines, self._em),
            under_panels=look.scale.kind == "per-map" and bool(ranges),
            bar_lines=min(bars, 1) if self._bars_abreast else bars,
            legend_lines=len(self._legend_lines(width)),
            caption_lines=len(captions),
        )
        layout = grid_layout(
            [(panel.group, panel.title) for panel in rows[0]],
            [image.shape[0] / image.shape[1] for image in images],
            furniture,
            width,
            None if size is None else size[1],
        )
        if figure is None:
            whole_pixels = [round(side * look.dpi) / look.dpi for side in (width, layout.height)]
            figure = PrintFigure(figsize=(whole_pixels[0], whole_pixels[1]), dpi=look.dpi)
            figure.patch.set_facecolor(look.sheet.ground)
        self.figure = figure
        self._background: Any = None  # what stays when pictures are exchanged, once it was drawn
        self._layout = layout
        self._slots = [
            [
                self._slot(box, panel, image, furniture.under_panels)
                for box, panel in zip(boxes, row, strict=True)
            ]
            for boxes, row, image in zip(layout.panels, rows, images, strict=True)
        ]
        if corners is not None:
            for slots, words in zip(self._slots, corners, strict=True):
                for slot, word in zip(slots, words, strict=True):
                    slot.corner = draw_corner(slot.ax, word, look)
        for slots, name in zip(self._slots, names, strict=False):
            slots[0].corner = draw_corner(slots[0].ax, name, look)
        if letters:
            every = [slot for slots in self._slots for slot in slots]
            for number, slot in enumerate(every):
                draw_letter(slot.ax, letter_of(number), look)
        self._draw_headings(rows[0])
        self._draw_bars()
        self._draw_legend()
        for line, words in enumerate(captions):
            y = layout.caption_y + 1.35 * self._em * line
            self._text(0, y, words, self._small, ha="left", va="top")

    def show(self, rows: Rows, names: Sequence[str] = ()) -> None:
        """Exchange what the panels show of the same photographs, and the rows' names."""
        for slots, name in zip(self._slots, names, strict=False):
            if slots[0].corner is not None:
                slots[0].corner.set_text(name)
        for slots, row in zip(self._slots, rows, strict=True):
            for slot, panel in zip(slots, row, strict=True):
                self._exchange(slot, panel)

    def show_frame(
        self, row: Sequence[Panel], image: Image, corners: Sequence[str]
    ) -> UInt8[np.ndarray, "rows cols 3"]:
        """Exchange the photograph, too, and return the pixels: the next picture of a film."""
        for slot, panel, words in zip(self._slots[0], row, corners, strict=True):
            if slot.backdrop is not None:
                slot.backdrop.set_data(backdrop_pixels(image, self._look, slot.pixels))
            self._exchange(slot, panel)
            assert slot.corner is not None
            slot.corner.set_text(words)
        figure = self.figure.get_figure(root=True)
        assert isinstance(figure, Figure)
        with printing():
            return self._pixels(figure).copy()

    def _exchange(self, slot: _Slot, panel: Panel) -> None:
        if isinstance(panel, MapPanel) != isinstance(slot.panel, MapPanel):
            slot.picture.remove()
            slot.picture = draw_picture(slot.ax, panel, self._norm(panel), self._look, slot.pixels)
            slot.ax.set_aspect("auto")
            frame(slot.ax, slot.image_hw)
            self._background = None
        elif isinstance(panel, MapPanel):
            slot.picture.set_data(panel.values)
            slot.picture.set_norm(self._norm(panel))
            slot.picture.set_alpha(opacity(panel, self._look))
        elif isinstance(slot.panel, PhotoPanel) and panel.picture is not slot.panel.picture:
            slot.picture.set_data(values_or_picture(panel, slot.pixels))
            if not self._film:
                self._background = None
        slot.panel = panel
        if slot.under is not None:
            slot.under.set_text(self._least_and_greatest(panel))
        for artist in (*slot.marks, *slot.lines):
            artist.remove()
        slot.marks = draw_marks(slot.ax, panel, self._look)
        slot.lines = self._lines(slot.lines_at, panel)

    def file(self, kind: str, *, note: dict[str, Any]) -> bytes:
        """Return what the plate shows as a file; see `figure_bytes`."""
        figure = self.figure.get_figure(root=True)
        assert isinstance(figure, Figure)
        if kind == "png":
            with printing():
                pixels = self._pixels(figure)
            return png_bytes(pixels, figure.dpi, note=note)
        return figure_bytes(figure, kind, note=note)

    def _pixels(self, figure: Figure) -> UInt8[np.ndarray, "height width 3"]:
        """Draw what can be exchanged over the rest, which is drawn once."""
        moving = [
            (slot.ax, artist)
            for row in self._slots
            for slot in row
            for artist in [
                *([slot.backdrop] if self._film and slot.backdrop is not None else []),
                *([slot.picture] if self._film or isinstance(slot.panel, MapPanel) else []),
                *slot.marks,
                *([slot.under] if slot.under is not None else []),
                *([slot.corner] if slot.corner is not None else []),
                *slot.lines,
            ]
        ]
        if self._background is None:
            for _, artist in moving:
                artist.set_visible(False)
            self._canvas = FigureCanvasAgg(figure)
            self._canvas.draw()
            self._background = self._canvas.copy_from_bbox(figure.bbox)
            for _, artist in moving:
                artist.set_visible(True)
        self._canvas.restore_region(self._background)
        for _, artist in moving:
            artist.draw(self._canvas.get_renderer())
        return np.ascontiguousarray(np.asarray(self._canvas.buffer_rgba())[..., :3])

    # ------------------------------------------------------------------ panels

    @property
    def panel_pixels(self) -> list[list[tuple[int, int, int, int]]]:
        """The x, y, width and height of every panel in the pixels of the drawn figure."""
        dpi = self._look.dpi
        boxes = [[box.snapped(dpi) for box in row] for row in self._layout.panels]
        return [
            [
                (round(b.x * dpi), round(b.y * dpi), round(b.width * dpi), round(b.height * dpi))
                for b in row
            ]
            for row in boxes
        ]

    def _slot(self, box: Box, panel: Panel, image: Image, under: bool) -> _Slot:
        snapped = box.snapped(self._look.dpi)
        pixels = round(snapped.width * self._look.dpi), round(snapped.height * self._look.dpi)
        ax = self.figure.add_axes(self._fractions(snapped))
        backdrop = None
        if isinstance(panel, MapPanel) or self._film:
            backdrop = draw_backdrop(ax, image, self._look, pixels)
        picture = draw_picture(ax, panel, self._norm(panel), self._look, pixels)
        ax.set_aspect("auto")  # the box has the image's aspect, up to whole pixels
        frame(ax, (image.shape[0], image.shape[1]))
        words = None
        if under:
            words = self._text(
                box.x + box.width / 2,
                box.y + box.height + 0.15 * self._em,
                self._least_and_greatest(panel),
                fit("0.0000 to 0.0000", self._small, self._look.family, box.width)[1],
                va="top",
                color=self._look.sheet.faint,
            )
        marks = draw_marks(ax, panel, self._look)
        size = image.shape[0], image.shape[1]
        below = box.y + box.height + (1.25 * self._em if under else 0.0)
        lines_at = Box(box.x, below, box.width, 0.0)
        lines = self._lines(lines_at, panel)
        return _Slot(
            panel, ax, pixels, size, backdrop, picture, marks, words, None, lines_at, lines
        )

    def _lines(self, at: Box, panel: Panel) -> list[Artist]:
        size = self._layout.width, self._layout.height
        return draw_token_lines(self.figure, size, at, panel, self._norm(panel), self._look)

    def _norm(self, panel: Panel) -> Normalize | None:
        if isinstance(panel, PhotoPanel):
            return None
        return self._ranges[panel.quantity].norm or own_norm(panel)

    def _least_and_greatest(self, panel: Panel) -> str:
        if isinstance(panel, PhotoPanel):
            return ""
        norm = own_norm(panel)
        return f"{_short(norm.vmin)} to {_short(norm.vmax)}"

    # ------------------------------------------------------------------ words

    @property
    def _small(self) -> float:
        return SMALL * self._look.sheet.font_size

    def _draw_headings(self, panels: Sequence[Panel]) -> None:
        size, family = self._look.sheet.font_size, self._look.family
        titles = [panel.title for panel in panels]
        rooms = [box.width for box in self._layout.panels[0]]
        # one size for all titles, that of the one with the least room
        smallest = min(
            fit(title, size, family, room)[1] for title, room in zip(titles, rooms, strict=True)
        )
        for title, box, room in zip(titles, self._layout.panels[0], rooms, strict=True):
            words, _ = fit(title, smallest, family, room)
            self._text(box.x + box.width / 2, self._layout.title_y, words, smallest)
        headings = [group for group in self._layout.groups if group.heading]
        fitted = [fit(group.heading, size, family, group.width) for group in headings]
        common = min((fitted_size for _, fitted_size in fitted), default=size)
        for group in headings:
            words, _ = fit(group.heading, common, family, group.width)
            self._text(group.x + group.width / 2, self._layout.heading_y, words, common)
            y = self._layout.heading_y + 0.78 * self._em
            self._rule(group.x, group.x + group.width, y)

    def _text(self, x: float, y: float, words: str, size: float, **options: Any) -> Text:
        settings: dict[str, Any] = {
            "ha": "center",
            "va": "center",
            "color": self._look.sheet.ink,
            **options,
        }
        return self.figure.text(
            x / self._layout.width,
            1 - y / self._layout.height,
            words,
            fontsize=size,
            family=self._look.family,
            parse_math=False,  # names of files and networks may hold a dollar sign
            **settings,
        )

    def _rule(self, left: float, right: float, y: float) -> None:
        line = Line2D(
            [left / self._layout.width, right / self._layout.width],
            [1 - y / self._layout.height] * 2,
            transform=self.figure.transSubfigure,
            color=self._look.sheet.faint,
            linewidth=LINE * self._look.sheet.font_size,
        )
        self.figure.add_artist(line)

    # ------------------------------------------------------------------ color bars and legend

    def _fit_abreast(self, width: float) -> bool:
        room = width / max(1, len(self._ranges))
        return all(
            text_width(bar_label(color_range, self._look), self._small, self._look.family)
            < 0.9 * room
            for color_range in self._ranges.values()
        )

    def _draw_bars(self) -> None:
        count = len(self._ranges) if self._bars_abreast else 1
        for index, color_range in enumerate(self._ranges.values()):
            room = self._layout.width / count
            width = min(0.8 * room, 31 * self._em)
            line, column = (0, index) if self._bars_abreast else (index, 0)
            box = Box(
                column * room + (room - width) / 2,
                self._layout.bars_y[line],
                width,
                0.85 * self._em,
            )
            ax = self.figure.add_axes(self._fractions(box.snapped(self._look.dpi)))
            draw_bar(ax, color_range, self._look, bar_label(color_range, self._look))

    def _legend_lines(self, width: float) -> list[list[tuple[float, str, tuple[float, ...]]]]:
        """Return lines of (x, name, color), x in inches from the line's beginning."""
        lines: list[list[tuple[float, str, tuple[float, ...]]]] = []
        x = width
        for _, name, color in self._legend:
            step = (SWATCH + 0.4 + 1.2) * self._em + text_width(
                name, self._small, self._look.family
            )
            if x + step > width:
                lines.append([])
                x = 0.0
            lines[-1].append((x, name, tuple(part / 255 for part in color)))
            x += step
        return lines

    def _draw_legend(self) -> None:
        side = SWATCH * self._em
        for number, line in enumerate(self._legend_lines(self._layout.width)):
            y = self._layout.legend_y + 1.5 * self._em * number
            last_x, last_name, _ = line[-1]
            end = last_x + 1.3 * self._em + text_width(last_name, self._small, self._look.family)
            left = (self._layout.width - end) / 2
            for x, name, color in line:
                left_edge, bottom, width, height = self._fractions(Box(left + x, y, side, side))
                swatch = Rectangle(
                    (left_edge, bottom),
                    width,
                    height,
                    transform=self.figure.transSubfigure,
                    facecolor=color,
                    edgecolor=self._look.sheet.faint,
                    linewidth=0.04 * self._look.sheet.font_size,
                )
                self.figure.add_artist(swatch)
                self._text(
                    left + x + side + 0.4 * self._em, y + side / 2, name, self._small, ha="left"
                )

    def _fractions(self, box: Box) -> tuple[float, float, float, float]:
        layout: GridLayout = self._layout
        return (
            box.x / layout.width,
            1 - (box.y + box.height) / layout.height,
            box.width / layout.width,
            box.height / layout.height,
        )


def letter_of(number: int) -> str:
    """Return the letter of a panel, counted from 0: a to z, then aa."""
    return ("" if number < 26 else letter_of(number // 26 - 1)) + chr(ord("a") + number % 26)


def _short(value: float | None) -> str:
    """Return a number in about five letters."""
    assert value is not None
    precise = value == 0 or abs(value) >= 0.01
    return (f"{value:.3g}" if precise else f"{value:.0e}").replace("-", "\N{MINUS SIGN}")


def _classes_shown(rows: Rows) -> list[Shade]:
    shown = sorted(
        {
            shade
            for row in rows
            for panel in row
            if isinstance(panel, PhotoPanel)
            for shade in panel.classes
        }
    )
    if len(shown) <= MOST_IN_LEGEND:
        return shown
    more = len(shown) - MOST_IN_LEGEND
    return [
        *shown[:MOST_IN_LEGEND],
        Shade(shown[-1].value + 1, f"and {more} more", (255, 255, 255)),
    ]


def _inches(figure: AnyFigure) -> tuple[float, float]:
    whole = figure.get_figure(root=True)
    assert isinstance(whole, Figure)
    box = figure.bbox
    return box.width / whole.dpi, box.height / whole.dpi
