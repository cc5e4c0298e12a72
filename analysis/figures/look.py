"""How a figure looks: the choices of its maker, checked before anything is drawn."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from math import isfinite
from typing import Literal, get_args

import matplotlib
from matplotlib import font_manager

from nonlocal_lens.analysis.figures.scales import SHARED, Scale

StyleName = Literal["paper", "slides", "poster"]
Backdrop = Literal["photo", "gray", "none"]
Marker = Literal["plus", "cross", "circle", "ring", "dot", "cell", "none"]

BACKDROPS: tuple[Backdrop, ...] = get_args(Backdrop)
MARKERS: tuple[Marker, ...] = get_args(Marker)
SMALL = 7 / 8
"""Size of numbers at color bars and under panels, of legends and captions, in that of the text."""

DPI_RANGE = (50, 1200)
WIDTH_RANGE = (1.0, 60.0)  # inches


@dataclass(frozen=True)
class Style:
    """What changes with the place where a figure is shown."""

    width_in: float
    font_size: float  # points, of the ordinary text; small text is 7/8 of it
    ground: str
    ink: str
    faint: str  # for rules and small text


STYLES: dict[StyleName, Style] = {
    "paper": Style(6.75, 8, "white", "black", "#444444"),  # the text width of two-column papers
    "slides": Style(12.0, 17, "#14161a", "#f2f2f2", "#b8bcc4"),
    "poster": Style(24.0, 30, "white", "black", "#444444"),
}


@dataclass(frozen=True)
class Look:
    """How maps, marks and text are drawn.

    Raises:
        ValueError: A choice that does not exist, or a number out of its range.
    """

    style: StyleName = "paper"
    scale: Scale = SHARED
    colormap: str = "inferno"  # of maps from 0 up; signed maps have `SIGNED_COLORMAP`
    opacity: float | None = None  # of the maps, 0 to 1; None: 1 alone, 0.65 over a photograph
    backdrop: Backdrop = "none"  # what lies under the maps
    marker: Marker = "plus"  # what marks the query
    arrows: int = 0  # from the query to this many of the strongest keys
    width_in: float | None = None  # of the figure, in inches; the style's if None
    dpi: int = 300
    font: str | None = None  # family; matplotlib's default if None

    def __post_init__(self) -> None:
        if str(self.backdrop) == "grey":  # the spelling in notes of older files
            object.__setattr__(self, "backdrop", "gray")
        _choose("style", self.style, STYLES)
        _choose("backdrop", self.backdrop, BACKDROPS)
        _choose("marker", self.marker, MARKERS)
        if self.colormap not in matplotlib.colormaps:
            raise ValueError(
                f"unknown colormap {self.colormap!r}; perceptually ordered ones: viridis, inferno, "
                "magma, plasma, cividis, gray; every other name of matplotlib works, too"
            )
        _within("opacity", self.alpha, (0, 1))
        _within("arrows", self.arrows, (0, 100))
        _within("dpi", self.dpi, DPI_RANGE)
        _within("width_in", self.width, WIDTH_RANGE)
        if self.font is not None and self.font not in font_families():
            raise ValueError(
                f"font {self.font!r} is not installed; available: {', '.join(font_families())}"
            )

    @property
    def sheet(self) -> Style:
        """The style by name."""
        return STYLES[self.style]

    @property
    def alpha(self) -> float:
        """Opacity of the maps."""
        if self.opacity is not None:
            return self.opacity
        return 1.0 if self.backdrop == "none" else 0.65

    @property
    def width(self) -> float:
        """Width of the figure in inches."""
        return self.sheet.width_in if self.width_in is None else self.width_in

    @property
    def family(self) -> str:
        """The font family that is drawn with."""
        return self.font or "DejaVu Sans"


@cache
def font_families() -> tuple[str, ...]:
    """Return the names of all fonts that can be drawn with."""
    return tuple(sorted({font.name for font in font_manager.fontManager.ttflist}))


def _choose(name: str, value: str, choices: Iterable[str]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}, got {value!r}")


def _within(name: str, value: float, bounds: tuple[float, float]) -> None:
    if not (isfinite(value) and bounds[0] <= value <= bounds[1]):
        raise ValueError(f"{name} must be from {bounds[0]} to {bounds[1]}, got {value}")
