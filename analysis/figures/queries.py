"""Which queries a figure shows: points, cells, regular grids, tokens, those that differ most."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import isfinite
from typing import Literal

from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.analysis.grid import Cell, Grid
from nonlocal_lens.analysis.query_map import most_different
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.scene import Point, Query
from nonlocal_lens.models.limits import shortened

MOST_QUERIES = 400
"""A figure of more rows than this is a mistake."""

LONGEST_TOKEN = 60
"""Letters of the name of a token that is asked for."""


@dataclass(frozen=True)
class QuerySpec:
    """A way to choose queries, before there is an image."""

    kind: Literal["point", "cell", "grid", "auto", "token"]
    a: float  # x, row, rows, or how many; unused of a token
    b: float = 0.0  # y, column, columns, or unused
    frame: int | None = None  # of a clip; None: the one in the middle
    name: str = ""  # of a token

    @classmethod
    def parse(cls, text: str) -> "QuerySpec":
        """Read `X,Y`, `T,X,Y` in a clip, `cell:R,C`, `grid:RxC`, `auto:K` or the name of a token.

        A name that could be read as something else may be given as `token:NAME`.

        Raises:
            ValueError: It is anything else.
        """
        first, _, point = text.partition(",")
        if ":" not in text and point.count(",") == 1:
            if not first.strip().isdecimal():
                raise ValueError(
                    "a query in a clip must be T,X,Y (frame, image pixels), X,Y or auto:K, "
                    f"got {text!r}"
                )
            return replace(cls.parse(point), frame=int(first))
        kind, colon, rest = text.strip().partition(":")
        if not colon:
            kind, rest = ("token" if _is_name(kind) else "point"), kind
        try:
            if kind == "token":
                if not 1 <= len(rest.strip()) <= LONGEST_TOKEN:
                    raise ValueError
                spec = cls("token", 0, name=rest.strip())
            elif kind == "auto":
                spec = cls("auto", int(rest))
            elif kind == "grid":
                rows, columns = rest.lower().split("x")
                spec = cls("grid", int(rows), int(columns))
            elif kind == "cell":
                row, column = rest.split(",")
                spec = cls("cell", int(row), int(column))
            elif kind == "point":
                x, y = (float(number) for number in rest.split(","))
                spec = cls("point", x, y)
            else:
                raise ValueError
            spec._check()
        except (ValueError, OverflowError) as error:
            why = f": {error}" if str(error).startswith("at ") else ""
            raise ValueError(
                "a query must be X,Y (image pixels), cell:R,C, grid:RxC, auto:K or the name of a "
                f"token, like class, got {shortened(text, 60)!r}{why}"
            ) from error
        return spec

    def _check(self) -> None:
        count = self.count
        if not 1 <= count <= MOST_QUERIES:
            raise ValueError(f"at least 1 and at most {MOST_QUERIES} queries can be shown")
        if not (isfinite(self.a) and isfinite(self.b)) or min(self.a, self.b) < 0:
            raise ValueError

    @property
    def count(self) -> int:
        """How many queries it stands for."""
        if self.kind == "auto":
            return int(self.a)
        return int(self.a * self.b) if self.kind == "grid" else 1

    def of(self, record: AttentionRecord) -> list[Query]:
        """Return the queries of a record: image points, and names of tokens.

        Raises:
            ValueError: The record's image, grid or tokens do not have them.
        """
        axis, grid = record.query_axis, record.query_axis.grid
        if self.kind == "token":
            axis.index(self.name)
            return [self.name]
        if self.kind == "auto":
            return [query_at(axis, index) for index in most_different(record, int(self.a))]
        if grid is None:
            raise ValueError(
                f"queries of block {record.block!r} are no places of the image, but tokens: "
                f"{shortened(', '.join(axis.names), 100)}"
            )
        if self.kind == "point":
            axis.under(self.a, self.b)
            return [(self.a, self.b)]
        if self.kind == "cell":
            cell = Cell(int(self.a), int(self.b))
            grid.position(cell)
            axis.under(*grid.center(cell))
            return [grid.center(cell)]
        return list(regular_points(grid, int(self.a), int(self.b)))


def _is_name(text: str) -> bool:
    return text[:1].isalpha() and "," not in text


def query_at(axis: Axis, index: int) -> Query:
    """Return the query of an index: the middle of its cell, or what it is called."""
    name = axis.name(index)
    return axis.center(index) if name is None else name


def queries_of(record: AttentionRecord, specs: Sequence[QuerySpec]) -> list[Query]:
    """Return the queries that all specifications stand for, in their order."""
    return [query for spec in specs for query in spec.of(record)]


def regular_points(grid: Grid, rows: int, columns: int) -> list[Point]:
    """Return the middles of rows x columns equal parts of the image, row by row."""
    height, width = grid.image_hw
    return [
        ((column + 0.5) * width / columns, (row + 0.5) * height / rows)
        for row in range(rows)
        for column in range(columns)
    ]
