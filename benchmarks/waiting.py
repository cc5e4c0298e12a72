"""What a visitor waits for, in headless Chromium: the first map, a second picture, a link."""

import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

from PIL import Image

from benchmarks.headline import Headline
from benchmarks.hover import MOVES, time_moves
from nonlocal_lens.streets import render_scene
from tests.browser import chromium, find_chromium, running, running_app

MAP = "canvas.map"
QUICK_MOVES = 40
LOOKING = 20
"""Milliseconds between two looks at a page that is waited for."""

CLICKING = Path(__file__).with_name("clicking.py")


def headlines(rounds: int, *, quick: bool) -> list[Headline]:
    """Return what is waited for; nothing where there is no Chromium."""
    path = find_chromium()
    if path is None:
        return [Headline("in the browser", "s", (), note="there is no Chromium here")]
    with chromium(path) as browser:
        moves = QUICK_MOVES if quick else MOVES
        hovered = time_moves(browser, 64, 64, 0, 1, rounds=rounds, moves=moves)
        hover = tuple(median(times) for times in hovered)
        starts = [] if quick else [started(browser) for _ in range(rounds)]
        first, numbers = zip(*starts, strict=True) if starts else ((), ())
        with running_app() as address:
            page = opened(browser, address)
            whole(page)
            second = tuple(uploaded(page, seed) for seed in range(rounds))
            link = page.url
            page.close()
            opens = range(0 if quick else rounds)
            links = tuple(timed(lambda: opened(browser, link).close()) for _ in opens)
        clicks, reason = server_clicks(browser, rounds)
    name = f"from a mouse move to painted maps, 64 x 64 cells, {moves} moves a round"
    left_out = "left out of a quick run: each time takes seconds" if quick else ""
    other = "streamlit-image-coordinates, a click: the server renders the picture"
    return [
        Headline(name, "ms", hover, other, clicks, note=reason),
        Headline("from the command to the first live map", "s", first, note=left_out),
        Headline("from the command to the numbers of the first page", "s", numbers, note=left_out),
        Headline("from an uploaded picture, 480 x 360, to its live map", "s", second),
        Headline("from a link to the view that it restores", "s", links, note=left_out),
    ]


def timed(run: Callable[[], object]) -> float:
    """Return the seconds of a run by the clock."""
    start = perf_counter()
    run()
    return perf_counter() - start


def started(browser) -> tuple[float, float]:
    """Return the seconds from the command that starts the app to the first map, and to all."""
    start = perf_counter()
    with running_app() as address:
        page = opened(browser, address)
        first = perf_counter() - start
        whole(page)
        numbers = perf_counter() - start
        page.close()
        return first, numbers


def opened(browser, address: str):
    """Return a page once its maps are painted."""
    page = browser.new_page(viewport={"width": 1440, "height": 900})
    page.goto(address)
    page.locator(MAP).first.wait_for(timeout=120_000)
    return page


def whole(page) -> None:
    """Return once a page that has maps has its numbers, too: what is kept for a start is over."""
    page.locator(".nl-bits").first.wait_for(timeout=120_000)


def uploaded(page, seed: int) -> float:
    """Return the seconds from when the page has a file of 480 x 360 pixels to its map.

    By the page's own clock: what drives the browser here takes a tenth of a second by itself.
    """
    before = page.locator('[data-panel="photo"] img').first.get_attribute("src")
    with TemporaryDirectory() as folder:
        file = Path(folder) / f"{seed}.png"
        Image.fromarray(render_scene(seed).image).save(file)
        chosen = page.locator('input[type="file"]').first
        chosen.evaluate(
            "(input) => input.addEventListener('change', () => (window.since = performance.now()))"
        )
        chosen.set_input_files(file)
        # not at every frame: to look through the page takes the processor from the app
        page.wait_for_function(CHANGED, arg=before, timeout=120_000, polling=LOOKING)
        return page.evaluate("() => (window.shown - window.since) / 1000")


def server_clicks(browser, rounds: int) -> tuple[tuple[float, ...], str]:
    """Return the milliseconds from a click to the answer where the server renders, or why not."""
    if find_spec("streamlit_image_coordinates") is None:
        return (), "streamlit-image-coordinates is not installed"
    command = [sys.executable, "-m", "streamlit", "run", str(CLICKING)]
    with running([*command, "--server.headless", "true"], flag="--server.port") as address:
        page = browser.new_page(viewport={"width": 1000, "height": 900})
        page.goto(address)
        image = page.frame_locator("iframe").locator("img")
        image.wait_for(timeout=120_000)
        taken = []
        for number in range(rounds + 1):
            column, row = 7 + 5 * number, 11 + 3 * number
            start = perf_counter()
            image.click(position={"x": 8 * column + 4, "y": 8 * row + 4})
            page.get_by_text(f"cell {row * 64 + column}", exact=True).wait_for(timeout=60_000)
            taken.append(1000 * (perf_counter() - start))
        page.close()
    return tuple(taken[1:]), ""


CHANGED = """before => {
    const find = (root) => root.querySelector?.('[data-panel="photo"] img') ??
        [...root.querySelectorAll("*")]
            .map((node) => node.shadowRoot && find(node.shadowRoot)).find(Boolean);
    const image = find(document);
    const changed = image && image.complete && image.getAttribute("src") !== before;
    if (changed) window.shown = performance.now();
    return changed;
}"""
