"""Headless Chromium and a running app, for the tests and benchmarks that need them."""

import os
import shutil
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
PATIENCE = 120_000  # milliseconds: the machine may have other work

QUIET = (
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def find_chromium() -> str | None:
    """Return the path of an installed Chromium; first the one that has no windows to draw.

    Debian's `chromium-headless-shell` takes a fifth less of the processor for a page of the app.
    """
    names = ("chromium-headless-shell", "chromium", "chromium-browser")
    return next(filter(None, map(shutil.which, names)), None)


@contextmanager
def chromium_or_skip() -> Iterator:
    """Start headless Chromium; skip the test where there is none, fail it in CI."""
    import pytest

    path = find_chromium()
    if path is None:
        reason = "no Chromium: install it (Debian: apt-get install chromium) for the browser tests"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    with chromium(path) as browser:
        yield browser


def running_app() -> AbstractContextManager[str]:
    """Start the app of this checkout as a user would, on a free port; yield its address."""
    return running([sys.executable, "-m", "app"], cwd=ROOT)


@contextmanager
def running(command: list[str], *, flag: str = "--port", **options: Any) -> Iterator[str]:
    """Start the app by a command, on a free port that goes with a flag; yield its address."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [*command, flag, str(port)]
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options
    ) as server:
        try:
            wait_until_healthy(f"http://127.0.0.1:{port}/_stcore/health")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def wait_until_healthy(url: str, seconds: float = 90) -> None:
    """Return once the server answers; TimeoutError if it does not."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                if answer.status == 200:
                    return
        except OSError:
            time.sleep(0.2)
    raise TimeoutError(f"{url} did not answer within {seconds} s")


@contextmanager
def chromium(path: str) -> Iterator:
    """Start headless Chromium; yield Playwright's browser."""
    from playwright.sync_api import expect, sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=list(QUIET))
        browser.on("context", lambda context: context.set_default_timeout(PATIENCE))
        expect.set_options(timeout=PATIENCE)
        try:
            yield browser
        finally:
            browser.close()


STANDING = """
async (node) => {
    const where = () => node.isConnected && node.getBoundingClientRect();
    const frame = () => new Promise(requestAnimationFrame);
    const before = where();
    await frame();
    await frame();
    const { x, y, width, height } = where() || {};
    const still = [x, y, width, height].every(
        (value, index) => value === [before.x, before.y, before.width, before.height][index]);
    return width && height && still ? { x, y, width, height } : null;
}
"""


def box_of(locator: Any) -> dict[str, float]:
    """Return where an element is on the page, in pixels, once it stands still.

    What a page is drawing anew has no place (`bounding_box` says None) or another one in a moment.
    """
    deadline = time.monotonic() + PATIENCE / 1000
    while time.monotonic() < deadline:
        if box := locator.evaluate(STANDING):
            return box
    raise TimeoutError(f"{locator} did not come to rest within {PATIENCE} ms")


def comes_true(read: Callable[[], Any], expected: Any) -> None:
    """Hold what a page shows to what is expected, once it is done with what it was told."""
    deadline = time.monotonic() + PATIENCE / 1000
    while (seen := read()) != expected and time.monotonic() < deadline:
        time.sleep(0.05)
    assert seen == expected


def emptied(page: Any, size: tuple[int, int], scheme: str) -> Any:
    """Return a page as a new one is: empty, in a window of some size, remembering nothing.

    A new one would start a process, and read and compile every script anew: three seconds for the
    app, where this one needs a third of a second.
    """
    if page.url.startswith("http"):
        page.evaluate("sessionStorage.clear()")
    page.goto("about:blank")
    session = page.context.new_cdp_session(page)
    session.send("Storage.clearDataForOrigin", {"origin": "*", "storageTypes": "all"})
    session.detach()
    page.context.clear_cookies()
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.emulate_media(color_scheme=scheme)
    return page


@contextmanager
def watched(page: Any, home: str | None = None) -> Iterator[None]:
    """Watch a page; fail afterwards if it logged an error or asked others than home for anything.

    Streamlit first looks for its server below the page's own path; that is no error of ours.
    """
    problems = []

    def hear(entry: Any) -> None:
        if entry.type == "error" and "/_stcore/" not in entry.location["url"]:
            problems.append(entry.text)

    def asked(request: Any) -> None:
        ours = home is not None and request.url.startswith((home, home.replace("http", "ws")))
        if not ours and request.url.startswith(("http", "ws")):
            problems.append(request.url)

    listeners = {
        "pageerror": lambda error: problems.append(f"error: {error}"),
        "console": hear,
        "request": asked,
    }
    for event, listener in listeners.items():
        page.on(event, listener)
    try:
        yield
    finally:
        for event, listener in listeners.items():
            page.remove_listener(event, listener)
    assert not problems, problems
