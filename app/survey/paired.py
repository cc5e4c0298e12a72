"""The difference of two networks on the same pictures: what a picture does to both cancels."""

from collections.abc import Mapping
from functools import lru_cache
from html import escape
from typing import NamedTuple

import pandas as pd

from nonlocal_lens.analysis.degeneracy import STATISTICS
from nonlocal_lens.analysis.intervals import Interval, mean_interval
from nonlocal_lens.app.survey.tables import SERIES

SURE = 3
"""From so many pictures on, an interval that leaves 0 out is called a difference."""


class Paired(NamedTuple):
    """How much more one has of a statistic than another, picture by picture."""

    one: str  # series that it is subtracted from
    other: str
    statistic: str
    by_item: Mapping[int, float]  # picture -> difference; pictures that both were measured on
    interval: Interval  # of the mean difference

    @property
    def larger(self) -> int:
        """On how many pictures the one has more than the other."""
        return sum(value > 0 for value in self.by_item.values())


def paired_difference(table: pd.DataFrame, statistic: str, one: str, other: str) -> Paired:
    """Return the difference of two series of a survey on the pictures that both have.

    Args:
        table: As `app.survey.tables.per_picture` gives it.
        statistic: A column of it.
        one: The series that the other is subtracted from.
        other: The other series.
    """
    by_series = {
        name: rows.set_index("item")[statistic].dropna() for name, rows in table.groupby(SERIES)
    }
    values = (by_series[one] - by_series[other]).dropna()
    by_item = {int(str(item)): float(value) for item, value in values.items()}
    return Paired(one, other, statistic, by_item, interval_of(tuple(by_item.values())))


@lru_cache(maxsize=256)
def interval_of(values: tuple[float, ...]) -> Interval:
    """Return mean and interval, see `mean_interval`; kept, as pages ask again every second."""
    return mean_interval(values)


def paired_sentence(paired: Paired) -> str:
    """Return what a paired difference says, in one plain sentence of HTML."""
    known = STATISTICS[paired.statistic]
    one, other = (f"<b>{escape(name)}</b>" for name in (paired.one, paired.other))
    mean, low, high, pictures = paired.interval
    if not pictures:
        return f"No picture was measured with both {one} and {other} yet."
    unit = f" {known.unit}" if known.unit else ""
    more = "more" if mean >= 0 else "less"
    start = (
        f"{escape(known.label)}, on the same picture: {one} has "
        f"<b>{abs(mean):.3g}{unit} {more}</b> than {other}"
    )
    if pictures == 1:
        return f"{start}; one picture has no interval."
    larger = paired.larger if mean >= 0 else pictures - paired.larger
    found = f"95 % interval {low:+.3g} to {high:+.3g}".replace("-", "\N{MINUS SIGN}")
    count = "all" if larger == pictures else f"{larger} of"
    if pictures < SURE:
        judged = "too few pictures to tell"
    else:
        judged = "no difference that is sure" if low <= 0 <= high else "the interval leaves 0 out"
    return f"{start} ({found}; {more} in {count} {pictures} pictures): {judged}."
