"""Which weights stand out: the greatest, and none where they tie with what is left out."""

import pytest
import torch
from records import KEYS, random_record

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.figures.panels import Scene, panel_rows
from nonlocal_lens.analysis.over_time import strongest_arrows
from nonlocal_lens.analysis.strongest import strongest

nan = float("nan")

CASES = {
    "distinct": ([3.0, 1.0, 4.0, 1.5, 9.0], 3, [4, 2, 0]),
    "more than there are": ([3.0, 1.0, 4.0], 20, [2, 0, 1]),
    "not numbers": ([nan, 2.0, nan, 3.0, 1.0], 2, [3, 1]),
    "a tie inside": ([5.0, 7.0, 7.0, 1.0], 3, [1, 2, 0]),
    "a tie across the cut": ([7.0, 5.0, 5.0, 5.0, 1.0], 2, [0]),
    "the same everywhere": ([1.0] * 23, 20, []),
    "the same but for rounding": ([1.0, 1 + 1e-7, 1.0, 1 - 1e-7, 1.0], 2, []),
    "far below the first": ([1e6, 0.004, 0.003, 0.002, 0.001], 3, [0, 1, 2]),
    "the same, all asked for": ([0.25] * 4, 9, []),
    "negative": ([-3.0, -1.0, -2.0, -2.0], 2, [1]),
    "one key": ([2.0], 5, [0]),
    "none asked for": ([2.0, 1.0], 0, []),
    "nothing": ([nan, nan], 3, []),
}
"""What it is -> values, how many, the positions; pages are held to the same cases."""


@pytest.mark.parametrize(("values", "count", "expected"), CASES.values(), ids=CASES)
def test_the_strongest_are_told_from_the_rest_or_left_out(values, count, expected):
    assert strongest(torch.tensor(values), count) == expected


def test_a_map_without_a_query_gets_no_arrows_in_figures_and_clips(generator):
    """The pairwise map of a block without queries is uniform: all of its keys tie."""
    record = random_record(generator, "unary")
    row = terms.attention(record, [3], "pairwise")[0]
    assert row.max() - row.min() < 1e-12
    assert strongest_arrows(record, 3, term="pairwise", distinct=True) == []
    assert strongest_arrows(record, 3, distinct=True) == strongest_arrows(record, 3)
    scene = Scene.of_picture(
        torch.zeros(40, 56, 3, dtype=torch.uint8).numpy(), {"one": record}, {}, None
    )
    ((pairwise, unary),) = panel_rows(scene, [(20.0, 12.0)], ("pairwise", "unary"), arrows=7)
    assert pairwise.strongest == ()
    assert len(unary.strongest) == 7
    assert KEYS > 20
