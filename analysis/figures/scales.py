"""What colors mean: from values to one norm per scale, with its color bar's words."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.colors import LogNorm, Normalize, SymLogNorm

from nonlocal_lens.analysis.figures.panels import MapPanel, Quantity

CLIPPED_SHARE = 0.005
"""On a shared scale this share of all values drawn lies beyond the end; the bar's arrow says so."""

LOG_FLOOR = 0.01
"""Lower values have the lowest color of a logarithmic scale; signed scales are linear below it."""

SIGNED_COLORMAP = "RdBu_r"


@dataclass(frozen=True)
class Scale:
    """How values become colors: one range for all maps, one for each map, or a given one."""

    kind: Literal["shared", "per-map", "log", "fixed"] = "shared"
    low: float = 0.0  # of "fixed", in the unit of the map
    high: float = 0.0

    @classmethod
    def parse(cls, text: str) -> "Scale":
        """Read `shared`, `per-map`, `log` or `fixed:LO,HI`; ValueError for anything else."""
        if text in ("shared", "per-map", "log"):
            return cls(text)  # type: ignore[arg-type]
        kind, _, ends = text.partition(":")
        try:
            low, high = (float(end) for end in ends.split(","))
        except ValueError:
            low, high = 0.0, float("nan")
        if kind != "fixed" or not (isfinite(low) and isfinite(high) and low < high):
            raise ValueError(
                f"scale must be shared, per-map, log or fixed:LO,HI with LO below HI, got {text!r}"
            )
        return cls("fixed", low, high)

    def __str__(self) -> str:
        """Return what `parse` reads."""
        return f"fixed:{self.low:g},{self.high:g}" if self.kind == "fixed" else self.kind


SHARED = Scale()


class ColorRange(NamedTuple):
    """One range of values with its colors; `norm` is None where every map has its own."""

    quantity: Quantity
    norm: Normalize | None
    extend: Literal["neither", "min", "max", "both"]  # which ends of the bar have an arrow


def color_ranges(panels: Sequence[MapPanel], scale: Scale) -> dict[Quantity, ColorRange]:
    """Return, for every quantity among the panels, the range that all maps of it share.

    Quantities have scales of their own because their units differ. A signed quantity has a range
    symmetric about 0. Tokens that are no places have the colors of the maps and no part in the
    range, so that one that takes most of a row leaves the maps readable; an arrow of the bar tells.
    """
    values: dict[Quantity, list[np.ndarray]] = {}
    beside: dict[Quantity, list[np.ndarray]] = {}
    for panel in panels:
        values.setdefault(panel.quantity, []).append(panel.values.ravel())
        off = [token.value for token in panel.tokens]
        beside.setdefault(panel.quantity, []).append(np.array(off, np.float64))
    return {
        quantity: _range(quantity, np.concatenate(maps), np.concatenate(beside[quantity]), scale)
        for quantity, maps in values.items()
    }


def own_norm(panel: MapPanel) -> Normalize:
    """Return the norm of a map that is stretched to its own values."""
    values = panel.values[np.isfinite(panel.values)]
    low, high = (values.min(), values.max()) if values.size else (0.0, 1.0)
    if panel.quantity.signed:
        high = max(abs(low), abs(high), 1e-12)
        return Normalize(-high, high)
    return Normalize(low, high if high > low else low + 1e-6)


def _range(
    quantity: Quantity,
    values: Float[np.ndarray, " values"],
    beside: Float[np.ndarray, " tokens"],
    scale: Scale,
) -> ColorRange:
    if scale.kind == "per-map":
        return ColorRange(quantity, None, "neither")
    finite = values[np.isfinite(values)]
    size = np.abs(finite) if quantity.signed else finite
    peak = float(size.max(initial=0))
    if scale.kind == "fixed":
        low, high = scale.low, scale.high
        if quantity.signed and low >= 0:
            low = -high
        norm = Normalize(low, high)
    elif scale.kind == "log":
        high = max(peak, 10 * LOG_FLOOR if quantity.signed else 10)
        norm = (
            SymLogNorm(LOG_FLOOR, vmin=-high, vmax=high)
            if quantity.signed
            else LogNorm(LOG_FLOOR, high, clip=True)
        )
    else:
        size = size[size > 0]  # keys out of reach take no part
        high = float(np.quantile(size, 1 - CLIPPED_SHARE)) if size.size else 0.0
        high = max(high, quantity.least_top)
        norm = Normalize(-high if quantity.signed else 0, high)
    below = bool((finite < norm.vmin).any() or (beside < norm.vmin).any())
    above = bool((finite > norm.vmax).any() or (beside > norm.vmax).any())
    extend = {(0, 0): "neither", (1, 0): "min", (0, 1): "max", (1, 1): "both"}[below, above]
    return ColorRange(quantity, norm, extend)  # type: ignore[arg-type]
