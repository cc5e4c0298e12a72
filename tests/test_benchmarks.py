"""What headlines are made of: ratios by round, powers fitted, waits of a crowd."""

import numpy as np
import pytest

from benchmarks.__main__ import SUITES
from benchmarks.crowd import Action, simulate
from benchmarks.growth import exponent
from benchmarks.headline import Headline, in_turns
from benchmarks.table import TITLES, as_markdown, ratio, row

ABOUT = {"quick": True, "date": "2026-01-01", "processor": "P", "cores": "2", "note": "Busy."}
ABOUT |= {"python": "3", "torch": "2", "minutes": 1.0}


def test_a_ratio_is_taken_in_each_round_and_told_as_a_fraction_where_it_is_small():
    line = Headline("it", "s", (1.0, 2.0, 3.0), "else", (10.0, 10.0, 10.0))
    assert line.ratios == pytest.approx((0.1, 0.2, 0.3))
    assert row(line) == "| it | 2 (1 to 3) s | else | 10 (10 to 10) s | **1 / 5** (0.1 to 0.3) |"
    assert ratio((1.1,)) == "**1.1** (1.1 to 1.1)"
    assert Headline.from_json(line.to_json()) == line


def test_what_was_not_measured_is_said():
    line = Headline("it", "s", (1.0,), "peer", note="peer is not installed")
    assert "peer is not installed" in row(line)
    assert row(line).endswith("| peer | not measured |  |")
    assert line.ratios == ()


def test_the_table_names_every_suite_the_machine_and_what_is_to_be_known():
    assert set(TITLES) == set(SUITES)
    text = as_markdown(ABOUT, {"capture": [Headline("it", "s", (1.0,))]})
    assert "2026-01-01" in text
    assert "Busy." in text
    assert TITLES["capture"] in text


def test_ways_run_in_turns_and_once_before():
    calls = []
    taken = in_turns(
        2, lambda: calls.append("a"), lambda: calls.append("b"), measure=lambda run: run() or 1.0
    )
    assert calls == list("ab" * 3)
    assert taken == [(1.0, 1.0), (1.0, 1.0)]


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_a_power_is_found_again(power):
    sizes = (10, 37, 211)
    assert exponent(sizes, [3 * size**power for size in sizes]) == pytest.approx(power)


def test_a_crowd_with_a_core_each_waits_for_the_work_alone():
    actions = (Action("pin", 1.0, 0.5),)
    waits = simulate(actions, people=5, pause=50.0, replicas=5, cores=1)["pin"]
    assert waits.mean() == pytest.approx(0.5, rel=0.1)


def test_who_asks_more_than_a_core_can_do_stands_in_line_behind_all_others():
    actions = (Action("pin", 1.0, 1.0),)
    waits = simulate(actions, people=20, pause=1.0, replicas=1, cores=1)["pin"]
    # one core does one thing a second: with 20 people, of whom one pauses, the others stand in line
    assert np.median(waits) == pytest.approx(19, rel=0.1)
