"""How far a mean over images can be trusted: bootstrap intervals."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

RESAMPLES = 4000
CONFIDENCE = 0.95

DRAWN_AT_ONCE = 1 << 20
"""Values: few resamples of many, many of few."""

MANY = 10_000
"""Values from which on the interval is the normal one, which the bootstrap's tends to."""

NORMAL_QUANTILE = 1.959963984540054
"""Of the standard normal distribution at (1 + CONFIDENCE) / 2."""


class Interval(NamedTuple):
    """The mean of some numbers, and where the mean of all such numbers is likely to lie."""

    mean: float
    low: float  # ends of the 95 % interval; NaN for fewer than two numbers
    high: float
    numbers: int  # how many finite ones there were


def mean_interval(
    values: Sequence[float] | Float[np.ndarray, " values"], *, seed: int = 0
) -> Interval:
    """Return mean and percentile bootstrap interval (Efron 1979); what is not finite is left out.

    Args:
        values: One number per image.
        seed: Of the resamples.
    """
    known: Float[np.ndarray, " known"] = np.asarray(values, float)
    known = known[np.isfinite(known)]
    if known.size == 0:
        return Interval(float("nan"), float("nan"), float("nan"), 0)
    mean = float(known.mean())
    if known.size == 1:
        return Interval(mean, float("nan"), float("nan"), 1)
    if known.size >= MANY:
        reach = NORMAL_QUANTILE * float(known.std(ddof=1)) / known.size**0.5
        return Interval(mean, mean - reach, mean + reach, known.size)
    draws = np.random.default_rng(seed)
    means: list[float] = []
    while len(means) < RESAMPLES:
        some = min(max(1, DRAWN_AT_ONCE // known.size), RESAMPLES - len(means))
        means += known[draws.integers(0, known.size, (some, known.size))].mean(axis=1).tolist()
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Interval(mean, float(low), float(high), known.size)
