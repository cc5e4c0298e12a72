"""When Python looks for garbage: while the server has time, not after every run of a page.

Streamlit looks through everything after each run, and no other tab runs meanwhile. With one tab
that takes 15 ms; with twenty, whose pages are hundreds of thousands of objects, a quarter of a
second, which was three quarters of all the time in which Python ran (`python -m benchmarks.load`).
"""

import gc
import time
from collections.abc import Callable

from nonlocal_lens.app.again import again_and_again
from nonlocal_lens.app.server.counters import resident_bytes

EVERY = 1.0  # seconds between two thoughts of it
AT_REST = 10.0  # seconds after which it is looked for, if any page ran
SHARE = 0.05  # of all time, the most that looking takes
GROWN = 128_000_000  # bytes that the process grew by: some of it may be garbage


class Collector:
    """Looks for garbage if something ran, and soon if memory grew.

    Args:
        collect: What looks for it.
        resident: Bytes that the process holds.
        made: A number that is another one once objects were made.
        clock: Seconds that never go back.
    """

    def __init__(
        self,
        collect: Callable[[], object] = gc.collect,
        resident: Callable[[], int] = resident_bytes,
        made: Callable[[], int] = lambda: gc.get_stats()[0]["collections"],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._collect, self._resident, self._made, self._clock = collect, resident, made, clock
        self._ended, self._took = clock(), 0.0
        self._held, self._seen = resident(), made()

    def think(self) -> bool:
        """Look for garbage if it is time to; return whether it was."""
        since = self._clock() - self._ended
        if self._made() == self._seen or since < self._took / SHARE:
            return False
        if since < AT_REST and self._resident() - self._held < GROWN:
            return False
        begun = self._clock()
        self._collect()
        self._ended = self._clock()
        self._took = self._ended - begun
        self._held, self._seen = self._resident(), self._made()
        return True

    def watch(self) -> None:
        """Think of it again and again, in a thread that ends with the process."""
        again_and_again(self.think, EVERY, "garbage")
