"""What axe finds on a page that those who do not see, or see little, would stumble over."""

import os
import time
from pathlib import Path
from typing import Any

from browser import PATIENCE

SCRIPT = Path(__file__).parent / "javascript" / "node_modules" / "axe-core" / "axe.min.js"


def assert_nothing_is_found(page: Any) -> None:
    """Fail if axe finds anything; where it is not installed nothing is asked, but in CI."""
    if not SCRIPT.exists():
        assert os.environ.get("CI") != "true", "no axe: npm ci --prefix tests/javascript"
        return
    page.evaluate(SCRIPT.read_text(encoding="utf-8"))
    deadline = time.monotonic() + PATIENCE / 1000
    while (said := _found(page)) and time.monotonic() < deadline:
        time.sleep(0.5)  # what is about to be drawn anew is dimmed, too much to be read
    assert not said, said


def _found(page: Any) -> list[tuple[str, str]]:
    found = page.evaluate("() => axe.run(document)")["violations"]
    return [(one["id"], node["html"][:150]) for one in found for node in one["nodes"]]
