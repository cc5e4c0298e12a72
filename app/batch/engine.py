"""What works the jobs of a batch off: this process, or several of this machine."""

import os
import signal
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from threading import Thread
from typing import Protocol, TypeVar

from nonlocal_lens.app.batch.writing import OutputError

Job = TypeVar("Job")
Done = TypeVar("Done")


MOST_DEATHS = 3
"""Jobs in a row whose worker dies before a batch gives up: it is not the jobs then."""


class WorkerDied(RuntimeError):  # noqa: N818 - it says what happened
    """The process that worked on a job is gone: killed by the system, or crashed in a library."""

    def __str__(self) -> str:
        return "the process that worked on it died, perhaps for lack of memory"


class Engine(Protocol):
    """Does a piece of work for each of some jobs."""

    def __call__(
        self, work: Callable[[Job], Done], jobs: Sequence[Job], workers: int | None
    ) -> Generator[tuple[Job, Done | WorkerDied]]:
        """Yield every job with what came of it, in the order in which they finish.

        A job whose worker dies, also when it is alone, has `WorkerDied` come of it.

        Args:
            work: A function of plain values, which another process can import.
            jobs: What it is called with, once each.
            workers: How many at a time; None for as many as there are cores.

        Raises:
            OutputError: Workers die whatever they do. What `work` raises is raised here, too.
        """


def local(
    work: Callable[[Job], Done], jobs: Sequence[Job], workers: int | None
) -> Generator[tuple[Job, Done | WorkerDied]]:
    """Work jobs off in this process, or in several if there are several workers and jobs.

    Every process computes in one thread: while one runs a network, another measures, and there are
    never more threads than workers.
    """
    workers = min(workers or cores(), len(jobs))
    if workers < 2:
        for job in jobs:
            yield job, work(job)
        return
    left = deque(jobs)
    dead: list[tuple[Job, WorkerDied]] = []  # one after the other
    while left:
        suspects: list[Job] = []  # one of them killed its worker and took the others along
        for job, done in _side_by_side(work, left, workers):
            if isinstance(done, WorkerDied):
                suspects.append(job)
                continue
            yield job, done
        for suspect in suspects:
            for job, done in _side_by_side(work, deque([suspect]), 1):
                if not isinstance(done, WorkerDied):
                    yield from dead
                    dead.clear()
                    yield job, done
                    continue
                dead.append((job, done))
                if len(dead) == MOST_DEATHS:
                    raise OutputError(
                        f"{MOST_DEATHS} worker processes died one after the other, perhaps for "
                        "lack of memory; what is finished is kept, --resume goes on from there, "
                        "with fewer --jobs if need be"
                    )
    yield from dead


def _side_by_side(
    work: Callable[[Job], Done], left: deque[Job], workers: int
) -> Generator[tuple[Job, Done | WorkerDied]]:
    """Take jobs from `left` and yield them with what came of them, until a worker dies.

    Then those that were under way, one of which it was, have `WorkerDied` come of them.
    """
    # a fresh interpreter per worker: forking a process with torch's threads in it can hang
    pool = ProcessPoolExecutor(workers, get_context("spawn"), _begin_worker)
    waiting: dict[Future[Done], Job] = {}
    broken = False
    try:
        while not broken:
            while left and len(waiting) < 2 * workers:
                waiting[pool.submit(work, left[0])] = left[0]
                left.popleft()
            if not waiting:
                break
            for future in wait(waiting, return_when=FIRST_COMPLETED).done:
                if isinstance(future.exception(), BrokenProcessPool):
                    broken = True
                    continue
                yield waiting.pop(future), future.result()
    except BrokenProcessPool:  # nothing can be submitted anymore
        pass
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    for future, job in waiting.items():
        finished = future.done() and not future.cancelled() and future.exception() is None
        yield job, future.result() if finished else WorkerDied()


def cores() -> int:
    """Return how many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _begin_worker() -> None:
    init_worker()
    Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    """End this process when the one that started it has died, which tells nobody if killed."""
    parent = parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def init_worker() -> None:
    """Let a worker process compute in one thread, and leave Ctrl-C to the first process.

    Workers finish the file they are writing.
    """
    import cv2
    import torch

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
