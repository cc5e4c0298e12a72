"""Plots of what the helpers return: each draws on given axes, or new ones, and returns them.

Pyplot has no part in them: nothing global is read or changed, and nothing stays in memory. A new
figure shows itself under a notebook's cell as `ax.figure`.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from torch import Tensor

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.attribution import Attribution
from nonlocal_lens.analysis.catalog import STATISTICS
from nonlocal_lens.analysis.effects import Effect
from nonlocal_lens.analysis.figures.bars import BAR_COLORS, bar_of
from nonlocal_lens.analysis.figures.files import PrintFigure
from nonlocal_lens.analysis.figures.look import STYLES
from nonlocal_lens.analysis.interventions import Intervention
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.render import color_map
from nonlocal_lens.analysis.some_keys import off_picture

if TYPE_CHECKING:
    import pandas as pd

STYLE = STYLES["paper"]
WIDTH_IN, HEIGHT_IN = 4.5, 2.8
MAP_COLORS = "inferno"


def plot_comparison(
    frame: "pd.DataFrame", statistic: str = "unary_share", *, ax: Axes | None = None
) -> Axes:
    """Draw a statistic of `analysis.compare`: a dot per image, block and head, a bar per network.

    The bar is the mean, its whisker the 95 % bootstrap interval of the mean over the rows.

    Args:
        frame: What `compare` or `over_dataset` returned; for the latter blocks take the place of
            networks.
        statistic: A column of numbers.
        ax: Where to draw; a new figure if None.

    Raises:
        ValueError: There is no such column.
    """
    _check_column(frame, statistic)
    ax = _axes() if ax is None else ax
    by = "network" if "network" in frame else "block"
    groups = list(frame.groupby(by, sort=False)[statistic])
    for place, (_, values) in enumerate(groups):
        color = BAR_COLORS[place % len(BAR_COLORS)]
        bar = bar_of(values.tolist())
        ax.bar(place, bar.mean, 0.6, color=color, alpha=0.35)
        if np.isfinite(bar.low):
            ends = [[bar.mean - bar.low], [bar.high - bar.mean]]
            ax.errorbar(place, bar.mean, yerr=ends, color=STYLE.ink, capsize=3, linewidth=1)
        spread = np.linspace(-0.18, 0.18, len(values)) if len(values) > 1 else np.zeros(1)
        ax.plot(place + spread, values, linestyle="none", marker=".", color=color, markersize=5)
    ax.set_xticks(range(len(groups)), [str(name) for name, _ in groups])
    ax.set_ylabel(_label(statistic))
    return ax


def plot_watch(
    frame: "pd.DataFrame", statistic: str = "unary_share", *, ax: Axes | None = None
) -> Axes:
    """Draw how a statistic moved while `analysis.watch` watched: a line per block, run and head.

    Args:
        frame: The `frame` of a watch.
        statistic: A column of numbers.
        ax: Where to draw; a new figure if None.

    Raises:
        ValueError: There is no such column.
    """
    _check_column(frame, statistic)
    ax = _axes() if ax is None else ax
    for place, ((block, call, head), rows) in enumerate(
        frame.groupby(["block", "call", "head"], sort=False, dropna=False)
    ):
        again = f", call {call}" if call else ""
        name = f"{block}{again}" if rows["head"].isna().all() else f"{block}{again}, head {head}"
        color = BAR_COLORS[place % len(BAR_COLORS)]
        ax.plot(rows["step"], rows[statistic], marker=".", color=color, label=name)
    ax.set_xlabel("training step")
    ax.set_ylabel(_label(statistic))
    ax.legend(frameon=False)
    return ax


def plot_effects(effects: Mapping[Intervention, Effect], *, ax: Axes | None = None) -> Axes:
    """Draw what interventions flip: of `analysis.effects.effects`, the share of pixels.

    Args:
        effects: By intervention.
        ax: Where to draw; a new figure if None.
    """
    ax = _axes() if ax is None else ax
    names = [how for how in effects if how != "on"]
    shares = [100 * effects[how].flipped_share for how in names]
    bars = ax.barh(range(len(names)), shares, color=BAR_COLORS[0])
    ax.bar_label(bars, fmt="%.1f", padding=3)
    ax.set_yticks(range(len(names)), [how.replace("_", " ") for how in names])
    ax.invert_yaxis()
    ax.margins(x=0.12)
    ax.set_xlabel("pixels with another class (%)")
    return ax


def plot_row(
    record: AttentionRecord,
    query: int,
    term: terms.Term = "whole",
    *,
    top: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw where a query looks, in multiples of uniform attention; logits without a softmax.

    Several on one scale, with photograph and color bar: `analysis.figures.attention_figure`.

    Args:
        record: The block, on an image.
        query: An index of its query axis: a flat position, or `record.query_axis.index("class")`.
        term: Which attention. What of it lies on tokens that are no places stands below the map.
        top: The value at the upper end of the colors; the map's own maximum if None.
        ax: Where to draw; a new figure if None.

    Raises:
        ValueError: The query is not on the grid, or the record is of a clip.
    """
    keys = record.key_grid
    if record.key_axis.placed == 0:
        raise ValueError(f"none of the keys of block {record.block!r} is a place: there is no map")
    if keys.frames > 1:
        raise ValueError(f"a map of one image can be drawn, the record has {keys.frames} frames")
    row = terms.attention(record, [query], term)[0]
    signed = record.signed
    ax = _map(row * len(row), record, "RdBu_r" if signed else MAP_COLORS, signed, top, ax)
    axis = record.query_axis
    if axis.cell(query) is None:
        ax.set_title(f"{term}, query {axis.name(query)}")
    else:
        x, y = axis.center(query)
        ax.plot(x, y, marker="+", color="white", markersize=9, markeredgewidth=2.5)
        ax.plot(x, y, marker="+", color="black", markersize=8, markeredgewidth=1)
        ax.set_title(f"{term}, query x {x:.0f}, y {y:.0f}")
    off = off_picture(record, row)
    if off:
        ax.set_xlabel(f"{ax.get_xlabel()}; {off}")
    return ax


def plot_attribution(
    record: AttentionRecord, attribution: Attribution, *, ax: Axes | None = None
) -> Axes:
    """Draw what `analysis.attribute` found, as shares of its sum in multiples of uniform.

    Args:
        record: The record that came with it.
        attribution: One of the attributions.
        ax: Where to draw; a new figure if None.
    """
    relevance = attribution.relevance.double()
    values = relevance / relevance.mean().clamp_min(1e-300)
    ax = _map(values, record, MAP_COLORS, False, None, ax)
    ax.set_title(attribution.method.replace("_", " "))
    return ax


def _map(
    of_keys: Float[Tensor, " key_pos"],
    record: AttentionRecord,
    colors: str,
    signed: bool,
    top: float | None,
    ax: Axes | None,
) -> Axes:
    grid = record.key_grid
    values = record.key_axis.on_grid(of_keys).numpy()
    ax = _axes(HEIGHT_IN * grid.image_hw[1] / grid.image_hw[0]) if ax is None else ax
    top = float(np.nanmax(np.abs(values))) if top is None else top
    left, upper, right, lower = grid.bounds
    ax.imshow(
        values.reshape(grid.height, grid.width),
        extent=(left, right, lower, upper),
        cmap=color_map(colors),
        vmin=-top if signed else 0,
        vmax=top or 1,
        interpolation="nearest",
    )
    ax.set(xlim=(0, grid.image_hw[1]), ylim=(grid.image_hw[0], 0), xticks=[], yticks=[])
    ax.set_xlabel(f"colors from {-top if signed else 0:.3g} to {top:.3g}")
    return ax


def _axes(width: float = WIDTH_IN) -> Axes:
    figure = PrintFigure(figsize=(width, HEIGHT_IN), dpi=200, layout="constrained")
    return figure.add_subplot()


def _label(statistic: str) -> str:
    if statistic not in STATISTICS:
        return statistic.replace("_", " ")
    known = STATISTICS[statistic]
    return f"{known.label} ({known.unit})" if known.unit else known.label


def _check_column(frame: "pd.DataFrame", statistic: str) -> None:
    if statistic not in frame:
        numbers = frame.select_dtypes("float").columns
        raise ValueError(f"unknown statistic {statistic!r}; available: {', '.join(numbers)}")
