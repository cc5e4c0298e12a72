"""A color bar: what the colors of a range mean, in words and numbers."""

from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize
from matplotlib.ticker import MaxNLocator, NullLocator

from nonlocal_lens.analysis.figures.drawing import LINE, color_map, style_ticks
from nonlocal_lens.analysis.figures.files import PrintFigure
from nonlocal_lens.analysis.figures.look import SMALL, Look
from nonlocal_lens.analysis.figures.scales import ColorRange
from nonlocal_lens.analysis.figures.text import text_width


def bar_figure(color_range: ColorRange, look: Look) -> PrintFigure:
    """Draw a color bar alone, for panels that are arranged elsewhere."""
    em, small = look.sheet.font_size / 72, SMALL * look.sheet.font_size
    label = bar_label(color_range, look)
    width = max(31 * em, text_width(label, small, look.family) + 2 * em)
    height = 4.2 * em
    size = [round(side * look.dpi) / look.dpi for side in (width, height)]
    figure = PrintFigure(figsize=(size[0], size[1]), dpi=look.dpi, facecolor=look.sheet.ground)
    margin = 1.6 * em / width
    ax = figure.add_axes((margin, 1 - 1.2 * em / height, 1 - 2 * margin, 0.85 * em / height))
    draw_bar(ax, color_range, look, label)
    return figure


def bar_label(color_range: ColorRange, look: Look) -> str:
    """Return what stands under a color bar: the quantity, its unit, and how it is scaled."""
    label = color_range.quantity.label
    if color_range.norm is None:
        name, _, unit = label.partition(" (")
        return f"{name}, every map on its own scale ({unit}"
    return label + (", logarithmic" if look.scale.kind == "log" else "")


def draw_bar(ax: Axes, color_range: ColorRange, look: Look, label: str) -> None:
    """Draw a horizontal color bar that fills its axes."""
    sheet, norm = look.sheet, color_range.norm
    mappable = ScalarMappable(norm or Normalize(0, 1), color_map(color_range.quantity, look))
    bar = ax.figure.colorbar(mappable, cax=ax, orientation="horizontal", extend=color_range.extend)
    assert bar.solids is not None
    bar.solids.set_rasterized(True)  # as 256 vector rectangles, viewers show gaps between them
    bar.outline.set(linewidth=LINE * sheet.font_size, edgecolor=sheet.faint)
    bar.minorlocator = NullLocator()
    if norm is None:
        bar.set_ticks([0, 1], labels=["least", "greatest"])
    else:
        if look.scale.kind == "log":
            bar.set_ticks(_log_ticks(norm, signed=color_range.quantity.signed))
        else:
            bar.set_ticks(_ticks_with_ends(norm))
        bar.ax.xaxis.set_major_formatter(
            lambda value, _: f"{value:.3g}".replace("-", "\N{MINUS SIGN}")
        )
    style_ticks(bar.ax.xaxis, look, pad=0.15)
    bar.set_label(
        label,
        fontsize=SMALL * sheet.font_size,
        family=look.family,
        color=sheet.ink,
        labelpad=0.2 * sheet.font_size,
    )


CLOSE = 0.09
"""Round numbers that are this share of a bar from its end make room for the number there."""


def _ticks_with_ends(norm: Normalize) -> list[float]:
    """Return both ends of a range, and round numbers between them that have room."""
    low, high = float(norm.vmin or 0), float(norm.vmax or 0)
    room = CLOSE * (high - low)
    round_ones = MaxNLocator(nbins=5, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    return [low, *(float(one) for one in round_ones if low + room < one < high - room), high]


def _log_ticks(norm: Normalize, *, signed: bool) -> list[float]:
    """Return the powers of ten on a logarithmic bar; on a signed one 0 and every other of them."""
    powers = [10.0**exponent for exponent in range(-2, 7) if 10.0**exponent <= (norm.vmax or 0)]
    if signed:
        positive = powers[::-2][::-1]
        return [-power for power in positive[::-1]] + [0.0] + positive
    return powers
