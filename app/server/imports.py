"""What pages need, made ready before it is asked for; meanwhile the first maps are there already.

One thread does it, and pages wait for its end before they import anything: two threads that import
what imports each other may each see half of it. It begins when a page asks, or when none has for a
while: it would take the processor from the server and the browser that are about to show one.
"""

import ast
import gc
import threading
import time
from importlib import import_module
from pathlib import Path

FIRST_PAGE = Path(__file__).parents[1] / "screens" / "explore.py"

PATIENCE = 3.0
"""Seconds after which the thread begins although nobody has come."""

BREATH = 0.3
"""Seconds in which what a page has just shown reaches the browser."""

_ended = threading.Event()
_ended.set()  # nothing to wait for where nothing was announced
_asked = threading.Event()


def modules_of(page: Path) -> list[str]:
    """Return the modules that a page's file imports, in its order."""
    found: list[str] = []
    for node in ast.parse(page.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            found.append(node.module)
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
    return found


def announce(patience: float) -> threading.Thread:
    """Import what the first page does, soon; what fails will fail again there, and be told.

    Args:
        patience: Seconds after which it begins though nobody waits for it.
    """
    _ended.clear()
    _asked.clear()
    thread = threading.Thread(target=_import_all, args=(patience,), name="imports", daemon=True)
    thread.start()
    return thread


def are_done() -> bool:
    """Return whether nothing is being imported by the thread."""
    return _ended.is_set()


def wait() -> None:
    """Return once all is imported; it begins now, if it has not."""
    _asked.set()
    _ended.wait()


def _import_all(patience: float) -> None:
    if _asked.wait(patience):
        time.sleep(BREATH)
    gc.disable()  # what is imported stays: to look for garbage in it takes a fifth of the time
    try:
        for module in modules_of(FIRST_PAGE):
            import_module(module)
    except Exception:  # the page imports it again, and its visitor is told
        pass
    finally:
        gc.freeze()  # nor is it ever looked through again
        gc.enable()
        _ended.set()
