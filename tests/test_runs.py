"""A block that runs twice on an input makes two maps: two rows of every table, never their mean."""

from dataclasses import replace

import pytest
import torch
from records import random_record
from torch import nn

from nonlocal_lens.analysis import capture, degeneracy, over_dataset, watch
from nonlocal_lens.analysis.depth import depth_profile
from nonlocal_lens.analysis.image_independence import image_independence
from nonlocal_lens.analysis.plots import plot_watch
from nonlocal_lens.analysis.runs import runs
from nonlocal_lens.analysis.scene import groups_of
from nonlocal_lens.app.notebook import explore
from nonlocal_lens.app.stats.columns import Column
from nonlocal_lens.app.stats.summary import average
from nonlocal_lens.app.survey.measure import measure
from nonlocal_lens.app.survey.tables import per_network, per_picture
from nonlocal_lens.models.blocks import NonLocalBlock

HW = (20, 28)


class Twice(nn.Module):
    """Cells of 4 pixels, and one block that is applied to what it made of them."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 4, 4)
        self.block = NonLocalBlock(6)

    def forward(self, x):
        return self.block(self.block(self.stem(x)))


@pytest.fixture
def twice(generator):
    torch.manual_seed(3)
    network = Twice().eval()
    for parameter in network.parameters():
        nn.init.normal_(parameter, generator=generator)
    return network


@pytest.fixture
def images(generator):
    numbers = torch.randint(0, 256, (2, *HW, 3), generator=generator, dtype=torch.uint8)
    return list(numbers.numpy())


def shares(network, image):
    return [degeneracy.measure(record).unary_share for record in capture(network, image)]


def test_tables_have_a_row_for_every_run(twice, images):
    expected = [share for image in images for share in shares(twice, image)]
    assert expected[0] != pytest.approx(expected[1], rel=1e-3)
    table = over_dataset(twice, images)
    assert table["call"].tolist() == [0, 1, 0, 1]
    assert table["unary_share"].tolist() == pytest.approx(expected)


def test_a_run_is_a_layer(twice, images):
    profile = depth_profile(twice, images)
    found = profile[profile["statistic"] == "unary_share"]
    assert found["layer"].tolist() == found["call"].tolist() == [0, 1, 0, 1]


def test_a_second_run_is_no_second_image(twice, images):
    table = image_independence(twice, images)
    assert table["call"].tolist() == [0, 1]
    assert table["images"].tolist() == [2, 2]


def test_a_watched_training_has_a_row_and_a_line_for_every_run(twice, generator):
    batch = torch.rand(1, 3, *HW, generator=generator)
    watched = watch(twice, [batch])
    assert watched.frame["call"].tolist() == [0, 1]
    legend = plot_watch(watched.frame).get_legend()
    assert [text.get_text() for text in legend.get_texts()] == ["block", "block, call 1"]


def test_averages_are_over_inputs_and_of_one_run():
    part = {"network": "n", "block": "b", "head": None}
    rows = [
        {**part, "input": name, "call": call, "x": float(10 * call + at)}
        for at, name in enumerate("pqr")
        for call in (0, 1)
    ]
    found = average(rows, [Column("x", float, told=True)], seed=0)
    assert {group.call: of["x"].mean for group, of in found.items()} == {0: 1.0, 1: 11.0}
    assert [group.title for group in found] == ["n b", "n b call 1"]


def test_a_survey_tells_runs_apart(twice, images):
    from nonlocal_lens.app.pictures import Picture

    picture = Picture("upload-1", images[0], "noise", "noise.png")
    rows = [{"item": 0, **row} for row in measure("twice", twice, picture, ()).rows]
    table = per_picture(rows)
    assert table["series"].tolist() == ["twice, call 0", "twice, call 1"]
    assert per_network(table)["unary_share"].tolist() == pytest.approx(shares(twice, images[0]))


def test_a_notebook_shows_the_run_that_is_asked_for(twice, images):
    lens = explore(twice, images[0], call=1)
    assert lens.records[0].call == 1
    report = lens.report()
    assert report["call"].tolist() == [0, 1]
    assert report["unary_share"].tolist() == pytest.approx(shares(twice, images[0]))
    with pytest.raises(ValueError, match="there is no block in a call 2; available: block, block"):
        explore(twice, images[0], call=2)


def test_runs_are_counted_on_the_frames_that_a_block_sees(generator):
    made = random_record(generator, "coupled")
    grid = replace(made.query_grid, frame_step=1.0)

    def of(call, first, block="a"):
        moved = replace(grid, first_frame=float(first))
        axis = replace(made.query_axis, grid=moved)
        return replace(made, block=block, call=call, query_grid=moved, query_axis=axis)

    once = [of(0, 0), of(1, 4), of(2, 8)]
    assert runs(once) == [0, 0, 0]
    again = [of(0, 0), of(1, 0), of(2, 4), of(3, 4), of(0, 0, "b"), of(3, 0, "b")]
    assert runs(again) == [0, 1, 0, 1, 0, 3]
    assert groups_of(again, again[1]) == [again[1], again[3]]
    assert groups_of(once, once[1]) == once
