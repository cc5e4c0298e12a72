"""The state of a page in its address: what is written is read again, whatever else is ignored."""

from urllib.parse import urlencode

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nonlocal_lens.analysis.render import DIVERGING_PALETTES, PALETTES
from nonlocal_lens.analysis.terms import TERMS
from nonlocal_lens.app.link import MOST_LETTERS, Link, read, write
from nonlocal_lens.app.viewer.view import DIRECTIONS, SCALES, Query, View

NETWORKS = ("streets-nl", "streets-dnl", "dnl_r50-d8_512x1024_80k_cityscapes", "fourth")

PARAMETERS = ("picture", "networks", "block", "q", "scale", "opacity", "colors", "direction")
PARAMETERS += ("maps", "shown", "difference", "fixed", "signed", "chosen", "look", "marks", "names")

tenths = st.integers(0, 99_999).map(lambda number: number / 10)
points = st.lists(st.tuples(tenths, tenths), min_size=1, max_size=4).map(tuple)
pairs = st.lists(st.integers(0, 3), min_size=2, max_size=2, unique=True).map(tuple)
names = st.text(max_size=40)
places = st.builds(Query, points, names)
token_names = st.text(min_size=1, max_size=20).filter(str.isprintable)
tokens = st.builds(Query, st.just(()), names, st.none(), token_names)
views = st.builds(
    View,
    queries=st.lists(places | tokens, max_size=16).map(tuple),
    active=st.none() | st.integers(0, 15),
    scale=st.none() | st.sampled_from(SCALES),
    palette=st.none() | st.sampled_from(PALETTES),
    fixed=st.none() | st.floats(1e-6, 1e6),
    signed_palette=st.none() | st.sampled_from(DIVERGING_PALETTES),
    opacity=st.none() | st.integers(0, 100).map(lambda number: number / 100),
    smooth=st.none() | st.booleans(),
    gray=st.none() | st.booleans(),
    prediction=st.none() | st.booleans(),
    on_picture=st.none() | st.booleans(),
    arrows=st.none() | st.booleans(),
    arrow_count=st.none() | st.integers(1, 100),
    boxes=st.none() | st.booleans(),
    box_count=st.none() | st.integers(1, 50),
    contours=st.none() | st.booleans(),
    exclude=st.none() | st.floats(0, 50),
    direction=st.none() | st.sampled_from(DIRECTIONS),
    terms=st.none() | st.sampled_from([TERMS, TERMS[:1], TERMS[1:]]),
    shown=st.none() | pairs,
    difference=st.none() | pairs,
)
links = st.builds(
    Link,
    picture=st.none() | st.sampled_from(["sample-coffee", "street-17", "0af3" * 16]),
    networks=st.lists(st.sampled_from(NETWORKS), unique=True, max_size=4).map(tuple),
    blocks=st.sampled_from([(), ("head.block",), ("layer3.1.nl", "layer3_3-nl")]),
    view=views,
)


@given(links)
def test_what_is_written_is_read_again(link):
    params = write(link)
    again, notices = read(params, NETWORKS)
    assert notices == []
    kept = len(again.view.queries)
    points = [query.points for query in link.view.queries]
    assert [query.points for query in again.view.queries] == points[:kept]
    tokens = [query.token for query in link.view.queries]
    assert [query.token for query in again.view.queries] == tokens[:kept]
    letters = sum(len((token or "").encode()) for token in tokens)
    assert kept == len(points) or 12 * sum(map(len, points)) + 3 * letters > 540
    assert write(again) == params


@given(links)
def test_an_address_is_short_and_needs_no_escapes(link):
    params = write(link)
    text = urlencode(params)
    assert len(text) < MOST_LETTERS
    assert "%" not in text


@given(
    st.sampled_from(PARAMETERS),
    st.text(min_size=1),
)
def test_whatever_a_parameter_says_it_is_taken_or_ignored_with_a_notice(name, text):
    link, notices = read({name: text}, NETWORKS)
    assert bool(notices) == (link == Link())


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("q", "10-20_30"),
        ("q", "~"),
        ("q", "~class.2"),
        ("q", "~a.ff"),  # no UTF-8
        ("q", "~a.0a"),  # a new line
        ("q", "~" + "a" * 81),
        ("q", "~<script>"),
        ("q", "-5--5"),
        ("q", "1e3-5"),
        ("q", "nan-inf"),
        ("q", "_".join(["1-1"] * 17)),
        ("q", "99999999-1"),
        ("opacity", "1.5"),
        ("opacity", "nan"),
        ("scale", "<script>alert(1)</script>"),
        ("picture", "../../etc/passwd"),
        ("picture", "sample-lena"),
        ("picture", "street-3000000"),
        ("networks", "streets-nl~/root/model.pth"),
        ("block", "a" * 5000),
        ("maps", "whole-other"),
        ("difference", "1-1"),
        ("fixed", "-1"),
        ("fixed", "inf"),
        ("signed", "viridis"),
        ("chosen", "0"),
        ("chosen", "17"),
        ("look", "smooth-onload"),
        ("marks", "arrows-9999"),
        ("marks", "exclude"),
        ("marks", "contours-1"),
        ("names", "PGI-"),  # of no query
        ("names", "!"),
        ("difference", "0-1-2"),
    ],
)
def test_hostile_and_broken_values_are_ignored_with_a_sentence(name, text):
    link, (notice,) = read({name: text}, NETWORKS)
    assert link == Link()
    assert notice.startswith(f"{name}=")
    assert "in the link was ignored: it must be" in notice
    assert len(notice) < 250


def test_tokens_are_readable_in_a_link():
    names = ("class", "register 1", "größte")
    view = View(queries=(Query.at("class"), Query.at((1.0, 2.0)), *map(Query.at, names[1:])))
    assert write(Link(view=view))["q"] == "~class_10-20_~register.201_~gr.c3.b6.c3.9fte"


def test_a_link_is_readable():
    view = View(queries=(Query(((120.0, 80.5),)), Query(((1.0, 2.0), (30.0, 40.0)))), opacity=0.6)
    link = Link("sample-coffee", ("streets-nl", "streets-dnl"), view=view)
    assert write(link) == {
        "picture": "sample-coffee",
        "networks": "streets-nl~streets-dnl",
        "q": "1200-805_10-20-300-400",
        "opacity": "0.60",
    }


def test_a_link_carries_all_that_makes_the_picture():
    view = View(
        queries=(Query(((1.0, 2.0),), "the <b>wheel</b>, 車輪"), Query(((3.0, 4.0),))),
        active=0,
        scale="fixed",
        fixed=2.5,
        signed_palette="PuOr_r",
        smooth=True,
        gray=False,
        prediction=True,
        on_picture=True,
        arrows=True,
        arrow_count=7,
        boxes=True,
        box_count=3,
        contours=True,
        exclude=1.5,
    )
    params = write(Link(view=view))
    assert read(params, NETWORKS) == (Link(view=view), [])
    assert params["marks"] == "arrows-7_boxes-3_contours_exclude-1.5"
    assert params["look"] == "smooth-color-picture-prediction"


def test_names_are_broken_off_before_the_address_gets_too_long():
    queries = tuple(Query(((float(at), 1.0),), "車" * 40) for at in range(16))
    (link, notices) = read(write(Link(view=View(queries=queries))), NETWORKS)
    assert notices == []
    assert [query.points for query in link.view.queries] == [query.points for query in queries]
    assert [query.name for query in link.view.queries] == ["車" * 40] + [""] * 15
