"""In how many threads torch computes, for a while."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager


@contextmanager
def threads(number: int) -> Iterator[None]:
    """Let torch compute in so many threads, in this thread of Python, until the `with` ends."""
    import torch  # late: pages that only say something need no torch

    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def one_thread() -> AbstractContextManager[None]:
    """Let torch compute in one thread, so that sums, and so files, never depend on --jobs."""
    return threads(1)
