"""Processes of their own for what is measured, without loading anew what is loaded already."""

import gc
import multiprocessing
import os
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from typing import Any


def apart(run: Callable[[], Any], *, seconds: float) -> Any:
    """Return what a run returns in a process that begins as a copy of this one.

    Nothing that the run leaves in memory, sets or starts is there afterwards; what this process has
    imported needs not be imported again.

    Args:
        run: What to do; what it returns can be pickled.
        seconds: It may take; then it ends, and with it the programs that it started.

    Raises:
        RuntimeError: It fails, dies, or takes too long.
    """
    context = multiprocessing.get_context("fork")
    answer, told = context.Pipe(duplex=False)
    process = context.Process(target=_tell, args=(run, told))
    process.start()
    told.close()
    try:
        if not answer.poll(seconds):
            os.killpg(process.pid or 0, signal.SIGKILL)
            raise RuntimeError(f"it took more than {seconds:.0f} s")
        failed, value = answer.recv()
    except EOFError as error:
        process.join()
        raise RuntimeError(f"its process ended with status {process.exitcode}") from error
    finally:
        process.join()
        answer.close()
    if failed:
        raise RuntimeError(value)
    return value


def _tell(run: Callable[[], Any], told: Connection) -> None:
    """Send what a run returns, or why it failed, to who waits for it."""
    os.setsid()  # a group of its own, so that all of it can be ended
    gc.freeze()  # what is loaded stays, and need not be looked through before every round
    try:
        told.send((False, run()))
    except Exception as error:
        told.send((True, f"{type(error).__name__}: {error}"))
