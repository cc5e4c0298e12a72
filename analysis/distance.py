"""How far queries and keys lie apart in the image."""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from analysis.grid import Cell, Grid


@dataclass(frozen=True, eq=False)
class Distances:
    """Distances between the middles of query and key cells, in image pixels.

    Kept as squares along either axis, from which any rows are quickly made.
    """

    down: Float[Tensor, "query_rows key_rows"]
    across: Float[Tensor, "query_cols key_cols"]
    key_frames: int

    @classmethod
    def between(cls, query_grid: Grid, key_grid: Grid, dtype: torch.dtype) -> "Distances":
        """Return the distances between the cells of two grids on the same image."""
        (query_x, query_y), (key_x, key_y) = _axes(query_grid), _axes(key_grid)
        down = (query_y[:, None] - key_y).square().to(dtype)
        across = (query_x[:, None] - key_x).square().to(dtype)
        return cls(down, across, key_grid.frames)

    @property
    def farthest(self) -> float:
        """The greatest distance of any query from any key."""
        return (self.down.amax() + self.across.amax()).sqrt().item()

    def rows(self, queries: Int[Tensor, " queries"]) -> Float[Tensor, "queries key_pos"]:
        """Return the distance of some queries from every key; frames have none between them."""
        row = queries // len(self.across) % len(self.down)
        col = queries % len(self.across)
        squares = self.down[row][:, :, None] + self.across[col][:, None, :]
        apart = squares.sqrt_().flatten(1)
        return apart if self.key_frames == 1 else apart.repeat(1, self.key_frames)


def _axes(grid: Grid) -> tuple[Float[Tensor, " cols"], Float[Tensor, " rows"]]:
    """Return the x of the middle of every column and the y of that of every row."""
    x = [grid.center(Cell(0, col))[0] for col in range(grid.width)]
    y = [grid.center(Cell(row, 0))[1] for row in range(grid.height)]
    return torch.tensor(x, dtype=torch.float64), torch.tensor(y, dtype=torch.float64)
