"""The greatest memory that a process has had."""

import re
import sys
from pathlib import Path


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
