"""How far queries and keys lie apart in the image."""

from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

from analysis.grid import Cell, Grid


@dataclass(frozen=True, eq=False)
class Distances:
    """Distances between the middles of query and key cells, in image pixels.

    Kept as squares along either axis, from which those of a row of cells are quickly made. Between
    frames there is no distance.
    """

    down: Float[Tensor, "query_rows key_rows"]
    across: Float[Tensor, "query_cols key_cols"]
    key_frames: int
    alike: bool  # whether the distance depends only on how many rows and columns lie between

    @classmethod
    @lru_cache(maxsize=16)  # the images of a folder often share their grids
    def between(cls, query_grid: Grid, key_grid: Grid, dtype: torch.dtype) -> "Distances":
        """Return the distances between the cells of two grids on the same image."""
        (query_x, query_y), (key_x, key_y) = _axes(query_grid), _axes(key_grid)
        down = (query_y[:, None] - key_y).square().to(dtype)
        across = (query_x[:, None] - key_x).square().to(dtype)
        alike = query_grid.cell_height == key_grid.cell_height
        return cls(down, across, key_grid.frames, alike)

    @property
    def farthest(self) -> float:
        """The greatest distance of any query from any key."""
        return (self.down.amax() + self.across.amax()).sqrt().item()

    @cached_property
    def mean_to_keys(self) -> Float[Tensor, " key_pos"]:
        """The distance of every key from all queries on average."""
        total = torch.zeros(self.down.shape[1] * self.across.shape[1], dtype=torch.float64)
        for row in range(len(self.down)):
            total += self.from_row(row).sum(dim=0, dtype=torch.float64)
        return (total / (len(self.down) * len(self.across))).repeat(self.key_frames)

    def from_row(self, row: int) -> Float[Tensor, "query_cols key_pos"]:
        """Return the distances of the cells in a row of queries from the keys of a frame."""
        if not self.alike:
            return (self.down[row, :, None] + self.across[:, None]).sqrt_().flatten(1)
        start = len(self.down) - 1 - row
        return self._by_rows_between[:, start : start + self.down.shape[1]].flatten(1)

    def weigh(
        self, first: int, weights: Float[Tensor, "queries key_pos"]
    ) -> Float[Tensor, " queries"]:
        """Return the sum over all keys of weight times distance, for queries from `first` on."""
        if self.key_frames > 1:
            weights = weights.unflatten(1, (self.key_frames, -1)).sum(dim=1)
        rows, cols = len(self.down), len(self.across)
        sums, done = [], 0
        while done < len(weights):
            row, col = divmod((first + done) % (rows * cols), cols)
            count = min(cols - col, len(weights) - done)
            apart = self.from_row(row)[col : col + count]
            sums.append(torch.linalg.vecdot(weights[done : done + count], apart))
            done += count
        return torch.cat(sums)

    @cached_property
    def _by_rows_between(self) -> Float[Tensor, "query_cols rows_between key_cols"]:
        """From every query column, by the rows down to the key: first those that lie above it.

        The distances from one row of queries are a window of this, which nobody has to copy.
        """
        between = torch.cat((self.down[1:, 0].flip(0), self.down[0]))
        return (between[:, None] + self.across[:, None]).sqrt_()


def _axes(grid: Grid) -> tuple[Float[Tensor, " cols"], Float[Tensor, " rows"]]:
    """Return the x of the middle of every column and the y of that of every row."""
    x = [grid.center(Cell(0, col))[0] for col in range(grid.width)]
    y = [grid.center(Cell(row, 0))[1] for row in range(grid.height)]
    return torch.tensor(x, dtype=torch.float64), torch.tensor(y, dtype=torch.float64)
