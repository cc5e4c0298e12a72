"""Photograph every page of the running app: `python -m docs.screens`.

Three windows, light and dark, each page as a new user sees it. Nothing is drawn in.
"""

import argparse
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from PIL import Image

from tests.browser import chromium, find_chromium, running_app

FOLDER = Path(__file__).parent / "pictures" / "screens"
SIZES = ((1440, 900), (1280, 720), (390, 844))
SCHEMES = ("light", "dark")
QUALITY = 60
MOST_BYTES = 3_000_000  # of all pictures together

A_PERSON = "Object.defineProperty(Navigator.prototype, 'webdriver', { get: () => false })"
"""The tour greets people, not browsers that are driven."""


RUNNING = "[data-testid=stApp][data-test-script-state=running]"


class Screen(NamedTuple):
    """A page of the app, and what is there once it is done."""

    name: str
    path: str
    done: tuple[str, ...]
    tour: bool = False
    slow: bool = False  # its numbers take long: one visit is for all windows of a color scheme


SCREENS = (
    Screen("tour", "", (".nl-bits", '[data-panel="photo"] .stage', ".card"), tour=True),
    Screen("explore", "", (".nl-bits", '[data-panel="photo"] .stage')),
    Screen("layers", "layers", (".atlas canvas",)),
    Screen("compare", "compare", ('[data-panel="difference"] .stage', ".nl-column")),
    Screen("video", "video", (".lens .strip",)),
    Screen("degeneracy", "degeneracy", (".board tbody tr:nth-child(6)",), slow=True),
    Screen("export", "export", ('[data-testid="stImage"] img', "pre code")),
    Screen("guide", "guide", (".nl-guide",)),
)


def main() -> None:
    """Take the pictures that are asked for, or all."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[screen.name for screen in SCREENS] + [[]])
    parser.add_argument("--folder", type=Path, default=FOLDER)
    given = parser.parse_args()
    path = find_chromium()
    if path is None:
        raise SystemExit("no Chromium: install it (Debian: apt-get install chromium)")
    given.folder.mkdir(parents=True, exist_ok=True)
    with running_app() as address, chromium(path) as browser:
        for name, shot in photographed(browser, address, given.names):
            file = given.folder / f"{name}.webp"
            Image.open(io.BytesIO(shot)).convert("RGB").save(file, quality=QUALITY, method=6)
            print(file.name, file.stat().st_size)  # noqa: T201
    size = sum(file.stat().st_size for file in given.folder.glob("*.webp"))
    if size > MOST_BYTES:
        raise SystemExit(f"{size / 1e6:.2f} MB, at most {MOST_BYTES / 1e6} are allowed")


def photographed(browser: Any, address: str, names: list[str]) -> Iterator[tuple[str, bytes]]:
    """Yield what each page looks like, named by page, width and color scheme."""
    for screen in SCREENS:
        if names and screen.name not in names:
            continue
        for scheme in SCHEMES:
            page = None
            for size in SIZES:
                if page is None or not screen.slow:
                    page = opened(browser, screen, size, scheme)
                    page.goto(f"{address}/{screen.path}")
                page.set_viewport_size({"width": size[0], "height": size[1]})
                settle(page, screen)
                yield f"{screen.name}-{size[0]}-{scheme}", page.screenshot(type="png")
                if not screen.slow or size == SIZES[-1]:
                    page.context.close()


def opened(browser: Any, screen: Screen, size: tuple[int, int], scheme: str) -> Any:
    """Return a page of somebody who was never here."""
    context = browser.new_context(
        viewport={"width": size[0], "height": size[1]},
        color_scheme=scheme,
        reduced_motion="reduce",
        has_touch=size[0] < 500,
    )
    if screen.tour:
        context.add_init_script(A_PERSON)
    page = context.new_page()
    page.set_default_timeout(300_000)
    return page


def settle(page: Any, screen: Screen) -> None:
    """Wait until a page shows all that it will."""
    for what in screen.done:
        page.locator(what).first.wait_for()
    if screen.slow:
        page.get_by_role("button", name="Cancel").wait_for(state="detached")
    page.mouse.move(2, 2)
    page.wait_for_function(f"() => !document.querySelector({RUNNING!r})")
    page.wait_for_timeout(1200)


if __name__ == "__main__":
    main()
