from dataclasses import replace

import numpy as np
import pytest

from nonlocal_lens.analysis.grid import Cell, Grid


def test_position_and_cell_are_inverse_for_every_position():
    grid = Grid.tiling((40, 56), 5, 7, frames=3)
    cells = [grid.cell(position) for position in range(grid.positions)]
    assert len(set(cells)) == grid.positions == 105
    assert [grid.position(cell) for cell in cells] == list(range(105))
    assert cells[36] == Cell(row=0, col=1, frame=1), "row-major, frame by frame"


@pytest.mark.parametrize("image_hw", [(40, 56), (37, 101), (480, 20), (9, 511)], ids=str)
def test_every_pixel_is_in_the_cell_that_covers_it(image_hw):
    grid = Grid.tiling(image_hw, 5, 7)
    for y in range(image_hw[0]):
        for x in (0, image_hw[1] // 2, image_hw[1] - 1):
            row, col, _ = grid.cell_at(x=x + 0.5, y=y + 0.5)
            assert row * grid.cell_height <= y + 0.5 < (row + 1) * grid.cell_height
            assert col * grid.cell_width <= x + 0.5 < (col + 1) * grid.cell_width


def test_a_cells_center_is_in_the_cell():
    grid = Grid.tiling((37, 101), 5, 7)
    for position in range(grid.positions):
        x, y = grid.center(grid.cell(position))
        assert grid.cell_at(x=x, y=y) == grid.cell(position)


def test_a_value_worked_by_hand():
    grid = Grid.tiling((360, 480), 45, 60)
    assert (grid.cell_height, grid.cell_width) == (8, 8)
    assert grid.cell_at(x=100, y=20) == Cell(row=2, col=12)
    assert grid.position(Cell(2, 12)) == 132
    assert grid.center(Cell(2, 12)) == (100, 20)


def test_pooled_cells_keep_their_place_and_leave_the_remainder_out():
    pooled = Grid.tiling((56, 56), 7, 7).subsampled(3, 3)
    assert (pooled.cell_height, pooled.cell_width) == (16, 16)
    assert pooled.cell_at(x=47.9, y=0) == Cell(0, 2)
    with pytest.raises(ValueError, match="under no cell"):
        pooled.cell_at(x=48, y=0)


@pytest.mark.parametrize("offset", [(0.0, 0.0), (-3.5, -3.5), (2.25, -1.0)])
def test_a_moved_grid_covers_the_same_pixels_with_the_nearest_cells(offset):
    grid = Grid.tiling((40, 56), 5, 7, offset=offset)
    centers = [grid.center(Cell(row, 0))[1] for row in range(5)]
    assert centers == [8 * row + 4 + offset[0] for row in range(5)]
    for y in np.arange(0.3, 40, 0.5):  # never halfway between two cells
        nearest = min(range(5), key=lambda row: abs(centers[row] - y))
        assert grid.cell_at(x=3, y=y).row == grid.rows_at(np.array(y)) == nearest
    assert grid.cell_at(x=55.9, y=39.9) == Cell(4, 6)
    assert grid.cell_at(x=0, y=0) == Cell(0, 0)


def test_pooled_cells_are_moved_as_far_as_those_they_are_made_of():
    grid = Grid.tiling((56, 56), 7, 7, offset=(-3.5, -3.5))
    pooled = grid.subsampled(3, 3)
    for row in range(3):
        ys = [grid.center(Cell(2 * row + index, 0))[1] for index in (0, 1)]
        assert pooled.center(Cell(row, 0))[1] == sum(ys) / 2
    assert pooled.bounds == (-3.5, -3.5, 44.5, 44.5)
    assert pooled.box(Cell(1, 2)) == (28.5, 12.5, 16, 16)
    with pytest.raises(ValueError, match="under no cell"):
        pooled.cell_at(x=48, y=0)


@pytest.mark.parametrize(("step", "height", "width"), [(2, 3, 4), (3, 2, 3), (1, 5, 7)])
def test_cells_that_are_sampled_keep_their_middles_and_leave_nothing_out(step, height, width):
    grid = Grid.tiling((40, 56), 5, 7, offset=(-3.5, 2.25))
    sampled = grid.sampled(height, width, step=step)
    for row in range(height):
        for col in range(width):
            assert sampled.center(Cell(row, col)) == grid.center(Cell(step * row, step * col))
    assert sampled.cell_at(x=55.9, y=39.9) == Cell(height - 1, width - 1)
    assert sampled.cell_at(x=0, y=0) == Cell(0, 0)


def test_windows_are_sampled_at_their_middles_and_leave_the_remainder_out():
    grid = Grid.tiling((72, 88), 9, 11, offset=(-1.5, -1.5))
    assert grid.sampled(2, 2, step=4, first=1.5) == replace(
        grid, height=2, width=2, cell_height=32, cell_width=32
    )


@pytest.mark.parametrize("point", [(-1, 0), (480, 0), (0, -0.1), (0, 360)], ids=str)
def test_points_outside_the_image_are_refused(point):
    with pytest.raises(ValueError, match=r"x must be in \[0, 480\), y in \[0, 360\)"):
        Grid.tiling((360, 480), 45, 60).cell_at(x=point[0], y=point[1])


def test_cells_and_positions_off_the_grid_are_refused():
    grid = Grid.tiling((40, 56), 5, 7)
    with pytest.raises(ValueError, match=r"outside the grid of .* = \(1, 5, 7\)"):
        grid.position(Cell(5, 0))
    with pytest.raises(ValueError, match=r"position must be in \[0, 35\), got 35"):
        grid.cell(35)
    with pytest.raises(ValueError, match="at least one cell"):
        Grid.tiling((40, 56), 0, 7)
    with pytest.raises(ValueError, match="positive sizes"):
        Grid.tiling((0, 56), 5, 7)
    with pytest.raises(ValueError, match=r"offset of cells must be finite, got \(nan, 0\)"):
        Grid.tiling((40, 56), 5, 7, offset=(float("nan"), 0))


def test_frames_of_cells_stand_for_frames_of_the_clip():
    even = Grid.tiling((40, 56), 5, 7, frames=4)
    assert [even.frame_at(frame, 10) for frame in range(10)] == [0, 0, 1, 1, 1, 2, 2, 3, 3, 3]
    assert even.clip_span(3, 10) == (7.5, 10.0)
    groups = [replace(even, first_frame=8.0 * number, frame_step=2.0) for number in range(2)]
    found = [[group.frame_at(frame, 16) for frame in range(16)] for group in groups]
    own = [0, 0, 1, 1, 2, 2, 3, 3]
    assert found == [own + [None] * 8, [None] * 8 + own]
    assert groups[1].clip_span(1, 16) == (10.0, 12.0)
    for pooled in (groups[1].subsampled(2, 3), groups[1].sampled(3, 4, step=2)):
        assert (pooled.first_frame, pooled.frame_step) == (8.0, 2.0)


@pytest.mark.parametrize(
    ("first", "frames", "ends"),
    [(-0.5, 8, (0, 7)), (0.0, 7, (0, None)), (1.0, 7, (0, 6)), (1.5, 7, (None, 6))],
)
def test_only_a_narrow_gap_at_a_clips_end_belongs_to_the_cells_there(first, frames, ends):
    grid = replace(Grid.tiling((40, 56), 5, 7, frames=frames), first_frame=first, frame_step=2.0)
    assert (grid.frame_at(0, 16), grid.frame_at(15, 16)) == ends


@pytest.mark.parametrize(
    ("first", "step"), [(1.0, None), (0.0, 0.0), (0.0, float("inf")), (float("nan"), 1.0)]
)
def test_frames_that_begin_nowhere_or_span_nothing_are_refused(first, step):
    with pytest.raises(ValueError, match="first_frame"):
        replace(Grid.tiling((40, 56), 5, 7), first_frame=first, frame_step=step)
