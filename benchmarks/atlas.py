"""From a mouse move to all heads painted, in headless Chromium: `python -m benchmarks.atlas`.

Every head is in view, so that all of them answer: the window is as tall as the wall. `script` is
from the pointer event to the last pixel written; `frame` is from the event to the next frame that
the browser begins, with what the last one still had to composite.
"""

import statistics
from pathlib import Path
from tempfile import TemporaryDirectory
from unittest.mock import patch

import numpy as np
import torch

from nonlocal_lens.analysis.atlas import measure_heads
from nonlocal_lens.analysis.grid import Grid
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.app.atlas import payload, taken
from tests.browser import chromium, find_chromium

MOVES = 200

CASES = (
    # what is shown, layers, heads, cells along a side, channels, milliseconds allowed
    ("144 heads of 14 x 14, 64 channels", 12, 12, 14, 64, 16),
    ("384 heads of 37 x 37, 64 channels", 24, 16, 37, 64, 100),
)

TIME_MOVES = """
async (moves) => {
    const picture = document.querySelector(".atlas .picture");
    const box = picture.getBoundingClientRect();
    const next = () => new Promise(requestAnimationFrame);
    const [script, frame] = [[], []];
    for (let step = 0; step < moves; step++) {
        await next();
        const clientX = box.left + ((step * 37) % 101) / 101 * box.width;
        const clientY = box.top + ((step * 53) % 103) / 103 * box.height;
        const start = performance.now();
        picture.dispatchEvent(new PointerEvent("pointermove", { clientX, clientY, bubbles: true }));
        script.push(performance.now() - start);
        await next();
        frame.push(performance.now() - start);
    }
    return [script, frame];
}
"""

BRING = """
async (number) => {
    const answer = await fetch(`http://parts/${number}`);
    document.querySelector(".host").nonlocalAtlas.show(new Uint8Array(await answer.arrayBuffer()));
}
"""

ANSWERING = """
() => document.querySelector(".host").nonlocalAtlas.shown.filter((head) => head.visible).length
"""


def main() -> None:
    """Print the times of hovering over walls of random heads."""
    path = find_chromium()
    if path is None:
        raise SystemExit("no Chromium: install it (Debian: apt-get install chromium)")
    print(f"{'all heads at once, ms':<38}{'median':>8}{'p95':>8}{'frame p95':>11}{'allowed':>9}")
    with chromium(path) as browser:
        for name, *shape, allowed in CASES:
            script, frame = time_moves(browser, *shape)
            numbers = statistics.median(script), tail(script), tail(frame)
            print(f"{name:<38}{numbers[0]:>8.1f}{numbers[1]:>8.1f}{numbers[2]:>11.1f}{allowed:>9}")


def tail(times: list[float]) -> float:
    """Return the 95th percentile."""
    return sorted(times)[int(0.95 * len(times))]


def time_moves(
    browser, layers: int, heads: int, side: int, channels: int
) -> tuple[list[float], list[float]]:
    """Return the milliseconds of mouse moves over a wall: of its script, and to the next frame."""
    page = browser.new_page(viewport={"width": 1440, "height": 3000}, bypass_csp=True)
    html, parts = wall(layers, heads, side, channels)
    allowed = {"Access-Control-Allow-Origin": "*"}
    page.route(
        "http://parts/*",
        lambda route: route.fulfill(
            body=parts[int(route.request.url.rpartition("/")[2])], headers=allowed
        ),
    )
    with TemporaryDirectory() as folder:
        path = Path(folder) / "wall.html"
        path.write_bytes(html)
        page.goto(path.as_uri())
    for number in range(len(parts)):
        page.evaluate(BRING, number)
    page.wait_for_function(f"() => ({ANSWERING})() === {layers * heads}")
    page.evaluate(TIME_MOVES, 30)  # let the browser compile
    script, frame = page.evaluate(TIME_MOVES, MOVES)
    page.close()
    return script, frame


def wall(layers: int, heads: int, side: int, channels: int) -> tuple[bytes, list[bytes]]:
    """Return a page with a wall of random heads, and its parts; all have the numbers of one."""
    generator = torch.Generator().manual_seed(0)
    grid = Grid.tiling((8 * side, 8 * side), side, side)
    records = []
    for number in range(layers * heads):
        query, key = torch.randn(2, side * side, channels, generator=generator)
        block, head = f"blocks.{number // heads}", number % heads
        scale = channels**-0.5
        records.append(
            AttentionRecord(
                block, "embedded_gaussian", "coupled", scale, query, key, None, grid, grid, head
            )
        )
    image = np.full((8 * side, 8 * side, 3), 128, np.uint8)
    subject = payload.Subject("random heads", image, "gray", "Gray", tuple(records), random=True)
    (measured,) = measure_heads(records[:1])
    ends = payload.color_scale(records[0])
    with patch.object(payload, "color_scale", lambda _: ends):
        parts = [
            payload.part(subject, number, [measured._replace(record=records[i]) for i in indices])
            for number, indices in enumerate(payload.parts(records))
        ]
    first = payload.first_part(subject)
    return taken.html_page(subject, [first], {"size": "small"}), parts


if __name__ == "__main__":
    main()
