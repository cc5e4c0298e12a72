"""Statistics of many images as bars with intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, isfinite, nan

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from nonlocal_lens.analysis.degeneracy import STATISTICS
from nonlocal_lens.analysis.figures.drawing import LINE, style_ticks
from nonlocal_lens.analysis.figures.files import PrintFigure
from nonlocal_lens.analysis.figures.layout import Box
from nonlocal_lens.analysis.figures.look import SMALL, Look
from nonlocal_lens.analysis.figures.text import fit, wrap
from nonlocal_lens.analysis.intervals import mean_interval

LEAST_WIDTH = 15  # ems: what one statistic needs
PLOT_TOP, PLOT_HEIGHT = 1.9, 11  # ems, from the top of a statistic's place

# Okabe and Ito's colors, which stay apart for color-blind readers; black is left to the text.
BAR_COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442")


@dataclass(frozen=True)
class Bar:
    """The mean of a statistic over images, with the interval that it lies in."""

    mean: float
    low: float  # ends of the 95 % bootstrap interval of the mean; NaN for fewer than two images
    high: float
    images: int

    def to_json(self) -> dict[str, float | None]:
        """Return the numbers by name; None for NaN, which JSON does not have."""
        return {name: value if isfinite(value) else None for name, value in vars(self).items()}

    @classmethod
    def from_json(cls, numbers: Mapping[str, float | None]) -> "Bar":
        """Return the bar that `to_json` gave the numbers of."""
        known = {name: nan if value is None else value for name, value in numbers.items()}
        return cls(known["mean"], known["low"], known["high"], int(known["images"]))


def bar_of(values: Sequence[float]) -> Bar:
    """Return mean and percentile bootstrap interval, seeded; NaN is left out."""
    return Bar(*mean_interval(values))


def statistics_figure(bars: Mapping[str, Mapping[str, Bar]], *, look: Look | None = None) -> Figure:
    """Draw a group of bars per statistic, a bar per network, with intervals.

    Args:
        bars: By name of the statistic (of `STATISTICS`), then by network.
        look: Style, width, font and dpi; the choices that concern maps have no effect.

    Raises:
        ValueError: There is no statistic or no network.
    """
    look = Look() if look is None else look
    if not bars or not all(bars.values()):
        raise ValueError("a figure of statistics needs at least one statistic of one network")
    em = look.sheet.font_size / 72
    lines = ceil(len(bars) / max(1, int(look.width / (LEAST_WIDTH * em))))
    columns = ceil(len(bars) / lines)
    networks = max(len(of_network) for of_network in bars.values())
    cell = Box(0, 0, look.width / columns, (PLOT_TOP + PLOT_HEIGHT + 1.45 * networks + 1.5) * em)
    notes = wrap(_note(bars), SMALL * look.sheet.font_size, look.family, look.width)
    height = lines * cell.height + (1.35 * len(notes) + 0.3) * em
    size = [round(side * look.dpi) / look.dpi for side in (look.width, height)]
    figure = PrintFigure(figsize=(size[0], size[1]), dpi=look.dpi, facecolor=look.sheet.ground)
    for index, (name, of_network) in enumerate(bars.items()):
        line, column = divmod(index, columns)
        place = cell._replace(x=column * cell.width, y=line * cell.height)
        _draw_statistic(figure, name, of_network, place, look)
    for number, text in enumerate(notes):
        y = lines * cell.height + (0.6 + 1.35 * number) * em
        _write(figure, 0.2 * em, y, text, look, color=look.sheet.faint)
    return figure


def _note(bars: Mapping[str, Mapping[str, Bar]]) -> str:
    images = max(bar.images for of_network in bars.values() for bar in of_network.values())
    if images < 2:
        return "One image."
    return f"Means over {images} images; whiskers: 95 % bootstrap interval of the mean."


def _draw_statistic(
    figure: Figure, name: str, of_network: Mapping[str, Bar], place: Box, look: Look
) -> None:
    em, sheet = look.sheet.font_size / 72, look.sheet
    statistic = STATISTICS[name]
    label = f"{statistic.label} ({statistic.unit})" if statistic.unit else statistic.label
    title, size = fit(label, sheet.font_size, look.family, place.width - 0.4 * em)
    _write(figure, place.x + 0.2 * em, place.y + 0.7 * em, title, look, size=size)

    left, top = place.x + 3.2 * em, place.y + PLOT_TOP * em
    width, bottom = place.width - 3.6 * em, top + PLOT_HEIGHT * em
    figure_width, figure_height = figure.get_size_inches()
    ax = figure.add_axes(
        (
            left / figure_width,
            1 - bottom / figure_height,
            width / figure_width,
            PLOT_HEIGHT * em / figure_height,
        )
    )
    _plot(ax, list(of_network.values()), look)
    for number, (network, bar) in enumerate(of_network.items()):
        y = bottom + (1.1 + 1.45 * number) * em
        value = _number(bar.mean)
        small = SMALL * sheet.font_size
        words, size = fit(f"{network}  {value}", small, look.family, width)
        _write(figure, left, y, words, look, size=size)
        color = BAR_COLORS[number % len(BAR_COLORS)]
        _write(figure, left - 1.2 * em, y, "■", look, color=color, family="DejaVu Sans")


def _number(value: float) -> str:
    """Return a number with three digits, or all of a large one: 0.0537, 84.3, 1894."""
    if not isfinite(value):
        return "undefined"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def _plot(ax: Axes, bars: Sequence[Bar], look: Look) -> None:
    sheet = look.sheet
    places = np.arange(len(bars))
    means = np.array([bar.mean for bar in bars])
    ends = np.array([[bar.low, bar.high] for bar in bars]).T
    colors = [BAR_COLORS[number % len(BAR_COLORS)] for number in range(len(bars))]
    ax.bar(places, means, 0.68, color=colors)
    known = np.isfinite(ends).all(axis=0)
    ax.errorbar(
        places[known],
        means[known],
        yerr=np.abs(ends - means)[:, known],
        fmt="none",
        ecolor=sheet.ink,
        elinewidth=0.1 * sheet.font_size,
        capsize=0.25 * sheet.font_size,
        capthick=0.1 * sheet.font_size,
    )
    ax.set(xlim=(-0.6, len(bars) - 0.4), xticks=[], facecolor="none")
    ax.yaxis.set_major_locator(MaxNLocator(nbins=4))
    style_ticks(ax.yaxis, look, pad=0.2)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set(color=sheet.faint, linewidth=LINE * sheet.font_size)


def _write(
    figure: Figure,
    x: float,
    y: float,
    words: str,
    look: Look,
    *,
    size: float = 0,
    color: str = "",
    family: str = "",
) -> None:
    width, height = figure.get_size_inches()
    figure.text(
        x / width,
        1 - y / height,
        words,
        fontsize=size or SMALL * look.sheet.font_size,
        ha="left",
        va="center",
        parse_math=False,
        family=family or look.family,
        color=color or look.sheet.ink,
    )
