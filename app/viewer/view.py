"""What a viewer shows, beside records: pinned queries and settings. Pure values, both ways."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any

from analysis.grid import Grid
from analysis.render import PALETTES
from analysis.terms import TERMS

MOST_QUERIES = 16
MOST_POINTS = 24
MOST_LETTERS = 40

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
    scale: str | None = None
    palette: str | None = None
    opacity: float | None = None
    direction: str | None = None
    terms: tuple[str, ...] | None = None
    shown: tuple[int, ...] | None = None  # indices of records
    difference: tuple[int, ...] | None = None  # of two records, or empty

    def as_json(self) -> dict[str, Any]:
        """Return what the viewer reads; no queries leave those that are pinned."""
        view = {name: value for name, value in asdict(self).items() if value not in (None, ())}
        view.pop("query", None)
        return view


def read_view(said: Any) -> View:
    """Return what a viewer in a browser says it shows; whatever cannot be is left out."""
    if not isinstance(said, Mapping):
        return View()

    def one_of(name: str, known: tuple[str, ...]) -> str | None:
        value = said.get(name)
        return value if isinstance(value, str) and value in known else None

    opacity: Any = said.get("opacity")
    position = said.get("query")
    raw = said.get("queries")
    queries = [read_query(one) for one in raw[:MOST_QUERIES]] if isinstance(raw, list) else []
    terms = said.get("terms")
    return View(
        query=position if _is_index(position) else None,
        queries=tuple(query for query in queries if query is not None),
        scale=one_of("scale", SCALES),
        palette=one_of("palette", PALETTES),
        opacity=float(opacity) if _is_number(opacity) and 0 <= opacity <= 1 else None,
        direction=one_of("direction", DIRECTIONS),
        terms=tuple(term for term in TERMS if term in terms) if isinstance(terms, list) else None,
        shown=_indices(said.get("shown")),
        difference=_indices(said.get("difference")),
    )


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
