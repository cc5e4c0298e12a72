"""Tokens of one side: places first, then names."""

import numpy as np
import pytest

from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.analysis.grid import Grid

GRID = Grid.tiling((30, 42), 3, 7)


def test_a_whole_grid_keeps_flat_positions_as_indices():
    axis = Axis(GRID, None, ("class", "register 1"))
    assert (axis.placed, len(axis)) == (21, 23)
    assert [axis.cell(i) for i in range(23)] == [*range(21), None, None]
    assert all(axis.at(cell) == cell for cell in range(21))
    assert axis.center(8) == GRID.center(GRID.cell(8)) == (9.0, 15.0)


def test_some_cells_of_a_grid():
    axis = Axis(GRID, np.array([2, 3, 20]), ("class",))
    assert (axis.placed, len(axis)) == (3, 4)
    assert [axis.cell(i) for i in range(4)] == [2, 3, 20, None]
    assert [axis.at(cell) for cell in (2, 20, 4, 0)] == [0, 2, None, None]
    assert axis.center(2) == (39.0, 25.0)


def test_tokens_without_any_place():
    axis = Axis(None, None, ("query 1", "query 2"))
    assert (axis.placed, len(axis), axis.index("query 2")) == (0, 2, 1)
    assert axis.at(0) is None
    assert axis.name(1) == "query 2"


def test_names_follow_the_places():
    axis = Axis(GRID, np.array([5]), ("class", "prompt 1"))
    assert [axis.index(name) for name in axis.names] == [1, 2]
    assert [axis.name(i) for i in range(3)] == [None, "class", "prompt 1"]


def test_axes_are_equal_by_what_they_hold():
    assert Axis(GRID, np.arange(21), ("a",)) == Axis(GRID, None, ("a",))
    assert Axis(GRID, np.array([1])) != Axis(GRID, np.array([2]))
    assert Axis(None, None, ("a",)) != Axis(None, None, ("b",))


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([3, 3], "each there once"),
        ([4, 2], "rising"),
        ([0, 21], r"must be in \[0, 21\), got 0 to 21"),
    ],
)
def test_cells_must_be_those_of_the_grid(cells, message):
    with pytest.raises(ValueError, match=message):
        Axis(GRID, np.array(cells))


def test_cells_need_a_grid():
    with pytest.raises(ValueError, match="there is none"):
        Axis(None, np.array([0]))


def test_unknown_names_and_indices_are_told_the_known_ones():
    axis = Axis(GRID, None, ("class",))
    with pytest.raises(ValueError, match="no token is called 'words'; names are: class"):
        axis.index("words")
    with pytest.raises(ValueError, match=r"index must be in \[0, 22\), got 22"):
        axis.cell(22)
    with pytest.raises(ValueError, match="token 'class' has no place"):
        axis.center(21)
