"""What is counted, and told to Prometheus on a port of its own, to this computer alone."""

import os
import threading
import time
from collections import defaultdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PREFIX = "nonlocal_lens_"
CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = tuple[tuple[str, str], ...]


class Counters:
    """Sums of what happened since the process began."""

    def __init__(self) -> None:
        self._sums: defaultdict[tuple[str, Labels], float] = defaultdict(float)
        self._lock = threading.Lock()

    def add(self, name: str, amount: float = 1, **labels: str) -> None:
        """Add to a sum."""
        with self._lock:
            self._sums[name, tuple(sorted(labels.items()))] += amount

    def sums(self) -> dict[tuple[str, Labels], float]:
        """Return every sum by its name and labels."""
        with self._lock:
            return dict(self._sums)

    def lines(self) -> list[str]:
        """Return all sums, and how things stand right now, as Prometheus reads them."""
        told = [
            _line(f"{name}_total", labels, value)
            for (name, labels), value in sorted(self.sums().items())
        ]
        return told + [_line(name, (), value) for name, value in sorted(_right_now().items())]


COUNTERS = Counters()
"""Those of this process."""


def serve_counters(counters: Counters, port: int) -> ThreadingHTTPServer:
    """Tell counters on 127.0.0.1 at a port, in a thread that ends with the process."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            if self.path != "/metrics":
                self.send_error(404)
                return
            body = ("\n".join(counters.lines()) + "\n").encode()
            self.send_response(200)
            self.send_header("Content-Type", CONTENT_TYPE)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *words: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, name="counters", daemon=True).start()
    return server


def resident_bytes() -> int:
    """Return how much memory this process holds; 0 where the system does not tell."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123  # no file of ours
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def _right_now() -> dict[str, float]:
    """Return how things stand: who is here, who waits, what is kept."""
    from nonlocal_lens.app.batch.networks import NETWORKS_KEPT
    from nonlocal_lens.app.cache import RESULTS
    from nonlocal_lens.app.housekeeping import tabs
    from nonlocal_lens.app.line import line
    from nonlocal_lens.app.pictures import DECODED
    from nonlocal_lens.app.uploads import shelves

    now: dict[str, float] = {
        "tabs": len(tabs()),
        "line_waiting": line().waiting,
        "line_working": line().working,
        "line_turns": line().turns,
        "line_seconds": line().seconds,
        "uploads_bytes": shelves().size,
        "processor_seconds": time.process_time(),
        "resident_bytes": resident_bytes(),
    }
    for name, kept in [("results", RESULTS), ("networks", NETWORKS_KEPT), ("pictures", DECODED)]:
        now |= {
            f"{name}_bytes": kept.bytes,
            f"{name}_found": kept.found,
            f"{name}_made": kept.made,
        }
    return now


def _line(name: str, labels: Labels, value: float) -> str:
    told = ",".join(f'{key}="{text}"' for key, text in labels)
    return f"{PREFIX}{name}{{{told}}} {value:.10g}" if told else f"{PREFIX}{name} {value:.10g}"
