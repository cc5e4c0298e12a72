"""Film the README's moving picture in the running app: `python -m docs.moving_picture`.

A pointer wanders over the first street, a click pins, the Compare page shows two networks with one
cursor. Every frame is a photograph of the page; only the arrow of the pointer is drawn in, because
a headless browser has none.
"""

import io
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw

from tests.browser import box_of, chromium, find_chromium, running_app

FILE = Path(__file__).parent / "moving-picture.webp"
SIZE = (1280, 720)
STEP_MS, PAUSE_MS = 110, 1400
QUALITY = 72
MOST_BYTES = 2_500_000

WANDER = ((0.30, 0.75), (0.55, 0.80), (0.72, 0.62), (0.60, 0.40), (0.50, 0.12), (0.25, 0.45))
"""Where the pointer goes, right and down as shares of the photograph."""

STEPS = 6
"""Frames from one place to the next."""

ARROW = ((0, 0), (0, 17), (4, 13), (7, 20), (10, 19), (7, 12), (12, 12))

Frame = tuple[Image.Image, int]


def main() -> None:
    """Write the film."""
    path = find_chromium()
    if path is None:
        raise SystemExit("no Chromium: install it (Debian: apt-get install chromium)")
    with running_app() as address, chromium(path) as browser:
        frames = list(filmed(browser, address))
    images, durations = zip(*frames, strict=True)
    images[0].save(
        FILE,
        save_all=True,
        append_images=images[1:],
        duration=durations,
        loop=0,
        quality=QUALITY,
        method=4,
    )
    size = FILE.stat().st_size
    if size > MOST_BYTES:
        raise SystemExit(f"{size / 1e6:.2f} MB, at most {MOST_BYTES / 1e6} are allowed: {FILE}")


def filmed(browser: Any, address: str) -> Iterator[Frame]:
    """Yield the frames with how many milliseconds each is shown."""
    page = browser.new_page(
        viewport={"width": SIZE[0], "height": SIZE[1]},
        color_scheme="light",
        reduced_motion="reduce",
    )
    page.set_default_timeout(120_000)
    page.goto(address)
    page.locator('[data-panel="photo"] .stage').first.wait_for()
    page.locator(".nl-bits").first.wait_for()
    skip_the_tour(page)
    page.wait_for_timeout(2000)
    yield shot(page, None), PAUSE_MS
    unpin(page)
    yield from wander(page, WANDER)
    point = at(page, WANDER[1])
    page.mouse.move(*point)
    page.mouse.click(*point)
    page.wait_for_timeout(2500)
    yield shot(page, point), PAUSE_MS
    page.get_by_role("link", name="Compare").first.click()
    page.locator('[data-panel="photo"] .stage').first.wait_for()
    page.wait_for_timeout(6000)
    yield shot(page, None), PAUSE_MS
    unpin(page)
    yield from wander(page, WANDER[1:5])


def skip_the_tour(page: Any) -> None:
    """Close what greets a first visit, where it is there."""
    skip = page.get_by_role("button", name="Skip")
    if skip.count():
        skip.first.click()
        page.wait_for_timeout(500)


def unpin(page: Any) -> None:
    """Clear the pins, so that the maps follow the pointer."""
    page.locator(".panels").first.press("Escape")
    page.wait_for_timeout(2500)


def wander(page: Any, places: Sequence[tuple[float, float]]) -> Iterator[Frame]:
    """Yield frames of the pointer on its way from place to place, resting at each."""
    for (x0, y0), (x1, y1) in pairwise(places):
        for step in range(1, STEPS + 1):
            share = step / STEPS
            point = at(page, (x0 + share * (x1 - x0), y0 + share * (y1 - y0)))
            page.mouse.move(*point)
            page.wait_for_timeout(60)
            yield shot(page, point), STEP_MS if step < STEPS else 5 * STEP_MS


def at(page: Any, place: tuple[float, float]) -> tuple[float, float]:
    """Return the point of the window at a place of the photograph."""
    box = box_of(page.locator('[data-panel="photo"] .stage').first)
    return box["x"] + place[0] * box["width"], box["y"] + place[1] * box["height"]


def shot(page: Any, pointer: tuple[float, float] | None) -> Image.Image:
    """Return a photograph of the page, with an arrow where the pointer is."""
    image = Image.open(io.BytesIO(page.screenshot(type="png"))).convert("RGB")
    if pointer is not None:
        arrow = [(pointer[0] + x, pointer[1] + y) for x, y in ARROW]
        ImageDraw.Draw(image).polygon(arrow, fill="white", outline="black")
    return image


if __name__ == "__main__":
    main()
