import re
from math import nan

import pytest

from nonlocal_lens.analysis.verdict import verdict

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
