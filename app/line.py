"""One line for all that computes long: tabs take turns, and what a page waits for goes first.

Work in the background (surveys, exports) stands in line anew for every piece of it, and leaves a
place free where there are several: a page that somebody looks at waits for one piece at most, and
computes in as many threads as there are cores that nobody else has a turn on. Where
pages never end, one piece has its turn every few seconds all the same: somebody watches its
progress, too. Pins need no turn at all.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import count
from math import inf
from typing import TYPE_CHECKING

from nonlocal_lens.app.batch.engine import cores
from nonlocal_lens.app.settings import settings
from nonlocal_lens.app.tabs import current_tab
from nonlocal_lens.app.threads import threads

if TYPE_CHECKING:
    from streamlit.delta_generator import DeltaGenerator

LOOK = 0.2  # seconds between two looks at whether somebody has changed their mind
PATIENCE = 3.0  # seconds for which pages may go before all that waits in the background


class LeftLineError(Exception):
    """Whoever stood in line does not want their turn anymore."""


@dataclass(eq=False)
class Ticket:
    """A place in line."""

    tab: str | None
    background: bool
    number: int
    since: float  # when it came
    begun: float | None = None  # when its turn came


class Line:
    """See above. All threads of the process stand in it.

    Args:
        at_once: How many turns there are at a time.
        clock: Seconds that never go back.
        threads: How many torch may compute in, in all turns together where they are as many.
    """

    def __init__(
        self, at_once: int, clock: Callable[[], float] = time.monotonic, *, threads: int = 1
    ) -> None:
        self.at_once, self.threads, self._clock = at_once, threads, clock
        self._waiting: list[Ticket] = []
        self._working: list[Ticket] = []
        self._used: dict[str | None, float] = {}  # by whom: seconds, in the background
        self._background_ended = clock()  # the last piece of it
        self._numbers = count()
        self._changed = threading.Condition()
        self._mine = threading.local()
        self.turns, self.seconds = 0, 0.0  # that were taken, and how long they took

    @contextmanager
    def turn(
        self,
        tab: str | None,
        *,
        background: bool = False,
        wanted: Callable[[], bool] = lambda: True,
        waits: Callable[[Ticket | None], None] = lambda ticket: None,
    ) -> Iterator[None]:
        """Wait for a turn, and have it until the `with` ends; within a turn nobody waits again.

        Args:
            tab: Who takes it.
            background: Whether nobody looks at a page that waits for it.
            wanted: Asked while waiting whether the turn is still wanted.
            waits: Told the place in line, again and again, and None when the turn has come.

        Raises:
            LeftLineError: It is not wanted anymore.
        """
        if getattr(self._mine, "has_turn", False):
            yield
            return
        ticket = self._wait(tab, background, wanted, waits)
        self._mine.has_turn = True
        try:
            waits(None)
            with threads(1 if background else self._free()):
                yield
        finally:
            self._mine.has_turn = False
            self._end(ticket)

    def ahead(self, ticket: Ticket) -> int:
        """Return how many turns come before that of a ticket, those that are taken counted."""
        with self._changed:
            if ticket not in self._waiting:
                return 0
            before = sum(self._rank(other) < self._rank(ticket) for other in self._waiting)
            return before + len(self._working)

    @property
    def waiting(self) -> int:
        """How many wait."""
        return len(self._waiting)

    @property
    def working(self) -> int:
        """How many have their turn."""
        return len(self._working)

    def forget(self, tab: str) -> None:
        """Forget how much a tab has used: it is gone."""
        with self._changed:
            self._used.pop(tab, None)

    def _wait(
        self,
        tab: str | None,
        background: bool,
        wanted: Callable[[], bool],
        waits: Callable[[Ticket | None], None],
    ) -> Ticket:
        with self._changed:
            ticket = Ticket(tab, background, next(self._numbers), self._clock())
            if background and not self._here(tab):
                # whoever was away has nothing saved up
                others = [one.tab for one in self._all() if one.background]
                least = min((self._used.get(other, 0.0) for other in others), default=0.0)
                self._used[tab] = max(self._used.get(tab, 0.0), least)
            self._waiting.append(ticket)
        try:
            while not self._begin(ticket):
                if not wanted():
                    raise LeftLineError
                waits(ticket)
        except BaseException:  # a page is left by one of Streamlit's own
            with self._changed:
                self._waiting.remove(ticket)
                self._changed.notify_all()
            raise
        return ticket

    def _free(self) -> int:
        """Return how many threads a turn may take that just began: those that no other turn has.

        Whoever comes later takes one at least; threads that are in each other's way cost much more
        than they bring, see `python -m benchmarks.threads`.
        """
        with self._changed:
            return max(1, self.threads - len(self._working) + 1)

    def _begin(self, ticket: Ticket) -> bool:
        """Return whether the turn of a ticket has come, after a while if it has not."""
        with self._changed:
            if not self._may_begin(ticket):
                self._changed.wait(LOOK)
            if not self._may_begin(ticket):
                return False
            self._waiting.remove(ticket)
            self._working.append(ticket)
            ticket.begun = self._clock()
            self._changed.notify_all()
            return True

    def _end(self, ticket: Ticket) -> None:
        with self._changed:
            self._working.remove(ticket)
            took = self._clock() - (ticket.begun or 0.0)
            self.turns += 1
            self.seconds += took
            if ticket.background:
                self._used[ticket.tab] = self._used.get(ticket.tab, 0.0) + took
                self._background_ended = self._clock()
            self._changed.notify_all()

    def _may_begin(self, ticket: Ticket) -> bool:
        if len(self._working) >= self.at_once:
            return False
        if ticket.background:
            background = sum(one.background for one in self._working)
            if background >= max(1, self.at_once - 1):
                return False
        return ticket is min(self._waiting, key=self._rank)

    def _rank(self, ticket: Ticket) -> tuple[bool, float, int]:
        used = self._used.get(ticket.tab, 0.0) if ticket.background else 0.0
        return ticket.background != self._background_is_due(), used, ticket.number

    def _background_is_due(self) -> bool:
        """Whether pages went first for so long that a piece of the background comes next."""
        if any(one.background for one in self._working):
            return False
        came = [one.since for one in self._waiting if one.background]
        since = max(self._background_ended, min(came, default=inf))
        return self._clock() - since >= PATIENCE

    def _all(self) -> list[Ticket]:
        return [*self._waiting, *self._working]

    def _here(self, tab: str | None) -> bool:
        return any(one.tab == tab and one.background for one in self._all())


@cache
def line() -> Line:
    """Return the line of this process."""
    return Line(settings().at_once or cores(), threads=min(settings().threads, cores()))


def turns_of_others(ahead: int) -> str:
    """Return in words how many turns come before one's own."""
    return "1 turn of others comes first" if ahead == 1 else f"{ahead} turns of others come first"


@contextmanager
def page_turn() -> Iterator[None]:
    """Wait for a turn as a page that somebody looks at, and say there how many come first.

    Who goes on to another page leaves the line.
    """
    import streamlit as st

    tab = current_tab()
    places: list[DeltaGenerator] = []

    def tell(ticket: Ticket | None) -> None:
        if ticket is None:
            for place in places:
                place.empty()
            return
        if not places:
            places.append(st.empty())
        ahead = line().ahead(ticket)
        places[0].caption(f"{turns_of_others(ahead)}.")

    with line().turn(tab, waits=tell if tab is not None else lambda ticket: None):
        yield
