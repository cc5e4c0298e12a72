import re
from math import nan

import numpy as np
import pytest

from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.analysis.grid import Grid
from nonlocal_lens.analysis.verdict import key_in_words, sink_sentence, verdict

MEASURED = {
    "query_information_bits": 2.0,
    "entropy_bits": 6.0,
    "queries": 2**9,
    "keys": 2**10,
    "cosine_distance": 0.3,
    "shuffled_cosine_distance": 0.4,
}
SIGNED = {"query_information_bits": nan, "entropy_bits": nan}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "Query-dependent: .* 2.000 bits about where it looks, 50% of what"),
        ({"query_information_bits": 1.99}, "Partly degenerate: .* 1.990 bits"),
        ({"query_information_bits": 0.4}, "Partly degenerate: .* 10%"),
        ({"query_information_bits": 0.39}, "Degenerate: all queries look at nearly the same"),
        ({"queries": 4}, "Query-dependent: .* 100% of what"),  # two bits is all there can be
        ({"entropy_bits": 9.99, "query_information_bits": 0.01}, "Degenerate: .* everywhere alike"),
        (SIGNED, "Query-dependent: .* cosine distance of rows is 0.300, 75% of"),
        ({**SIGNED, "cosine_distance": 0.1}, "Partly degenerate: .* 25%"),
        ({**SIGNED, "cosine_distance": 0.03}, "Degenerate: all queries"),
        ({**SIGNED, "cosine_distance": 0.0, "shuffled_cosine_distance": 0.0}, "Degenerate: all"),
        ({"cosine_distance": nan}, "all weights are 0"),
        ({"queries": 1}, "a single query cannot differ"),
    ],
)
def test_one_sentence_says_which_it_is_and_why(changes, sentence):
    found = verdict(**{**MEASURED, **changes})
    assert re.search(sentence, found)


@pytest.mark.parametrize(
    ("kind", "does"),
    [
        ("", ""),
        ("broadcast", " and adds the same to every query (a broadcast)"),
        (
            "no-operation",
            " and has next to nothing to add, as if the block did nothing (a no-operation)",
        ),
    ],
)
def test_a_sink_is_named_once_with_what_it_takes_and_what_it_does(kind, does):
    axis = Axis(Grid.tiling((50, 91), 5, 13))
    key = key_in_words(axis, 2 * 13 + 11)
    assert key == "the key at x 80, y 25 (row 2, column 11)"
    said = sink_sentence(0.3, 65, key, kind)
    assert said == (
        f"The key at x 80, y 25 (row 2, column 11) is a sink: it takes 30% of all attention{does}."
    )
    assert sink_sentence(0.2999, 65, key, kind) == ""
    assert sink_sentence(nan, 65, key, kind) == ""
    assert sink_sentence(1.0, 1, key, kind) == ""


def test_a_key_is_called_by_its_frame_in_a_clip_and_by_its_name_off_the_picture():
    clip = Axis(Grid.tiling((50, 91), 5, 13, frames=3), names=("class",))
    assert key_in_words(clip, 65 + 3) == "the key at x 24, y 5 (row 0, column 3, frame 1)"
    assert key_in_words(clip, 3 * 65) == "the token 'class'"
    some = Axis(Grid.tiling((50, 91), 5, 13), np.array([0, 37]))
    assert key_in_words(some, 1) == "the key at x 80, y 25 (row 2, column 11)"


@pytest.mark.parametrize(("share", "is_said"), [(0.1, True), (0.3, False)])
def test_tokens_that_are_no_places_are_told_of_where_none_is_a_sink(share, is_said):
    found = verdict(**MEASURED, sink_share=share, token_share=0.4)
    assert ("40% of all attention lies on tokens that are no places" in found) == is_said
