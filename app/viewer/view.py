"""What a viewer shows, beside records: pinned queries and settings. Pure values, both ways."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, TypeGuard

from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.analysis.clips import MOST_FRAMES
from nonlocal_lens.analysis.scene import Query as Spot
from nonlocal_lens.analysis.terms import TERMS
from nonlocal_lens.app.viewer.settings import SETTINGS, VIEWED

MOST_QUERIES = 16
MOST_POINTS = 24
MOST_LETTERS = 40
MOST_TOKEN_LETTERS = 80

CATEGORY = re.compile(r"[a-z][a-z ]{0,39}")

MAPS = (*TERMS, "dependence")
"""What a viewer can show of a record: the maps of a query, and how much the query matters."""

SCALES = SETTINGS["scale"].choices
DIRECTIONS = SETTINGS["direction"].choices
"""Where this pixel looks; who looks here."""

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Query:
    """A pinned query: a place in image pixels, or a token that lies nowhere, by its name.

    A place is one point, two corners of a rectangle, or a lasso; a token has no points. With a
    category, it is all places of a predicted class, of which the point is one.
    """

    points: Points
    name: str = ""  # that its user gave it
    frame: int | None = None  # of a clip, counted from 0
    token: str | None = None  # "class", "register 1", a word
    category: str | None = None  # "pole", "road"

    @classmethod
    def at(cls, spot: Spot, frame: int | None = None) -> "Query":
        """Return the query of a point or of a token."""
        if isinstance(spot, str):
            return cls((), frame=frame, token=spot)
        return cls((spot,), frame=frame)

    @property
    def spot(self) -> Spot:
        """The point, the middle of the region, or the token's name."""
        if self.token is not None:
            return self.token
        xs, ys = zip(*self.points, strict=True)
        return (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2

    @property
    def alone(self) -> bool:
        """Whether it is one place or one token, no region and no class."""
        return len(self.points) < 2 and self.category is None

    def index(self, axis: Axis) -> int | None:
        """Return which token of an axis it is (of a region, its middle); None if it is none."""
        spot = self.spot
        try:
            if isinstance(spot, str):
                return axis.index(spot)
            if axis.grid is None:
                return None
            return axis.at(axis.grid.position(axis.grid.cell_at(x=spot[0], y=spot[1])))
        except ValueError:
            return None

    def as_json(self) -> dict[str, Any]:
        """Return what the viewer reads."""
        frame = {} if self.frame is None else {"frame": self.frame}
        if self.token is not None:
            return {"token": self.token, "name": self.name, **frame}
        category = {} if self.category is None else {"category": self.category}
        points = [list(point) for point in self.points]
        return {"points": points, "name": self.name, **category, **frame}


@dataclass(frozen=True, init=False)
class View:
    """Pinned queries and the choices of a viewer; what is None is left to the viewer.

    Every setting of `settings.json` that belongs to a view is a keyword and an attribute, by its
    name in Python: `View(scale="log").scale`.
    """

    query: int | None  # index of the chosen query; the viewer's word alone
    queries: tuple[Query, ...]
    active: int | None  # which of the queries is chosen; the last one if not given
    frame: int | None  # of a clip: the one that is shown, counted from 0
    terms: tuple[str, ...] | None  # the maps that are shown
    shown: tuple[int, ...] | None  # indices of records
    difference: tuple[int, ...] | None  # of two records, or empty
    settings: tuple[tuple[str, Any], ...]  # those that are not None, in the schema's order

    def __init__(
        self,
        *,
        query: int | None = None,
        queries: tuple[Query, ...] = (),
        active: int | None = None,
        frame: int | None = None,
        terms: tuple[str, ...] | None = None,
        shown: tuple[int, ...] | None = None,
        difference: tuple[int, ...] | None = None,
        settings: tuple[tuple[str, Any], ...] = (),
        **chosen: Any,
    ) -> None:
        unknown = set(chosen) - set(VIEWED)
        if unknown:
            raise TypeError(f"a view has no {sorted(unknown)[0]}; it has {', '.join(VIEWED)}")
        all_chosen = {**dict(settings), **chosen}
        kept = [(name, all_chosen[name]) for name in VIEWED if all_chosen.get(name) is not None]
        values = (query, queries, active, frame, terms, shown, difference, tuple(kept))
        for name, value in zip(self.__dataclass_fields__, values, strict=True):
            object.__setattr__(self, name, value)

    def __getattr__(self, name: str) -> Any:
        """Return a setting; None where it is left to the viewer."""
        if name in VIEWED:
            return dict(self.settings).get(name)
        raise AttributeError(f"a view has no {name}")

    @property
    def chosen(self) -> Query | None:
        """The pinned query that is outlined and has its numbers shown; None if none is pinned."""
        last = len(self.queries) - 1
        active = self.active
        return (
            self.queries[active if active is not None and active < last else last]
            if last >= 0
            else None
        )

    def as_json(self) -> dict[str, Any]:
        """Return what the viewer reads; no queries leave those that are pinned."""
        said: dict[str, Any] = {
            "queries": [query.as_json() for query in self.queries] or None,
            "active": self.active,
            "frame": self.frame,
            "terms": self.terms,
            "shown": self.shown,
            "difference": self.difference,
            **{VIEWED[name].javascript: value for name, value in self.settings},
        }
        return {name: value for name, value in said.items() if value not in (None, ())}


def read_view(said: Any) -> View:
    """Return what a viewer in a browser says it shows; whatever cannot be is left out."""
    if not isinstance(said, Mapping):
        return View()

    def index(name: str, limit: int) -> int | None:
        value = said.get(name)
        return value if _is_index(value) and value < limit else None

    raw = said.get("queries")
    queries = [read_query(one) for one in raw[:MOST_QUERIES]] if isinstance(raw, list) else []
    maps = said.get("terms")
    return View(
        query=index("query", 1 << 53),
        queries=tuple(query for query in queries if query is not None),
        active=index("active", MOST_QUERIES),
        frame=index("frame", MOST_FRAMES),
        terms=tuple(one for one in MAPS if one in maps) if isinstance(maps, list) else None,
        shown=_indices(said.get("shown")),
        difference=_indices(said.get("difference")),
        **{name: one.read(said.get(one.javascript)) for name, one in VIEWED.items()},
    )


def read_query(said: Any) -> Query | None:
    """Return a query that a browser names; None if it is none."""
    if not isinstance(said, Mapping):
        return None
    token = said.get("token")
    pairs = [] if is_token(token) else _points(said.get("points"))
    if pairs is None:
        return None
    name, frame, category = said.get("name"), said.get("frame"), said.get("category")
    return Query(
        tuple(pairs),
        name[:MOST_LETTERS] if isinstance(name, str) else "",
        frame if _is_index(frame) and frame < MOST_FRAMES else None,
        token if is_token(token) else None,
        category if is_category(category) and len(pairs) == 1 else None,
    )


def _points(said: Any) -> list[tuple[float, float]] | None:
    """Return the points of a place that a browser names; None if it is none."""
    if not isinstance(said, list) or not 1 <= len(said) <= MOST_POINTS:
        return None
    pairs = []
    for point in said:
        if not isinstance(point, list) or len(point) != 2 or not all(map(_is_number, point)):
            return None
        pairs.append((float(point[0]), float(point[1])))
    return pairs


def is_token(value: Any) -> TypeGuard[str]:
    """Return whether a value can be the name of a token."""
    return isinstance(value, str) and 0 < len(value) <= MOST_TOKEN_LETTERS and value.isprintable()


def is_category(value: Any) -> TypeGuard[str]:
    """Return whether a value can be the name of a class."""
    return isinstance(value, str) and CATEGORY.fullmatch(value) is not None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and isfinite(value)


def _is_index(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _indices(value: Any) -> tuple[int, ...] | None:
    if not isinstance(value, list):
        return None
    return tuple(index for index in value if _is_index(index))[:4]
