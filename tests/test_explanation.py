"""From attributions to one number and a sentence."""

from math import isnan, nan

import pytest

from nonlocal_lens.analysis.attribution import PointedAt
from nonlocal_lens.analysis.explanation import explanation_score, explanation_verdict


def pointed(overlap, uniform):
    return PointedAt(0.0, overlap, uniform)


@pytest.mark.parametrize("uniform", [0.0, 0.3, 0.9])
def test_the_same_map_is_1_and_knowing_nothing_is_0(uniform):
    assert explanation_score([pointed(1.0, uniform)]) == 1
    assert explanation_score([pointed(uniform, uniform)]) == 0


def test_a_value_by_hand():
    # (0.6 - 0.2) / 0.8 = 0.5; (0.1 - 0.2) / 0.8 = -0.125
    assert explanation_score([pointed(0.6, 0.2), pointed(0.1, 0.2)]) == pytest.approx(0.1875)


def test_undefined_attributions_are_left_out():
    assert explanation_score([pointed(0.6, 0.2), pointed(nan, 0.2)]) == pytest.approx(0.5)
    assert isnan(explanation_score([pointed(0.5, 1.0)]))
    assert isnan(explanation_score([]))


@pytest.mark.parametrize(
    ("score", "word"),
    [
        (1, "Yes"),
        (0.5, "Yes"),
        (0.49, "In part"),
        (0.05, "Hardly"),
        (0.01, "No"),
        (-2, "No"),
        (nan, "There is"),
    ],
)
def test_the_sentence_begins_with_the_answer(score, word):
    assert explanation_verdict(score).startswith(word)
