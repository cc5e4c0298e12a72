"""Deletion, insertion and shuffled weights: what an order of cells explains, by hand."""

import numpy as np
import pytest
import torch
from networks import tiny_network
from torch import nn

from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.analysis.capture import capture
from nonlocal_lens.analysis.faithfulness import cell_of_pixels, faithfulness, randomized
from nonlocal_lens.analysis.grid import Grid
from nonlocal_lens.models.blocks import NonLocalBlock
from nonlocal_lens.models.preprocess import Preprocess

ROWS, COLUMNS, SIZE = 5, 7, 4
CELLS = ROWS * COLUMNS
CHOSEN = 2 * COLUMNS + 3


class HangsOnOneCell(nn.Module):
    """Names a picture by one cell of it; its block, which is not used, attends all the same."""

    preprocess = Preprocess(stride=SIZE, long_side=(8, 64))

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.block, self.scores = NonLocalBlock(3, init="awake"), nn.Linear(3, 4)

    def forward(self, x):
        cells = nn.functional.avg_pool2d(x, SIZE)
        return self.scores(cells.flatten(2)[:, :, CHOSEN]) + 0 * self.block(cells).mean()


@pytest.fixture
def image():
    size = (ROWS * SIZE, COLUMNS * SIZE, 3)
    return np.random.default_rng(0).integers(0, 256, size, np.uint8)


def test_areas_are_those_of_the_cell_that_the_score_hangs_on(image):
    network = HangsOnOneCell().eval()
    with torch.no_grad():
        own = network(network.preprocess(image)).softmax(1)
        gray = network(torch.zeros(1, 3, ROWS * SIZE, COLUMNS * SIZE)).softmax(1)
    target = int(own.argmax())
    shown, hidden = own[0, target].item(), gray[0, target].item()
    table = faithfulness(network, image, 3, steps=CELLS, draws=2)
    assert list(table.index) == ["whole", "pairwise", "unary", "saliency", "random"]
    half = (shown + hidden) / 2
    assert table.loc["saliency", "deletion_auc"] == pytest.approx(
        (half + (CELLS - 1) * hidden) / CELLS
    )
    assert table.loc["saliency", "insertion_auc"] == pytest.approx(
        (half + (CELLS - 1) * shown) / CELLS
    )
    assert table["explains"].idxmax() == "saliency"
    for _, row in table.iterrows():  # what one order takes away early it gives back early
        assert row["deletion_auc"] + row["insertion_auc"] == pytest.approx(shown + hidden)
        assert row["explains"] == pytest.approx(row["insertion_auc"] - row["deletion_auc"])
    assert table.equals(faithfulness(network, image, 3, steps=CELLS, draws=2)), "one seed, one lot"


@pytest.mark.parametrize("cells", [None, np.array([0, 3, 17, 34])])
def test_pixels_lie_on_the_cells_under_their_middles(cells):
    axis = Axis(Grid.tiling((40, 56), ROWS, COLUMNS), cells)
    found = cell_of_pixels(axis, (20, 37))
    for row, column in np.ndindex(found.shape):
        cell = axis.grid.cell_at(x=(column + 0.5) * 56 / 37, y=(row + 0.5) * 40 / 20)
        at = np.flatnonzero(axis.all_cells == axis.grid.position(cell))
        assert found[row, column] == (at[0] if at.size else -1)


def test_pixels_beyond_the_last_cell_are_on_none():
    assert (cell_of_pixels(Axis(Grid(2, 2, 4.0, 4.0, (8, 11))), (8, 11))[:, 8:] == -1).all()


def test_a_map_that_hangs_on_no_weight_stays_and_others_do_not(image):
    class ByColor(HangsOnOneCell):
        def forward(self, x):
            return x[:, :, 9, 13] + 0 * super().forward(x).mean()

    table = randomized(ByColor().eval(), image, 3)
    assert table.loc["saliency", "rank_correlation"] == pytest.approx(1)
    assert table.loc["saliency", "overlap"] == pytest.approx(1)
    assert table.loc["whole", "rank_correlation"] < 0.999


def test_shuffling_leaves_the_network_alone_and_maps_of_it_are_compared(image):
    network = tiny_network("disentangled")
    before = {name: value.clone() for name, value in network.state_dict().items()}
    position = capture(network, image)[0].query_axis.placed // 2
    table = randomized(network, image, position, draws=2)
    assert list(table.index) == ["whole", "pairwise", "unary", "saliency"]
    assert table["overlap"].between(0, 1).all()
    assert table.loc["saliency", "overlap"] < 0.9
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())


def test_without_steps_or_draws_there_is_nothing_to_tell(image):
    with pytest.raises(ValueError, match="steps and draws must be at least 1, got 0 and 4"):
        faithfulness(HangsOnOneCell().eval(), image, 3, steps=0)
    with pytest.raises(ValueError, match="draws must be at least 1, got 0"):
        randomized(HangsOnOneCell().eval(), image, 3, draws=0)
