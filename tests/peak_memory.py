"""The greatest memory that a process has had."""

import ctypes
import re
import sys
from pathlib import Path

FORGETTING = Path("/proc/self/clear_refs")
"""Where Linux is told to forget the greatest memory of a process (proc(5): 5)."""


def peak_megabytes() -> float:
    """Return the greatest memory that this process has had, in MB of 2^20 bytes.

    Where Linux tells it, of this program alone: `ru_maxrss` is at least what the process held that
    started it.
    """
    status = Path("/proc/self/status")
    if status.exists():
        found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text())
        if found:
            return int(found[1]) / 1024
    from resource import RUSAGE_SELF, getrusage

    return getrusage(RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 1024)


def forget_peak() -> bool:
    """Let the greatest memory be what this process needs now; return whether the system does so.

    What the allocator keeps for later is given back first, or the next to ask would take it
    without being seen.
    """
    if not FORGETTING.exists():
        return False
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's
    if trim is not None:
        trim(0)
    FORGETTING.write_text("5")
    return True
