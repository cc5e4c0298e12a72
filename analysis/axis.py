"""The tokens along one side of an attention matrix: places of a grid first, then named ones."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from nonlocal_lens.analysis.grid import Grid


@dataclass(frozen=True, eq=False)
class Axis:
    """Tokens in the order of rows, or of columns, of an attention matrix.

    Those with a place come first, in the order of the grid whose cells they are. Tokens that lie
    nowhere follow, each with a name: "class", "register 1", "query 17", a word.

    Attributes:
        grid: The lattice; None where no token has a place.
        cells: Which cell each placed token is, rising; None where all cells of the grid are there.
        names: What the tokens without a place are called, in the network's order.

    Raises:
        ValueError: Cells are not those of the grid, in rising order.
    """

    grid: Grid | None
    cells: Int[np.ndarray, " placed"] | None = None
    names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.cells is None:
            return
        if self.grid is None:
            raise ValueError("cells must be those of a grid, and there is none")
        cells = np.asarray(self.cells)
        if cells.ndim != 1 or (np.diff(cells) <= 0).any():
            raise ValueError("cells must be one-dimensional and rising, each there once")
        if cells.size and not (cells[0] >= 0 and cells[-1] < self.grid.positions):
            raise ValueError(
                f"cells must be in [0, {self.grid.positions}), got {cells[0]} to {cells[-1]}"
            )

    @property
    def placed(self) -> int:
        """How many tokens have a place: index i < placed is one of these."""
        if self.cells is not None:
            return len(self.cells)
        return 0 if self.grid is None else self.grid.positions

    def __len__(self) -> int:
        return self.placed + len(self.names)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Axis):
            return NotImplemented
        return (self.grid, self.names) == (other.grid, other.names) and np.array_equal(
            self.all_cells, other.all_cells
        )

    def __hash__(self) -> int:
        return hash((self.grid, self.placed, self.names))

    @property
    def counting(self) -> int:
        """How many tokens, the first ones, count as queries.

        Those that have a place, or all where none has: means over queries are over these.
        """
        return self.placed or len(self.names)

    @property
    def is_whole_grid(self) -> bool:
        """Whether the tokens are all cells of a grid, and nothing else."""
        return self.grid is not None and self.cells is None and not self.names

    def subset(self, indices: Int[Tensor, " some"]) -> "Axis":
        """Return some of the tokens; `indices` must rise."""
        chosen = indices.numpy()
        cells = self.all_cells[chosen[chosen < self.placed]]
        names = tuple(self.names[index - self.placed] for index in chosen[chosen >= self.placed])
        whole = self.grid is not None and len(cells) == self.grid.positions
        return Axis(
            self.grid if len(cells) else None, None if whole or not len(cells) else cells, names
        )

    def on_grid(
        self, values: Float[Tensor, "*rows tokens"], missing: float = float("nan")
    ) -> Float[Tensor, "*rows positions"]:
        """Return the values of placed tokens, laid over all cells of the grid.

        Args:
            values: One for every token; those of tokens without a place are left out.
            missing: What cells have that are no token.

        Raises:
            ValueError: No token has a place.
        """
        if self.grid is None:
            raise ValueError("none of the tokens has a place, so that there is nothing to lay out")
        placed = values[..., : self.placed]
        if self.cells is None:
            return placed
        laid = values.new_full((*values.shape[:-1], self.grid.positions), missing)
        laid[..., torch.from_numpy(np.asarray(self.cells))] = placed
        return laid

    def index(self, name: str) -> int:
        """Return the index of a named token.

        Raises:
            ValueError: No token has that name.
        """
        if name not in self.names:
            known = ", ".join(self.names) or "none, all tokens are places"
            raise ValueError(f"no token is called {name!r}; names are: {known}")
        return self.placed + self.names.index(name)

    def cell(self, index: int) -> int | None:
        """Return which cell of the grid a token is, as a flat position; None if it is no place.

        Raises:
            ValueError: There is no such token.
        """
        if not 0 <= index < len(self):
            raise ValueError(f"index must be in [0, {len(self)}), got {index}")
        if index >= self.placed:
            return None
        return index if self.cells is None else int(self.cells[index])

    def at(self, cell: int) -> int | None:
        """Return the index of the token that is a cell of the grid; None where none is."""
        if self.cells is None:
            return cell if 0 <= cell < self.placed else None
        index = int(np.searchsorted(self.cells, cell))
        return index if index < len(self.cells) and self.cells[index] == cell else None

    def under(self, x: float, y: float, frame: int = 0) -> int:
        """Return the index of the token under an image point.

        Raises:
            ValueError: The point lies outside the image, or under no token.
        """
        if self.grid is None:
            raise ValueError(f"none of these tokens has a place: {', '.join(self.names)}")
        cell = self.grid.cell_at(x=x, y=y, frame=frame)
        index = self.at(self.grid.position(cell))
        if index is None:
            raise ValueError(
                f"pixel (x={x:g}, y={y:g}) is under no token: this cell of the grid is left out"
            )
        return index

    def center(self, index: int) -> tuple[float, float]:
        """Return the image point (x, y) at the middle of a token's cell.

        Raises:
            ValueError: There is no such token, or it has no place.
        """
        cell = self.cell(index)
        if cell is None or self.grid is None:
            raise ValueError(f"token {self.name(index)!r} has no place in the image")
        return self.grid.center(self.grid.cell(cell))

    def name(self, index: int) -> str | None:
        """Return what a token without a place is called; None for a place."""
        return self.names[index - self.placed] if index >= self.placed else None

    @property
    def described(self) -> str:
        """How many tokens there are of which kind, in words."""
        if self.grid is None:
            return f"{len(self)} tokens without a place"
        shape = f"(frames, rows, columns) = {self.grid.shape}"
        if self.cells is None and not self.names:
            return f"{self.placed} positions of its grid {shape}"
        tokens = "token" if len(self.names) == 1 else "tokens"
        named = f" and {len(self.names)} {tokens} without a place" if self.names else ""
        return f"{self.placed} tokens on its grid {shape}{named}"

    @property
    def all_cells(self) -> Int[np.ndarray, " placed"]:
        """Which cell of the grid every placed token is, as a flat position."""
        return np.arange(self.placed) if self.cells is None else np.asarray(self.cells)
