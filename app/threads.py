"""In how many threads torch computes, for a while."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager

_lock = threading.Lock()


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Let torch compute in so many threads, in this thread of Python, until the `with` ends."""
    import torch  # late: pages that only say something need no torch

    before = torch.get_num_threads()
    _become(number)
    try:
        yield
    finally:
        _become(before)


def one_thread() -> AbstractContextManager[None]:
    """Let torch compute in one thread, so that sums, and so files, never depend on --jobs."""
    return threads(1)


def _become(number: int) -> None:
    """Set the number of this thread of Python, and of no other.

    What is set in one thread is what torch gives to those that are new, too: what these had before
    is set again, by one of them.
    """
    import torch

    with _lock, ThreadPoolExecutor(1) as new:
        usual = new.submit(torch.get_num_threads).result()
        torch.set_num_threads(number)
        new.submit(torch.set_num_threads, usual).result()
