"""Which keys lie at a query's own place, and which lie beside it."""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.analysis.grid import Cell, Grid

SLACK = 1e-6
"""Of a cell, by which rounding may move a middle."""


@dataclass(frozen=True, eq=False)
class Places:
    """Some keys of every query, -1 where it has fewer than others."""

    keys: Int[Tensor, "query_pos some"]
    among: int  # how many keys there are

    @cached_property
    def mean_count(self) -> float:
        """How many keys these are on average."""
        return (self.keys >= 0).sum().item() / len(self.keys)

    def mean_of(self, row: Float[Tensor, "*heads key_pos"]) -> Float[Tensor, "*heads"]:
        """Return what one row has on these keys, on average over queries."""
        return row @ self._chance.to(row)

    @cached_property
    def _chance(self) -> Float[Tensor, " key_pos"]:
        """The share of queries of which every key is one of these."""
        counts = self.keys[self.keys >= 0].bincount(minlength=self.among)
        return counts.double() / len(self.keys)


@dataclass(frozen=True, eq=False)
class Neighborhood:
    """The keys at the place of every placed query, and those at most one of its cells away."""

    own: Places
    near: Places

    def weigh(
        self, first: int, weights: Float[Tensor, "*heads queries key_pos"]
    ) -> Float[Tensor, "*heads queries two"]:
        """Return a row's weight at its place, and that near it, for queries from `first` on."""
        keys, are_there = (side[first : first + weights.shape[-2]] for side in self._both)
        taken = weights.gather(-1, keys.expand(*weights.shape[:-2], -1, -1)).mul_(are_there)
        own, near = taken[..., : self._own], taken[..., self._own :]
        return torch.stack((own.sum(dim=-1), near.sum(dim=-1)), dim=-1)

    @property
    def _own(self) -> int:
        return self.own.keys.shape[1]

    @cached_property
    def _both(self) -> tuple[Int[Tensor, "query_pos some"], Bool[Tensor, "query_pos some"]]:
        """The keys of both, and whether they are there: of one query, first its own."""
        keys = torch.cat((self.own.keys, self.near.keys), dim=1)
        return keys.clamp_min(0), keys >= 0

    @classmethod
    @lru_cache(maxsize=16)  # the images of a folder often share their tokens
    def between(cls, query: Axis, key: Axis) -> "Neighborhood | None":
        """Return the neighborhoods of one side's places among those of the other.

        None where either has none. Cells of a grid that are no token are nobody's neighbors.

        A key is at a query's place if its cell holds the middle of the query's, and near if their
        middles lie at most one cell of the query's grid apart, down and across. Between frames
        there is no nearness: a query has the keys of its own frame, by its share of the clip where
        the two grids have not equally many.
        """
        query_grid, key_grid = query.grid, key.grid
        if query_grid is None or key_grid is None or not (query.placed and key.placed):
            return None
        down, across = _middles(query_grid)
        key_down, key_across = _middles(key_grid)
        rows = _none_beyond(key_grid.rows_at(down), key_grid.height)
        columns = _none_beyond(key_grid.columns_at(across), key_grid.width)
        near_rows = _within(down, key_down, query_grid.cell_height)
        near_columns = _within(across, key_across, query_grid.cell_width)
        return cls(
            _places(query, key, _positions(query_grid, key_grid, rows[:, None], columns[:, None])),
            _places(query, key, _positions(query_grid, key_grid, near_rows, near_columns)),
        )


def _places(query: Axis, key: Axis, cells: Int[Tensor, "cells some"]) -> Places:
    """Return which keys the cells are that belong to the cells of queries."""
    if query.cells is not None:
        cells = cells[torch.from_numpy(query.all_cells)]
    if key.cells is None:
        return Places(cells, len(key))
    index = key.on_grid(torch.arange(len(key), dtype=torch.float64), missing=-1.0).long()
    return Places(index[cells.clamp_min(0)].where(cells >= 0, -1), len(key))


def _middles(grid: Grid) -> tuple[Float[np.ndarray, " rows"], Float[np.ndarray, " columns"]]:
    down = [grid.center(Cell(row, 0))[1] for row in range(grid.height)]
    across = [grid.center(Cell(0, column))[0] for column in range(grid.width)]
    return np.array(down), np.array(across)


def _none_beyond(index: Int[np.ndarray, " cells"], count: int) -> Int[np.ndarray, " cells"]:
    return np.where(index < count, index, -1)


def _within(
    at: Float[np.ndarray, " cells"], keys: Float[np.ndarray, " keys"], cell: float
) -> Int[np.ndarray, "cells some"]:
    """Return the indices of the keys at most one cell from every middle, -1 behind the last."""
    close = np.abs(keys - at[:, None]) <= cell * (1 + SLACK)
    order = np.argsort(~close, axis=1, kind="stable")[:, : max(close.sum(axis=1).max(), 1)]
    return np.where(np.take_along_axis(close, order, axis=1), order, -1)


def _positions(
    query_grid: Grid,
    key_grid: Grid,
    rows: Int[np.ndarray, "query_rows some_rows"],
    columns: Int[np.ndarray, "query_columns some_columns"],
) -> Int[Tensor, "query_pos some"]:
    """Return the flat positions of all pairs of a row and a column, for every query."""
    row, column = rows[:, None, :, None], columns[None, :, None, :]
    in_frame = np.where((row >= 0) & (column >= 0), row * key_grid.width + column, -1)
    in_frame = in_frame.reshape(query_grid.height * query_grid.width, -1)
    frames = np.arange(query_grid.frames) * key_grid.frames // query_grid.frames
    start = frames[:, None, None] * (key_grid.height * key_grid.width)
    keys = np.where(in_frame >= 0, in_frame + start, -1)
    return torch.from_numpy(keys.reshape(query_grid.positions, -1))
