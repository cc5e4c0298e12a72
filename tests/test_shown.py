"""What is pinned, on its way to pages and commands that go on from there."""

import pytest

from nonlocal_lens.analysis.figures.queries import QuerySpec
from nonlocal_lens.app.shown import clip_spot, query_at, query_text
from nonlocal_lens.app.viewer.view import Query


@pytest.mark.parametrize("name", ["class", "register 1", "auto:4", "1,2", "grid:2x2", "größe", "3"])
def test_a_command_asks_for_the_token_that_is_pinned(name):
    spec = QuerySpec.parse(query_text(Query.at(name).spot))
    assert (spec.kind, spec.name) == ("token", name)
    assert query_text((3, name)) == query_text(name), "a token is in all frames"


def test_places_are_asked_for_in_pixels():
    assert query_text(Query.at((12.5, 3.0)).spot) == "12.5,3"
    assert query_text((4, 12.5, 3.0)) == "4,12.5,3"
    assert query_text("class") == "class"


@pytest.mark.parametrize(
    "query", [Query(((12.5, 3.0),), frame=2), Query((), frame=2, token="class")]
)
def test_a_query_of_a_clip_comes_back_from_where_it_was_noted(query):
    assert query_at(clip_spot(query)) == query
    region = Query(((0.0, 0.0), (10.0, 4.0)), frame=2)
    assert clip_spot(region) == (2, 5.0, 2.0)
