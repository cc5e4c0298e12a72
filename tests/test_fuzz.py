"""Parsers of what strangers bring, two seconds each; `python -m benchmarks.fuzz` takes longer."""

import random

import pytest

from benchmarks import fuzz

SECONDS = 2.0


@pytest.mark.slow
@pytest.mark.parametrize("target", fuzz.TARGETS)
def test_whatever_is_brought_ends_in_a_sentence(target):
    found = list(fuzz.Search(target, seed=3).findings(SECONDS))
    assert not found, "\n".join(f"{one.what}\n{one.data[:300]!r}" for one in found)


def test_what_is_wrong_is_found(monkeypatch):
    def read(data):
        if b"\xff" in data:
            raise KeyError("whatever")

    monkeypatch.setitem(fuzz.TARGETS, "broken", fuzz.Target(read, lambda: [bytes(40)]))
    (found,) = fuzz.Search("broken").findings(1.0)
    assert "KeyError" in found.what
    assert b"\xff" in found.data


def test_what_reaches_other_lines_is_changed_further():
    """What reaches new lines is kept: chance alone seldom changes twice what matters."""
    search = fuzz.Search("queries", seed=5)
    first, seeds = search.lines, len(search.corpus)
    assert not list(search.findings(0.5))
    assert search.lines > first
    assert len(search.corpus) > seeds


def test_changes_are_the_same_by_seed():
    target = fuzz.TARGETS["queries"]
    one, other = (
        [fuzz.mutated(b"grid:3x4", target, random.Random(7)) for _ in range(5)] for _ in range(2)
    )
    assert one == other
