import re

import numpy as np
import pytest
from records import random_record
from test_tokens import record_of

from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.analysis.figures.queries import QuerySpec, queries_of
from nonlocal_lens.analysis.grid import Grid
from nonlocal_lens.analysis.query_map import most_different

AXIS = Axis(Grid.tiling((40, 56), 5, 7))


def points(record, *texts):
    return queries_of(record, [QuerySpec.parse(text) for text in texts])


def test_points_cells_and_grids_are_image_points_in_the_order_given(generator):
    record = random_record(generator)  # 5 x 7 cells of 8 x 8 pixels
    assert points(record, "50,3.5", "cell:4,6", "grid:2x1") == [
        (50, 3.5),
        (52, 36),
        (28, 10),
        (28, 30),
    ]


def test_auto_chooses_the_queries_that_every_page_shows(generator):
    record = random_record(generator, scale=2.0)
    grid = record.query_grid
    for count in (1, 2, 5):
        chosen = [grid.center(grid.cell(query)) for query in most_different(record, count)]
        assert points(record, f"auto:{count}") == chosen
    with pytest.raises(ValueError, match="at most 35 queries can be chosen, got 36"):
        points(record, "auto:36")


@pytest.mark.parametrize(
    "text",
    ["", "5", "5,6,7,8", "-1,3", "nan,3", "grid:4", "grid:0x3", "grid:99x99", "auto:0", "all:3"],
)
def test_other_queries_are_refused(text):
    message = (
        "a query must be X,Y (image pixels), cell:R,C, grid:RxC, auto:K or the name of a token, "
        f"like class, got {text!r}"
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        QuerySpec.parse(text)


@pytest.mark.parametrize("text", ["56,3", "cell:5,0"])
def test_queries_beyond_the_image_are_refused_when_there_is_one(text, generator):
    with pytest.raises(ValueError, match="outside the"):
        points(random_record(generator), text)


@pytest.mark.parametrize(
    ("text", "name"),
    [("class", "class"), ("register 2", "register 2"), ("token:class", "class"), ("token:7", "7")],
)
def test_tokens_that_are_no_places_are_asked_for_by_their_names(text, name, generator):
    spec = QuerySpec.parse(text)
    assert (spec.kind, spec.name, spec.count) == ("token", name, 1)
    axis = Axis(Grid.tiling((40, 56), 5, 7), None, ("class", "register 2", "7"))
    assert spec.of(record_of(generator, axis, axis)) == [name]
    with pytest.raises(ValueError, match=r"no token is called .*; names are: none, all tokens are"):
        points(random_record(generator), text)


def test_the_middle_of_a_cell_that_is_no_token_cannot_be_asked_for(generator):
    axis = Axis(Grid.tiling((40, 56), 5, 7), np.array([0, 3, 34]))
    record = record_of(generator, axis, axis)
    assert set(points(record, "auto:2")) < {(4, 4), (28, 4), (52, 36)}
    assert points(record, "cell:0,3") == [(28, 4)]
    with pytest.raises(ValueError, match=r"pixel \(x=12, y=4\) is under no token"):
        points(record, "cell:0,1")


def test_queries_that_are_no_places_have_no_points_but_names(generator):
    record = record_of(generator, Axis(None, None, ("query 1", "query 2", "query 3")), AXIS)
    assert set(points(record, "auto:2")) < {"query 1", "query 2", "query 3"}
    with pytest.raises(ValueError, match="are no places of the image, but tokens: query 1"):
        points(record, "3,4")
