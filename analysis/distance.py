"""How far queries and keys lie apart in the image."""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.analysis.grid import Cell, Grid

FEW = 2**18
"""So many distances at most are kept as they are."""


@dataclass(frozen=True, eq=False)
class Distances:
    """Distances between the middles of query and key cells, in image pixels.

    Kept as squares along either axis of the two lattices, from which those of a row of cells are
    quickly made. Between frames there is no distance, and tokens without a place are at none.
    """

    down: Float[Tensor, "query_rows key_rows"]
    across: Float[Tensor, "query_cols key_cols"]
    query: Axis
    key: Axis
    key_frames: int
    alike: bool  # whether the distance depends only on how many rows and columns lie between

    @classmethod
    @lru_cache(maxsize=16)  # the images of a folder often share their tokens
    def between(cls, query: Axis, key: Axis, dtype: torch.dtype) -> "Distances | None":
        """Return the distances between the placed tokens of two sides; None if there are none."""
        if query.grid is None or key.grid is None or not (query.placed and key.placed):
            return None
        (query_x, query_y), (key_x, key_y) = _middles(query.grid), _middles(key.grid)
        alike = query.grid.cell_height == key.grid.cell_height
        down = (query_y[:, None] - key_y).square().to(dtype)
        across = (query_x[:, None] - key_x).square().to(dtype)
        return cls(down, across, query, key, key.grid.frames, alike)

    @cached_property
    def farthest(self) -> float:
        """The greatest distance of a query from a key; at most that where cells are missing."""
        (rows, cols), (key_rows, key_cols) = _occupied(self.query), _occupied(self.key)
        down, across = self.down[rows][:, key_rows], self.across[cols][:, key_cols]
        return (down.amax() + across.amax()).sqrt().item()

    @cached_property
    def mean_to_keys(self) -> Float[Tensor, " placed_keys"]:
        """The distance of every placed key from all placed queries on average."""
        total, cols = torch.zeros(self._keys_of_frame, dtype=torch.float64), len(self.across)
        if self.query.cells is None:
            for row in range(len(self.down)):
                total += self.from_row(row).sum(dim=0, dtype=torch.float64)
            total /= len(self.down) * cols
        else:
            for cells in self._query_cells.split(cols):
                total += self.from_cells(cells).sum(dim=0, dtype=torch.float64)
            total /= len(self._query_cells)
        return total[torch.from_numpy(self.key.all_cells) % self._keys_of_frame]

    def from_row(self, row: int) -> Float[Tensor, "query_cols key_cells"]:
        """Return the distances of a row of cells of queries from all cells of keys of a frame."""
        return self._window(row).flatten(1)

    def from_cells(self, cells: Int[Tensor, " some"]) -> Float[Tensor, "some key_cells"]:
        """Return the distances of some cells of queries from all cells of keys of a frame."""
        rows, cols = cells // len(self.across), cells % len(self.across)
        return (self.down[rows][:, :, None] + self.across[cols][:, None]).sqrt_().flatten(1)

    def weigh(
        self, first: int, weights: Float[Tensor, "*heads queries key_pos"]
    ) -> Float[Tensor, "*heads queries"]:
        """Return the sum over placed keys of weight times distance, for queries from `first` on.

        Divided by the weight of all placed keys, it is a mean distance.
        """
        weights = self.key.on_grid(weights, missing=0.0)
        if self.key_frames > 1:
            weights = weights.unflatten(-1, (self.key_frames, -1)).sum(dim=-2)
        queries = weights.shape[-2]
        if (apart := self._from_queries(first, queries)) is not None:
            return (weights * apart).sum(dim=-1)
        rows, cols = len(self.down), len(self.across)
        sums, done = [], 0
        while done < queries:
            row, col = divmod((first + done) % (rows * cols), cols)
            count = min(cols - col, queries - done)
            some = weights[..., done : done + count, :].unflatten(-1, self._size_of_frame)
            sums.append((some * self._window(row)[col : col + count]).sum(dim=(-2, -1)))
            done += count
        return torch.cat(sums, dim=-1)

    def _from_queries(self, first: int, count: int) -> Float[Tensor, "some key_cells"] | None:
        """Return the distances of queries from `first` on; None where their rows are quicker."""
        if self._from_all is not None:
            return self._from_all[torch.arange(first, first + count) % len(self._from_all)]
        if self.query.cells is not None:
            return self.from_cells(self._query_cells[first : first + count])
        return None

    @cached_property
    def _from_all(self) -> Float[Tensor, "queries key_cells"] | None:
        """All distances of a frame's queries, kept where they are few."""
        queries = self._query_cells
        if self.query.cells is None:
            queries = queries[: len(self.down) * len(self.across)]
        return self.from_cells(queries) if len(queries) * self._keys_of_frame <= FEW else None

    @cached_property
    def _query_cells(self) -> Int[Tensor, " placed_queries"]:
        """Which cell of its frame every placed query is."""
        return torch.from_numpy(self.query.all_cells) % (len(self.down) * len(self.across))

    def _window(self, row: int) -> Float[Tensor, "query_cols key_rows key_cols"]:
        """Return what `from_row` does, laid out as the grid is."""
        if not self.alike:
            return (self.down[row, :, None] + self.across[:, None]).sqrt_()
        start = len(self.down) - 1 - row
        return self._by_rows_between[:, start : start + self.down.shape[1]]

    @property
    def _size_of_frame(self) -> tuple[int, int]:
        return self.down.shape[1], self.across.shape[1]

    @property
    def _keys_of_frame(self) -> int:
        return self.down.shape[1] * self.across.shape[1]

    @cached_property
    def _by_rows_between(self) -> Float[Tensor, "query_cols rows_between key_cols"]:
        """From every query column, by the rows down to the key: first those that lie above it.

        The distances from one row of queries are a window of this, which nobody has to copy.
        """
        between = torch.cat((self.down[1:, 0].flip(0), self.down[0]))
        return (between[:, None] + self.across[:, None]).sqrt_()


def _occupied(axis: Axis) -> tuple[Int[Tensor, " rows"], Int[Tensor, " cols"]]:
    """Return the rows and the columns of a grid in which tokens are."""
    assert axis.grid is not None  # whoever asks has places
    _, rows, cols = np.unravel_index(axis.all_cells, axis.grid.shape)
    return torch.from_numpy(np.unique(rows)), torch.from_numpy(np.unique(cols))


def _middles(grid: Grid) -> tuple[Float[Tensor, " cols"], Float[Tensor, " rows"]]:
    """Return the x of the middle of every column and the y of that of every row."""
    x = [grid.center(Cell(0, col))[0] for col in range(grid.width)]
    y = [grid.center(Cell(row, 0))[1] for row in range(grid.height)]
    return torch.tensor(x, dtype=torch.float64), torch.tensor(y, dtype=torch.float64)
