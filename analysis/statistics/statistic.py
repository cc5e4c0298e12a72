"""What a statistic is: what a number means, what it can be, how it is computed."""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, log2, nan
from typing import Literal

from nonlocal_lens.analysis.baselines import Baselines
from nonlocal_lens.analysis.statistics.measured import Measured as Measured


@dataclass(frozen=True)
class Scope:
    """What bounds may depend on."""

    queries: int
    keys: int
    ranked_rows: int  # that the effective rank is of
    farthest: float  # greatest distance between a query and a key, in image pixels


Degenerate = Literal["low", "high", "either"]
"""Which end of its range a statistic moves to as attention degenerates."""


@dataclass(frozen=True)
class Statistic:
    """One number of one record: what it means, what it can be, how it is computed."""

    name: str
    label: str
    unit: str  # empty where the number is a plain ratio or count
    definition: str
    compute: Callable[[Measured], float]
    bounds: Callable[[Scope], tuple[float, float]]
    bottom: str = ""  # the lower end in words, where it depends on the grid
    top: str = ""  # the upper end, likewise
    degenerate: Degenerate = "either"
    source: str = "A common measure; the papers' tables do not have it."
    baselines: Callable[[Measured], Baselines] | None = None  # None: not a statistic of attention
    of_distributions: bool = False  # whether weights with a sign do not have it
    plain: str = ""  # one sentence that needs no formula; the definition stands in for none

    def of(self, measured: Measured) -> tuple[float, Baselines | None]:
        """Return the number and its baselines; NaN where the weights do not have it."""
        if self.of_distributions and measured.signed:
            return nan, self.baselines and Baselines(nan, nan, nan)
        return self.compute(measured), self.baselines and self.baselines(measured)


def share_of(_: Scope) -> tuple[float, float]:
    """Return the bounds of a share."""
    return 0.0, 1.0


def cosine_bounds(_: Scope) -> tuple[float, float]:
    """Return the bounds of a mean cosine distance."""
    return 0.0, 0.5


def bits_over_keys(scope: Scope) -> tuple[float, float]:
    """Return the bounds of an entropy over keys."""
    return 0.0, log2(scope.keys)


def from_one_to_keys(scope: Scope) -> tuple[float, float]:
    """Return the bounds of an effective number of keys."""
    return 1.0, float(scope.keys)


def at_least_one(_: Scope) -> tuple[float, float]:
    """Return the bounds of a ratio that can be no less than 1."""
    return 1.0, inf


def at_least_zero(value: float) -> float:
    """Return a number without the sign that rounding may leave at 0; NaN stays NaN."""
    return max(value, 0.0) + 0.0  # in this order: max(0.0, nan) is 0; and -0.0 + 0.0 is 0.0
