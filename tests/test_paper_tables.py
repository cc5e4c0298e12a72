import json
from math import nan

import pytest
from typer.testing import CliRunner

from nonlocal_lens.analysis import paper_tables
from nonlocal_lens.analysis.interventions import INTERVENTIONS
from nonlocal_lens.analysis.paper_tables import (
    bits_table,
    consistency_table,
    controls_table,
    distances_table,
    fill,
    interventions_table,
    sinks_table,
)

pytestmark = pytest.mark.slow

PAGE = """# Words

<!-- interventions -->
old
<!-- end of interventions -->
<!-- controls --><!-- end of controls -->
<!-- bits --><!-- end of bits -->
<!-- sinks --><!-- end of sinks -->
words between
<!-- distances --><!-- end of distances -->
<!-- consistency --><!-- end of consistency -->
"""


def figures(on: float, blocks: bool = True, output: float = 0.125) -> dict:
    hows = INTERVENTIONS
    agreement = {"mass": 0.6, "chance": 0.2, "lift": 3.0}
    terms = dict.fromkeys(("whole", "pairwise", "unary"), agreement)
    block = {
        "own_category": terms,
        "boundary": terms,
        "degeneracy": {
            "input_cosine_distance": 0.375,
            "output_cosine_distance": output,
            "cosine_distance": 0.0625,
            "jsd_nats": nan,
            "selectivity_bits": 1.5,
            "unary_bits": 0.5,
            "query_information_bits": 1.0,
            "unary_information_share": 0.333,
            "unary_share": 0.25,
            "normalized_mutual_information": 0.125,
            "sink_routed": 0.0,
        },
        "sinks": {
            "whole": {"share": 0.31, "concentration": 9.25, "rate": 0.5},
            "pairwise": {"share": 0.01, "concentration": 2.0, "rate": 0.0},
            "unary": {"share": nan, "concentration": nan, "rate": nan},
        },
    }
    for end, by in ("low", -0.25), ("high", 0.25):
        block[end] = {name: value + by for name, value in block["degeneracy"].items()}
        for term, sink in block["sinks"].items():
            block[end][f"{term}_sink_share"] = sink["share"] + by
    miou = {how: on - 0.01 * step for step, how in enumerate(hows)}
    change = {
        how: {"mean": -0.01 * step, "low": -0.01 * step - 0.001, "high": nan if on > 1 else 0.0}
        for step, how in enumerate(hows)
    }
    blocks = {"head.block": block} if blocks else {}
    return {"images": 3, "miou": miou, "miou_change": change, "blocks": blocks}


FOUND = {
    "streets-concat": figures(0.61, output=0.003),
    "streets-nl": figures(0.652),
    "streets-base": figures(0.648, blocks=False),
}


def test_interventions_are_changes_in_points():
    table = interventions_table(FOUND).splitlines()
    assert table[0].startswith(
        "| network | on | off | mean row | uniform | another image | noise |"
    )
    assert table[3].startswith("| streets-nl | 65.2 | -1.0 | -2.0 | -3.0 |")
    assert table[4] == "| streets-base | 64.8 | - | - | - | - | - | - | - |"


def test_zeroing_stands_beside_its_controls_with_intervals():
    table = controls_table(FOUND).splitlines()
    assert table[0] == "| network | on | off | mean row | uniform | another image | noise |"
    assert table[3].startswith("| streets-nl | 65.2 | -1.0 [-1.1, +0.0] | -2.0 [-2.1, +0.0] |")
    assert len(table) == 4


def test_bits_and_sinks_come_with_intervals():
    bits = bits_table(FOUND).splitlines()
    assert bits[3] == (
        "| streets-nl | 1.500 [1.250, 1.750] | 0.500 [0.250, 0.750] | 1.000 [0.750, 1.250] "
        "| 0.333 | 0.250 | 0.125 |"
    )
    sinks = sinks_table(FOUND).splitlines()
    assert sinks[3] == (
        "| streets-nl | 0.310 [0.060, 0.560] | 0.010 [-0.240, 0.260] | - | 9.2 | 50 % | 0.000 |"
    )
    assert len(bits) == len(sinks) == 4, "a network without attention has neither"


def test_forms_come_in_the_order_of_the_paper():
    table = distances_table(FOUND).splitlines()
    assert table[2] == "| non-local | streets-nl | 65.2 | 0.375 | 0.125 | 0.062 | - |"
    assert table[3] == "| concatenation | streets-concat | 61.0 | 0.375 | 0.003 | 0.062 | - |"
    assert len(table) == 4


def test_consistency_ends_with_chance():
    table = consistency_table(FOUND).splitlines()
    assert table[2].startswith("| non-local | streets-nl | 0.600 (3.00 ×) |")
    assert table[3] == "| chance |  | 0.200 | 0.200 | 0.200 | 0.200 |"


def test_filling_a_page_twice_changes_nothing_but_the_table():
    once = fill(PAGE, "interventions", "| new |")
    assert once == PAGE.replace("old", "| new |")
    assert fill(once, "interventions", "| new |") == once
    with pytest.raises(ValueError, match="must have the marks <!-- nothing -->"):
        fill(PAGE, "nothing", "")


def test_the_command_measures_and_writes(tmp_path):
    page, numbers = tmp_path / "page.md", tmp_path / "numbers.json"
    page.write_text(PAGE)
    arguments = ["streets-nl", "--data", "rendered", "--limit", "1", "--page", str(page)]
    result = CliRunner().invoke(paper_tables.cli, [*arguments, "--numbers", str(numbers)])
    assert result.exit_code == 0, result.output
    assert "| streets-nl | " in page.read_text()
    assert "words between" in page.read_text()
    assert json.loads(numbers.read_text())["streets-nl"]["images"] == 1


def test_wrong_use_ends_in_one_sentence(tmp_path):
    page = tmp_path / "page.md"
    result = CliRunner().invoke(paper_tables.cli, ["nets", "--page", str(page)])
    assert (result.exit_code, "unknown network 'nets'" in result.stderr) == (2, True)
    result = CliRunner().invoke(paper_tables.cli, ["streets-nl", "--page", str(page)])
    assert (result.exit_code, "page.md" in result.stderr) == (2, True)
