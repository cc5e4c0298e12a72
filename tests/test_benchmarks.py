"""What headlines are made of: ratios by round, powers fitted, waits of a crowd."""

import inspect
import os
import time
from importlib import import_module

import numpy as np
import pytest
import torch
from peak_memory import FORGETTING

import benchmarks.__main__ as run
from benchmarks.__main__ import ALTOGETHER, LONGEST, ROUNDS, SUITES
from benchmarks.apart import apart
from benchmarks.costs import Cost, cost_of, headlines_of
from benchmarks.crowd import Action, simulate
from benchmarks.growth import CASES, capturing, exponent
from benchmarks.headline import Headline, in_turns
from benchmarks.load import Tab, photo
from benchmarks.memory import CHANNELS, alone
from benchmarks.table import TITLES, as_markdown, ratio, row
from nonlocal_lens.analysis.prepared import prepared

ABOUT = {"quick": True, "date": "2026-01-01", "processor": "P", "cores": "2", "note": "Busy."}
ABOUT |= {"python": "3", "torch": "2", "seconds": 83.0, "seconds_of": {"capture": 7.0}}


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
    assert "1 min 23 s by the clock: capture 7 s" in text


@pytest.mark.parametrize("suite", SUITES)
def test_every_suite_has_a_quick_form(suite):
    headlines = import_module(f"benchmarks.{SUITES[suite]}").headlines
    assert list(inspect.signature(headlines).parameters) == ["rounds", "quick"]


def test_a_run_ends_within_what_is_promised():
    assert ROUNDS >= 5
    assert ALTOGETHER[True] < 180
    assert ALTOGETHER[False] < 1800
    assert all(LONGEST[quick] < ALTOGETHER[quick] for quick in (True, False))


def test_a_headline_of_few_rounds_is_refused(monkeypatch):
    module = import_module("benchmarks.speed")

    def few(rounds, *, quick):
        return [Headline("it", "s", (1.0,) * (rounds - 1)), Headline("absent", "s", ())]

    monkeypatch.setattr(module, "headlines", few)
    with pytest.raises(ValueError, match=f"it: {ROUNDS - 1} rounds, and {ROUNDS} are asked"):
        run.headlines("speed", quick=True)
    (line,) = run.measured("speed", quick=True, seconds=60)
    assert f"not measured: ValueError: it: {ROUNDS - 1} rounds" in line.note


def test_a_suite_for_which_no_time_is_left_says_so():
    (line,) = run.measured("speed", quick=True, seconds=0)
    assert line.ours == ()
    assert "took all the time" in line.note


def test_what_runs_apart_changes_nothing_here():
    seen = []
    assert apart(lambda: seen.append(1) or len(seen), seconds=60) == 1
    assert seen == []


def test_what_runs_apart_and_fails_dies_or_takes_too_long_says_so():
    with pytest.raises(RuntimeError, match=r"^ZeroDivisionError: "):
        apart(lambda: 1 / 0, seconds=60)
    with pytest.raises(RuntimeError, match="ended with status 7"):
        apart(lambda: os._exit(7), seconds=60)
    with pytest.raises(RuntimeError, match="more than 0 s"):
        apart(lambda: time.sleep(60), seconds=0.1)


@pytest.mark.skipif(not FORGETTING.exists(), reason="only Linux forgets the greatest memory")
def test_memory_of_a_run_is_told_each_time_anew():
    large, small = (lambda size=size: np.ones(size * 2**17) for size in (97, 11))
    ways = (large, small, large)
    # apart: threads that other tests have left here may take memory meanwhile
    taken = apart(lambda: [cost_of(way).megabytes for way in ways], seconds=60)
    # the system may hand out a huge page of 2 MB at either end
    assert taken == pytest.approx([97, 11, 97], abs=4)


def test_two_ways_that_cost_time_and_memory_are_two_headlines():
    ours, theirs = [Cost(1.0, 10.0)] * 5, [Cost(2.0, 40.0)] * 5
    seconds, megabytes = headlines_of("it", ours, "else", theirs, beyond="it all")
    assert seconds.ratios == (0.5,) * 5
    assert megabytes.ratios == (0.25,) * 5
    assert megabytes.name == "it: memory beyond it all"
    (_, untold) = headlines_of("it", [Cost(1.0, None)], "else", [Cost(1.0, None)], beyond="it")
    assert untold.ours == ()
    assert untold.note


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


def test_quick_sizes_are_fewer_and_no_larger():
    for _, sizes, few, _ in CASES:
        assert 3 <= len(few) < len(sizes)
        assert max(few) < max(sizes)


@pytest.mark.parametrize("side", [56, 104])
def test_what_grows_is_the_picture_that_the_network_sees(side):
    (record,) = capturing(side)()
    assert record.query_grid.shape == (1, side // 8, side // 8)


def test_a_block_by_itself_sees_what_it_is_given_without_resizing():
    x = torch.rand(CHANNELS, 11, 13)
    seen = prepared(alone(13), x)[1]
    assert seen.shape == (1, CHANNELS, 11, 13)
    assert torch.allclose(seen[0], x, atol=1 / 255)


def test_a_crowd_with_a_core_each_waits_for_the_work_alone():
    actions = (Action("pin", 1.0, 0.5),)
    waits = simulate(actions, people=5, pause=50.0, replicas=5, cores=1)["pin"]
    assert waits.mean() == pytest.approx(0.5, rel=0.1)


def test_who_asks_more_than_a_core_can_do_stands_in_line_behind_all_others():
    actions = (Action("pin", 1.0, 1.0),)
    waits = simulate(actions, people=20, pause=1.0, replicas=1, cores=1)["pin"]
    # one core does one thing a second: with 20 people, of whom one pauses, the others stand in line
    assert np.median(waits) == pytest.approx(19, rel=0.1)


def test_who_passes_the_line_shares_the_cores_with_those_in_it():
    actions = (Action("pin", 0.5, 0.1, passes=True), Action("page", 0.5, 10.0))
    waits = simulate(actions, people=20, pause=1.0, replicas=1, cores=1)
    assert np.median(waits["pin"]) == pytest.approx(0.2, rel=0.15)  # half of a core
    assert np.median(waits["page"]) > 100


@pytest.mark.slow
def test_a_tab_of_the_load_does_what_a_person_would(address):
    """The load speaks the app's own protocol; its times say nothing once the two have parted."""
    tab = Tab(address)
    tab.open("")
    tab.drop("mine-7.jpg", photo(7))
    assert b"mine-7.jpg" in tab.payload
    assert tab.pin(100, 200) > 0
    for page in ("compare", "export", "degeneracy"):
        tab.open(page)
        assert tab.page == page
    tab.open("")
    assert b"mine-7.jpg" in tab.payload
    assert tab.errors == []
    tab.close()
