"""What a viewer shows, beside records: pinned queries and settings. Pure values, both ways."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any

from analysis.grid import Grid
from analysis.render import DIVERGING_PALETTES, PALETTES
from analysis.terms import TERMS

MOST_QUERIES = 16
MOST_POINTS = 24
MOST_LETTERS = 40
MOST_ARROWS, MOST_BOXES = 100, 50
MOST_EXCLUDED = 50.0
"""Cells around a query that can be left out."""

FIXED_ENDS = (1e-6, 1e6)
"""The least and the greatest upper end of a fixed scale."""

SCALES = ("shared", "per-map", "log", "fixed")
DIRECTIONS = ("row", "column")
"""Where this pixel looks; who looks here."""

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Query:
    """A pinned query in image pixels: one point, two corners of a rectangle, or a lasso."""

    points: Points
    name: str = ""

    @property
    def middle(self) -> tuple[float, float]:
        """The point, or the middle of the region."""
        xs, ys = zip(*self.points, strict=True)
        return (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2

    def position(self, grid: Grid) -> int | None:
        """Return the flat position of its cell (of a region, its middle); None if it has none."""
        x, y = self.middle
        try:
            return grid.position(grid.cell_at(x=x, y=y))
        except ValueError:
            return None


@dataclass(frozen=True)
class View:
    """Pinned queries and the choices of a viewer; what is None is left to the viewer."""

    query: int | None = None  # flat position of the chosen query; the viewer's word alone
    queries: tuple[Query, ...] = field(default=())
    active: int | None = None  # which of the queries is chosen; the last one if not given
    scale: str | None = None
    fixed: float | None = None  # the upper end of a fixed scale
    palette: str | None = None
    signed_palette: str | None = None
    opacity: float | None = None
    smooth: bool | None = None
    grey: bool | None = None  # the photo behind the maps
    prediction: bool | None = None  # the predicted segmentation over the photo
    direction: str | None = None
    arrows: bool | None = None
    arrow_count: int | None = None
    boxes: bool | None = None
    box_count: int | None = None
    contours: bool | None = None
    exclude: float | None = None  # cells around the query that get no marks
    terms: tuple[str, ...] | None = None
    shown: tuple[int, ...] | None = None  # indices of records
    difference: tuple[int, ...] | None = None  # of two records, or empty

    def as_json(self) -> dict[str, Any]:
        """Return what the viewer reads; no queries leave those that are pinned."""
        said = {name: value for name, value in asdict(self).items() if value not in (None, ())}
        said.pop("query", None)
        return {_in_javascript(name): value for name, value in said.items()}


def read_view(said: Any) -> View:
    """Return what a viewer in a browser says it shows; whatever cannot be is left out."""
    if not isinstance(said, Mapping):
        return View()

    def one_of(name: str, known: tuple[str, ...]) -> str | None:
        value = said.get(name)
        return value if isinstance(value, str) and value in known else None

    def number(name: str, low: float, high: float) -> Any:
        value: Any = said.get(_in_javascript(name))
        return value if _is_number(value) and low <= value <= high else None

    def index(name: str, low: int, high: int) -> int | None:
        value = number(name, low, high)
        return value if isinstance(value, int) else None

    def flag(name: str) -> bool | None:
        value = said.get(name)
        return value if isinstance(value, bool) else None

    opacity = number("opacity", 0, 1)
    position = said.get("query")
    raw = said.get("queries")
    queries = [read_query(one) for one in raw[:MOST_QUERIES]] if isinstance(raw, list) else []
    terms = said.get("terms")
    return View(
        query=position if _is_index(position) else None,
        queries=tuple(query for query in queries if query is not None),
        active=index("active", 0, MOST_QUERIES - 1),
        scale=one_of("scale", SCALES),
        fixed=number("fixed", *FIXED_ENDS),
        palette=one_of("palette", PALETTES),
        signed_palette=one_of("signedPalette", DIVERGING_PALETTES),
        opacity=None if opacity is None else float(opacity),
        smooth=flag("smooth"),
        grey=flag("grey"),
        prediction=flag("prediction"),
        direction=one_of("direction", DIRECTIONS),
        arrows=flag("arrows"),
        arrow_count=index("arrow_count", 1, MOST_ARROWS),
        boxes=flag("boxes"),
        box_count=index("box_count", 1, MOST_BOXES),
        contours=flag("contours"),
        exclude=number("exclude", 0, MOST_EXCLUDED),
        terms=tuple(term for term in TERMS if term in terms) if isinstance(terms, list) else None,
        shown=_indices(said.get("shown")),
        difference=_indices(said.get("difference")),
    )


def _in_javascript(name: str) -> str:
    return re.sub(r"_(.)", lambda found: found[1].upper(), name)


def read_query(said: Any) -> Query | None:
    """Return a query that a browser names; None if it is none."""
    if not isinstance(said, Mapping):
        return None
    points = said.get("points")
    if not isinstance(points, list) or not 1 <= len(points) <= MOST_POINTS:
        return None
    pairs = []
    for point in points:
        if not isinstance(point, list) or len(point) != 2 or not all(map(_is_number, point)):
            return None
        pairs.append((float(point[0]), float(point[1])))
    name = said.get("name")
    return Query(tuple(pairs), name[:MOST_LETTERS] if isinstance(name, str) else "")


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _indices(value: Any) -> tuple[int, ...] | None:
    if not isinstance(value, list):
        return None
    return tuple(index for index in value if _is_index(index))[:4]
