"""Who is here: the tabs that are open, and what is to be done when one has gone.

A tab is a session of Streamlit. One that lost its connection is waited for: it may come back.
"""

import ctypes
import gc
import sys
import threading
import time
from collections.abc import Callable

from nonlocal_lens.app.again import again_and_again

EVERY = 5.0  # seconds between two looks


def current_tab() -> str | None:
    """Return the name of the tab whose page this thread draws; None outside of the app."""
    if "streamlit.runtime" not in sys.modules:  # a command or a notebook: it is slow to import
        return None
    from streamlit.runtime import exists
    from streamlit.runtime.scriptrunner import get_script_run_ctx

    context = get_script_run_ctx(suppress_warning=True)
    return context.session_id if context is not None and exists() else None


class Tabs:
    """Tabs that were seen, and when each last had a connection.

    Args:
        is_open: Whether a tab has a connection.
        grace: How long one is waited for that has none, in seconds.
        clock: Seconds that never go back, whatever the time of day does.
    """

    def __init__(
        self,
        is_open: Callable[[str], bool],
        grace: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._is_open, self._grace, self._clock = is_open, grace, clock
        self._seen: dict[str, float] = {}
        self._lock = threading.Lock()
        self.when_one_goes: list[Callable[[str], None]] = []
        self.when_none_is_left: list[Callable[[], None]] = []

    def __len__(self) -> int:
        return len(self._seen)

    def saw(self, tab: str) -> None:
        """Note that a tab is here."""
        with self._lock:
            self._seen[tab] = self._clock()

    def look(self) -> list[str]:
        """Do what is to be done for the tabs that have gone; return them."""
        now = self._clock()
        with self._lock:
            for tab in self._seen:
                if self._is_open(tab):
                    self._seen[tab] = now
            gone = [tab for tab, last in self._seen.items() if now - last >= self._grace]
            for tab in gone:
                del self._seen[tab]
            left = len(self._seen)
        for tab in gone:
            for tell in self.when_one_goes:
                tell(tab)
        if gone and not left:
            for do in self.when_none_is_left:
                do()
        return gone

    def watch(self) -> None:
        """Look again and again, in a thread that ends with the process."""
        again_and_again(self.look, EVERY, "tabs")


def is_open(tab: str) -> bool:
    """Return whether a tab has a connection to this server."""
    from streamlit.runtime import exists, get_instance

    return exists() and get_instance().is_active_session(tab)


def give_memory_back() -> None:
    """Return freed memory to the system, which C's own memory keeps otherwise."""
    gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):  # another system, which has no such thing
        return
