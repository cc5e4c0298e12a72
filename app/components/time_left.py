"""How long work will go on, from how long it took so far."""

import time
from collections.abc import Callable

SOON = 2.0  # seconds: before, a pace is hardly known; what is over by then needs no word


class TimeLeft:
    """The time that work has left, if it goes on as it went since it was first told of.

    What was there before that, like the first half of a file, says nothing about the pace.

    Args:
        clock: Seconds of whatever never goes back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._first: tuple[float, float] | None = None

    def words(self, done: float, total: float | None) -> str:
        """Return ", 12 s left"; nothing where that is not known yet, or there is nothing left."""
        now = self._clock()
        start, before = self._first = self._first or (now, done)
        if not total or not before < done < total or now - start < SOON:
            return ""
        return f", {duration((now - start) / (done - before) * (total - done))} left"


def duration(seconds: float) -> str:
    """Return a time in words that fit its length."""
    if seconds < 60:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"
