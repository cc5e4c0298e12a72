import pytest
import torch

from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.analysis.distance import Distances
from nonlocal_lens.analysis.grid import Grid

QUERY_GRID = Grid.tiling((40, 56), 5, 7, frames=3)
KEY_GRIDS = {
    "other cells": Grid.tiling((40, 56), 3, 11, frames=2),
    "cells as high": Grid.tiling((40, 56), 5, 11, frames=2),
    "the same": QUERY_GRID,
    "the same, moved": Grid.tiling((40, 56), 5, 7, offset=(-3.5, 2.0)),
}


def centers(grid):
    places = [grid.center(grid.cell(position)) for position in range(grid.positions)]
    return torch.tensor(places, dtype=torch.float64)


@pytest.mark.parametrize("kind", KEY_GRIDS)
def test_rows_are_the_distances_between_the_middles_of_cells(kind):
    grid = KEY_GRIDS[kind]
    distances = Distances.between(Axis(QUERY_GRID), Axis(grid), torch.float64)
    expected = torch.cdist(centers(QUERY_GRID), centers(grid))
    in_a_frame = expected[:35, : grid.height * grid.width]
    torch.testing.assert_close(torch.cat([distances.from_row(row) for row in range(5)]), in_a_frame)
    torch.testing.assert_close(distances.mean_to_keys, expected.mean(dim=0))
    assert distances.farthest == pytest.approx(expected.max().item())


@pytest.mark.parametrize("kind", KEY_GRIDS)
@pytest.mark.parametrize(("first", "count"), [(0, 105), (5, 1), (33, 17)])
def test_weighed_are_all_keys_of_all_frames(generator, kind, first, count):
    grid = KEY_GRIDS[kind]
    weights = torch.rand(count, grid.positions, generator=generator, dtype=torch.float64)
    apart = torch.cdist(centers(QUERY_GRID), centers(grid))[first : first + count]
    found = Distances.between(Axis(QUERY_GRID), Axis(grid), torch.float64).weigh(first, weights)
    torch.testing.assert_close(found, (weights * apart).sum(dim=1))


def test_by_hand_three_cells_right_and_one_down():
    grid = Grid.tiling((6, 20), 3, 5)
    row = Distances.between(Axis(grid), Axis(grid), torch.float32).from_row(0)[0]
    assert row.dtype == torch.float32
    assert row[0] == 0
    assert row[5 + 3].item() == pytest.approx((12**2 + 2**2) ** 0.5)
