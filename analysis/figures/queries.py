"""Which queries a figure shows: points, cells, a regular grid, or those that differ most."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Literal

import torch
from torch.nn import functional as F

from analysis import terms
from analysis.figures.panels import Point
from analysis.grid import Cell, Grid
from analysis.record import AttentionRecord
from analysis.streaming import query_chunks

MOST_QUERIES = 400
"""A figure of more rows than this is a mistake."""


@dataclass(frozen=True)
class QuerySpec:
    """A way to choose queries, before there is an image."""

    kind: Literal["point", "cell", "grid", "auto"]
    a: float  # x, row, rows, or how many
    b: float = 0.0  # y, column, columns, or unused

    @classmethod
    def parse(cls, text: str) -> "QuerySpec":
        """Read `X,Y`, `cell:R,C`, `grid:RxC` or `auto:K`; ValueError for anything else."""
        kind, colon, rest = text.strip().partition(":")
        if not colon:
            kind, rest = "point", kind
        try:
            if kind == "auto":
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
        except ValueError as error:
            why = f": {error}" if str(error).startswith("at ") else ""
            raise ValueError(
                "a query must be X,Y (image pixels), cell:R,C, grid:RxC or auto:K, "
                f"got {text!r}{why}"
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

    def points(self, record: AttentionRecord) -> list[Point]:
        """Return image points; ValueError if the record's image or grid does not have them."""
        grid = record.query_grid
        if self.kind == "point":
            grid.cell_at(x=self.a, y=self.b)
            return [(self.a, self.b)]
        if self.kind == "cell":
            cell = Cell(int(self.a), int(self.b))
            grid.position(cell)
            return [grid.center(cell)]
        if self.kind == "grid":
            return regular_points(grid, int(self.a), int(self.b))
        return [grid.center(grid.cell(at)) for at in most_different(record, int(self.a))]


def query_points(record: AttentionRecord, specs: Sequence[QuerySpec]) -> list[Point]:
    """Return the image points that all specifications stand for, in their order."""
    return [point for spec in specs for point in spec.points(record)]


def regular_points(grid: Grid, rows: int, columns: int) -> list[Point]:
    """Return the middles of rows x columns equal parts of the image, row by row."""
    height, width = grid.image_hw
    return [
        ((column + 0.5) * width / columns, (row + 0.5) * height / rows)
        for row in range(rows)
        for column in range(columns)
    ]


def most_different(record: AttentionRecord, count: int) -> list[int]:
    """Return the positions of queries whose rows of whole attention differ most.

    The first is the query whose row is least like the mean row, every next one that whose greatest
    cosine similarity to the rows chosen before is least (farthest-point sampling, Gonzalez 1985).
    Time O(count x queries x keys), memory O(chunk x keys). Ties go to the lower position.

    Raises:
        ValueError: There are fewer queries than that.
    """
    if not 1 <= count <= record.query_grid.positions:
        raise ValueError(
            f"at least 1 and at most {record.query_grid.positions} queries can be chosen, "
            f"got {count}"
        )
    mean = torch.zeros(record.key.shape[0], dtype=torch.float64)
    for chunk in query_chunks(record):
        mean += F.normalize(terms.attention(record, chunk).double(), dim=1).sum(dim=0)
    reference = mean
    closest = torch.full((record.query.shape[0],), -torch.inf, dtype=torch.float64)
    chosen: list[int] = []
    for _ in range(count):
        reference = F.normalize(reference, dim=0)
        similarity = torch.cat(
            [
                F.normalize(terms.attention(record, chunk).double(), dim=1) @ reference
                for chunk in query_chunks(record)
            ]
        )
        if chosen:
            closest = torch.maximum(closest, similarity)
            closest[chosen] = torch.inf
        chosen.append(int((closest if chosen else similarity).argmin()))
        reference = terms.attention(record, chosen[-1:])[0].double()
    return chosen
