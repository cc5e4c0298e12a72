"""What the first page needs, made ready while the server starts and the browser fetches the page.

One thread does it, and pages wait for its end before they import anything: two threads that import
what imports each other may each see half of it.
"""

import ast
import gc
import threading
from importlib import import_module
from pathlib import Path

FIRST_PAGE = Path(__file__).parents[1] / "screens" / "explore.py"

_ended = threading.Event()
_ended.set()  # nothing to wait for where nothing was begun


def modules_of(page: Path) -> list[str]:
    """Return the modules that a page's file imports, in its order."""
    found: list[str] = []
    for node in ast.parse(page.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and node.module is not None:
            found.append(node.module)
        elif isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
    return found


def begin() -> threading.Thread:
    """Start to import what the first page does; what fails will fail again there, and be told."""
    _ended.clear()
    thread = threading.Thread(target=_import_all, name="imports", daemon=True)
    thread.start()
    return thread


def are_done() -> bool:
    """Return whether nothing is being imported by the thread."""
    return _ended.is_set()


def wait() -> None:
    """Return once the thread has ended."""
    _ended.wait()


def _import_all() -> None:
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
