from math import isnan

import numpy as np
import pytest

from nonlocal_lens.analysis import intervals
from nonlocal_lens.analysis.intervals import mean_interval


def test_an_interval_holds_the_mean_shrinks_with_more_numbers_and_is_seeded():
    draws = np.random.default_rng(0).normal(5, 2, 400)
    few, many = mean_interval(draws[:25]), mean_interval(draws)
    assert few.low < few.mean < few.high
    assert (many.high - many.low) * 3 < few.high - few.low
    assert mean_interval(draws) == many
    assert mean_interval(draws, seed=1) != many


def test_the_bootstrap_tends_to_the_normal_interval_of_many(monkeypatch):
    draws = np.random.default_rng(0).exponential(3, 2000)
    resampled = mean_interval(draws)
    monkeypatch.setattr(intervals, "MANY", 2000)
    normal = mean_interval(draws)
    assert normal.mean == resampled.mean
    assert normal.low == pytest.approx(resampled.low, abs=0.01)
    assert normal.high == pytest.approx(resampled.high, abs=0.01)


def test_what_is_not_finite_is_left_out_and_one_number_has_no_interval():
    nan = float("nan")
    assert mean_interval([3.0, nan, 5.0]).numbers == 2
    assert mean_interval([nan]).numbers == 0
    one = mean_interval([3.0, nan])
    assert (one.mean, one.numbers) == (3.0, 1)
    assert isnan(one.low)


@pytest.mark.parametrize("numbers", [2, 3, 97, 613])
def test_resamples_are_drawn_and_averaged_one_after_the_other(monkeypatch, numbers):
    monkeypatch.setattr(intervals, "RESAMPLES", 313)
    monkeypatch.setattr(intervals, "DRAWN_AT_ONCE", 4099)
    values = np.random.default_rng(5).exponential(3, numbers)
    draws = np.random.default_rng(7)
    means = [values[draws.integers(0, numbers, numbers)].mean() for _ in range(313)]
    found = mean_interval(values, seed=7)
    ends = [(1 - intervals.CONFIDENCE) / 2, (1 + intervals.CONFIDENCE) / 2]
    assert [found.low, found.high] == np.quantile(means, ends).tolist()
