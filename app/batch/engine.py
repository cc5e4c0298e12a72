"""What works the jobs of a batch off: this process, or several of this machine."""

import os
import signal
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from itertools import islice
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Protocol, TypeVar

from app.batch.writing import OutputError

Job = TypeVar("Job")
Done = TypeVar("Done")


class Engine(Protocol):
    """Does a piece of work for each of some jobs."""

    def __call__(
        self, work: Callable[[Job], Done], jobs: Sequence[Job], workers: int | None
    ) -> Generator[tuple[Job, Done]]:
        """Yield every job with what came of it, in the order in which they finish.

        Args:
            work: A function of plain values, which another process can import.
            jobs: What it is called with, once each.
            workers: How many at a time; None for as many as there are cores.

        Raises:
            OutputError: Workers died. What `work` raises is raised here, too.
        """


def local(
    work: Callable[[Job], Done], jobs: Sequence[Job], workers: int | None
) -> Generator[tuple[Job, Done]]:
    """Work jobs off in this process, or in several if there are several workers and jobs.

    Every process computes in one thread: while one runs a network, another measures, and there are
    never more threads than workers.
    """
    workers = min(workers or cores(), len(jobs))
    if workers < 2:
        for job in jobs:
            yield job, work(job)
        return
    # a fresh interpreter per worker: forking a process with torch's threads in it can hang
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _begin_worker)
    waiting: dict[Future[Done], Job] = {}
    queue = iter(jobs)
    try:
        while True:
            for job in islice(queue, 2 * workers - len(waiting)):
                waiting[pool.submit(work, job)] = job
            if not waiting:
                break
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                yield waiting.pop(future), future.result()
    except BrokenProcessPool as error:
        raise OutputError(
            "a worker process died, perhaps for lack of memory; what is finished is kept, --resume "
            "goes on from there, with fewer --jobs if need be"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _begin_worker() -> None:
    settle_worker()
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when the one that started it has died, which tells nobody if killed."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def settle_worker() -> None:
    """Let a worker process compute in one thread, and leave Ctrl-C to the first process.

    Workers finish the file they are writing.
    """
    import cv2
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
