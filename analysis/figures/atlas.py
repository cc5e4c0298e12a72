"""All heads of a network on one sheet: a map and a number for each, in rows by layer."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from matplotlib.axes import Axes

from nonlocal_lens.analysis.atlas import HEAD_STATISTICS, HeadMap, MeasuredHead, Order, arranged
from nonlocal_lens.analysis.catalog import STATISTICS
from nonlocal_lens.analysis.figures.color_bar import bar_label, draw_bar
from nonlocal_lens.analysis.figures.drawing import color_map
from nonlocal_lens.analysis.figures.files import PrintFigure
from nonlocal_lens.analysis.figures.look import SMALL, Look
from nonlocal_lens.analysis.figures.panels import ATTENTION, LOGIT, MapPanel, Quantity
from nonlocal_lens.analysis.figures.scales import ColorRange, color_ranges, own_norm
from nonlocal_lens.analysis.figures.text import fit, wrap
from nonlocal_lens.analysis.grid import Grid

MOST_ABREAST = 16
"""Cells side by side; a layer of more heads goes on below."""

GAP = 0.08
"""Between cells, in cells."""

WORDS = {
    "whole": "attention of the marked query",
    "pairwise": "pairwise term of the marked query",
    "unary": "unary term",
    "mean": "mean row over all queries",
}


class Wall(NamedTuple):
    """What the sheet shows and how it is arranged."""

    statistic: str = HEAD_STATISTICS[0]
    order: Order = "highest"
    grouped: bool = True
    shown: HeadMap = "whole"


USUAL = Wall()


def atlas_figure(
    heads: Sequence[MeasuredHead],
    image: UInt8[np.ndarray, "height width 3"],
    point: tuple[float, float] | None,
    *,
    title: str,
    said: str = "",
    wall: Wall = USUAL,
    look: Look | None = None,
) -> PrintFigure:
    """Draw all heads of a network.

    Args:
        heads: See `analysis.atlas.measure_heads`.
        image: The picture.
        point: Where the query is, (x, y) in image pixels; None where no map is of one.
        title: What the network is called.
        said: What more is to be said of the numbers, in a sentence.
        wall: What is shown, and in which order.
        look: How it looks; in print if not given. Its backdrop, arrows and marker are not used.

    Raises:
        ValueError: There is no head, or a choice that does not exist.
    """
    look = look or Look()
    if not heads:
        raise ValueError("there is no head to draw")
    rows = _lines(arranged(heads, **_order(wall)))
    abreast = max(len(line) for _, line in rows)
    panels = [_panel(head, wall.shown, point) for head in heads]
    ranges = color_ranges([panel for panel in panels if panel is not None], look.scale)
    em, small = look.sheet.font_size / 72, SMALL * look.sheet.font_size
    aspect = image.shape[0] / image.shape[1]
    margin = 2.6 * em
    cell = (look.width - margin) / (abreast * (1 + GAP))
    line_height = cell * aspect + 1.25 * em
    photo_width = min(2.2, 0.3 * look.width)
    known = STATISTICS[wall.statistic]
    unit = f" ({known.unit})" if known.unit else ""
    caption = (
        f"{title}: {WORDS[wall.shown]} of {len(heads)} heads. Under each: layer.head, and "
        f"{known.label.lower()}{unit}. ≈ marks a mean row that is nearly an earlier head's. {said}"
    )
    beside = look.width - photo_width - 1.5 * em
    words = wrap(caption.strip(), small, look.family, beside)
    top = max(photo_width * aspect, (1.35 * len(words) + 4.4 * len(ranges)) * em) + em
    height = top + len(rows) * line_height + 0.5 * em
    figure = PrintFigure(figsize=(look.width, height), dpi=look.dpi, facecolor=look.sheet.ground)
    photo_height = photo_width * aspect / height
    photo = figure.add_axes((0, 1 - photo_height, photo_width / look.width, photo_height))
    photo.imshow(image, extent=(0, image.shape[1], image.shape[0], 0), interpolation="antialiased")
    if point is not None:
        photo.plot(*point, marker="+", color="white", markersize=9, markeredgewidth=3)
        photo.plot(*point, marker="+", color="black", markersize=9, markeredgewidth=1.2)
    photo.axis("off")
    for number, line in enumerate(words):
        y = (0.9 + 1.35 * number) * em
        _write(figure, photo_width + 1.5 * em, y, line, small, look, height)
    below = (1.35 * len(words) + 0.6) * em
    for color_range in ranges.values():
        ax = figure.add_axes(
            (
                (photo_width + 2.5 * em) / look.width,
                1 - (below + 0.85 * em) / height,
                (beside - 3 * em) / look.width,
                0.85 * em / height,
            )
        )
        draw_bar(ax, color_range, look, bar_label(color_range, look))
        below += 4.4 * em
    ax = figure.add_axes((0, 0, 1, 1 - top / height))
    ax.set_axis_off()
    for number, (layer, in_line) in enumerate(rows):
        y = number * line_height
        if layer is not None:
            middle = y + 0.5 * cell * aspect
            ax.text(0.3 * em, middle, layer, **_text(look, weight="bold", va="center"))
        for column, one in enumerate(in_line):
            x = margin + column * cell * (1 + GAP)
            box = (x, y, cell, cell * aspect)
            _draw_cell(ax, panels[one], ranges, look, box, image)
            _label(ax, heads, one, wall.statistic, look, (x, y + cell * aspect, cell))
    ax.set_xlim(0, look.width)
    ax.set_ylim(height - top, 0)
    return figure


def _order(wall: Wall) -> dict[str, Any]:
    return {"statistic": wall.statistic, "order": wall.order, "grouped": wall.grouped}


def _lines(rows: list[list[int]]) -> list[tuple[str | None, list[int]]]:
    """Return lines of cells that fit abreast, the first of each group with its number."""
    lines: list[tuple[str | None, list[int]]] = []
    grouped = len(rows) > 1
    for number, row in enumerate(rows):
        for start in range(0, len(row), MOST_ABREAST):
            layer = str(number) if grouped and start == 0 else None
            lines.append((layer, row[start : start + MOST_ABREAST]))
    return lines


def _panel(
    head: MeasuredHead, shown: HeadMap, point: tuple[float, float] | None
) -> MapPanel | None:
    """Return the map of a head; None where the point is none of its queries."""
    record = head.record
    try:
        query = None if point is None else record.query_axis.under(*point)
    except ValueError:
        query = None
    of_no_query = shown == "mean" or (shown == "unary" and head.unary is not None)
    if query is None and not of_no_query:
        return None
    values = head.values(shown, query or 0)
    quantity = LOGIT if record.signed and shown != "mean" else ATTENTION
    return MapPanel(head.title, "", values, _extent(record.key_grid), quantity, point, None)


def _extent(grid: Grid) -> tuple[float, float, float, float]:
    """Return where a grid lies on the picture: left, top, right and bottom, in pixels."""
    down, across = grid.offset
    right, bottom = across + grid.width * grid.cell_width, down + grid.height * grid.cell_height
    return across, down, right, bottom


def _draw_cell(
    ax: Axes,
    panel: MapPanel | None,
    ranges: Mapping[Quantity, ColorRange],
    look: Look,
    box: tuple[float, float, float, float],
    image: UInt8[np.ndarray, "height width 3"],
) -> None:
    x, y, width, height = box
    ax.fill([x, x + width, x + width, x], [y, y, y + height, y + height], color="#80808040", lw=0)
    if panel is None:
        return
    scale = width / image.shape[1]
    left, top, right, bottom = (scale * side for side in panel.extent)
    ax.imshow(
        panel.values,
        extent=(x + left, x + right, y + bottom, y + top),
        norm=ranges[panel.quantity].norm or own_norm(panel),
        cmap=color_map(panel.quantity, look),
        interpolation="nearest",
        aspect="auto",
    )


def _label(
    ax: Axes,
    heads: Sequence[MeasuredHead],
    number: int,
    statistic: str,
    look: Look,
    at: tuple[float, float, float],
) -> None:
    head, (x, y, width) = heads[number], at
    value = float(getattr(head.report, statistic))
    name = short_name(head)
    if head.twin is not None:
        name += f" ≈ {short_name(heads[head.twin.head])}"
    text = f"{value:.3g}" if isfinite(value) else "\N{EN DASH}"
    size = 0.8 * look.sheet.font_size
    _, size = fit(f"{name}  {text}", size, look.family, width)
    em = look.sheet.font_size / 72
    ax.text(x, y + 0.15 * em, name, **_text(look, size=size, va="top", faint=True))
    ax.text(x + width, y + 0.15 * em, text, **_text(look, size=size, va="top", ha="right"))


def short_name(head: MeasuredHead) -> str:
    """Return layer and head: `3.5`."""
    return str(head.layer) if head.record.head is None else f"{head.layer}.{head.record.head}"


def _text(
    look: Look, *, size: float | None = None, faint: bool = False, **more: str
) -> dict[str, Any]:
    return {
        "fontsize": size or look.sheet.font_size,
        "family": look.family,
        "color": look.sheet.faint if faint else look.sheet.ink,
        "parse_math": False,
        **more,
    }


def _write(
    figure: PrintFigure, x: float, y: float, words: str, size: float, look: Look, height: float
) -> None:
    figure.text(
        x / look.width,
        1 - y / height,
        words,
        fontsize=size,
        family=look.family,
        color=look.sheet.ink,
        parse_math=False,  # names of files and networks may hold a dollar sign
    )
