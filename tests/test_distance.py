import pytest
import torch

from analysis.distance import Distances
from analysis.grid import Grid

QUERY_GRID = Grid.tiling((40, 56), 5, 7, frames=3)
KEY_GRID = Grid.tiling((40, 56), 3, 11, frames=2)


def test_rows_are_the_distances_between_the_middles_of_cells():
    distances = Distances.between(QUERY_GRID, KEY_GRID, torch.float64)
    rows = distances.rows(torch.arange(QUERY_GRID.positions))
    query_at, key_at = (
        torch.tensor(
            [grid.center(grid.cell(position)) for position in range(grid.positions)],
            dtype=torch.float64,
        )
        for grid in (QUERY_GRID, KEY_GRID)
    )
    torch.testing.assert_close(rows, torch.cdist(query_at, key_at))
    assert distances.farthest == pytest.approx(rows.max().item())
    some = torch.tensor([90, 3, 3])
    assert torch.equal(distances.rows(some), rows[some])


def test_by_hand_three_cells_right_and_one_down():
    grid = Grid.tiling((6, 20), 3, 5)
    row = Distances.between(grid, grid, torch.float32).rows(torch.tensor([0]))
    assert row.dtype == torch.float32
    assert row[0, 0] == 0
    assert row[0, 5 + 3].item() == pytest.approx((12**2 + 2**2) ** 0.5)
