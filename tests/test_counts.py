"""Counts that no machine changes do not grow unnoticed; see `benchmarks.counts`."""

import json

import pytest

from benchmarks import counts

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found():
    return counts.counted()


@pytest.fixture(scope="module")
def kept():
    return json.loads(counts.FILE.read_text(encoding="utf-8"))


def test_every_count_is_kept(found, kept):
    assert set(found) == set(kept)


def test_no_count_has_grown(found, kept):
    grown = {
        name: (kept[name], count)
        for name, count in found.items()
        if count > counts.SLACK * kept[name]
    }
    assert not grown, "if it must be: python -m benchmarks.counts --write"


def test_a_picture_is_run_once_and_kept(found):
    assert found["forward passes of a capture"] == 1
    assert found["forward passes when it runs again"] == 0
