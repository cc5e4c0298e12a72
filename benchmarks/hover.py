"""From a mouse move to painted maps, against asking the server: `python -m benchmarks.hover`.

In one headless Chromium:

- hover: from the pointer event to the last pixel written, in the viewer (one query's maps, their
  color bars, marks and readout). The browser then composites, which no page can time.
- baseline: the same new query answered by the server, as tools do that rerun on every click: from a
  pin in the viewer to the query's row, computed by torch, on the page. Its grid is 64 x 64 with 64
  channels (the astronaut, 512 x 512).
"""

import base64
import statistics

import numpy as np
import torch

from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.analysis.grid import Grid
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.app.viewer.bundle import viewer_css, viewer_js
from nonlocal_lens.app.viewer.payload import Shown, pack_all
from tests.browser import box_of, chromium, find_chromium, running_app

MOVES, PINS = 300, 15

CASES = (
    # what is shown, cells along a side, channels, tokens off the picture, networks side by side,
    # milliseconds allowed
    ("64 x 64, 64 channels", 64, 64, 0, 1, 4),
    ("64 x 64, 64 channels, 8 tokens", 64, 64, 8, 1, 4),
    ("97 x 97, 256 channels", 97, 256, 0, 1, 12),
    ("four networks, 64 x 64, 64 channels", 64, 64, 0, 4, 16),
)

MOUNT = """
async ([code, style, payload]) => {
    const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
    const lens = await import(url);
    const sheet = document.createElement("style");
    sheet.textContent = style;
    document.head.append(sheet);
    lens.mount(document.body, lens.bytesOf(payload));
}
"""

TIME_MOVES = """
async (moves) => {
    const find = (root) => root.querySelector?.('[data-panel="photo"] .stage') ??
        [...root.querySelectorAll("*")]
            .map((node) => node.shadowRoot && find(node.shadowRoot)).find(Boolean);
    const stage = find(document);
    const box = stage.getBoundingClientRect();
    const times = [];
    for (let step = 0; step < moves; step++) {
        await new Promise(requestAnimationFrame);
        const clientX = box.left + ((step * 37) % 101) / 101 * box.width;
        const clientY = box.top + ((step * 53) % 103) / 103 * box.height;
        const event = new PointerEvent("pointermove", { clientX, clientY, bubbles: true });
        const start = performance.now();
        stage.dispatchEvent(event);
        times.push(performance.now() - start);
    }
    return times;
}
"""


def main() -> None:
    """Print the times of hovering, and those of asking the server."""
    path = find_chromium()
    if path is None:
        raise SystemExit("no Chromium: install it (Debian: apt-get install chromium)")
    with chromium(path) as browser:
        print(f"{'hover to paint, ms':<44}{'median':>8}{'p95':>8}{'allowed':>9}")
        hover = []
        for name, side, channels, tokens, networks, allowed in CASES:
            (times,) = time_moves(browser, side, channels, tokens, networks)
            hover.append((statistics.median(times), times[int(0.95 * len(times))]))
            print(f"{name:<44}{hover[-1][0]:>8.2f}{hover[-1][1]:>8.2f}{allowed:>9}")
        with running_app() as address:
            page = browser.new_page(viewport={"width": 1440, "height": 1000})
            page.goto(address)
            page.get_by_role("combobox", name="Picture").click()
            page.get_by_role("option", name="Astronaut").click()
            page.locator("canvas.map[width='64'][height='64']").first.wait_for()
            pins = sorted(time_pin(page, row) for row in range(5, 5 + PINS))
    server = statistics.median(pins), pins[int(0.95 * len(pins))]
    print(f"{'the first, answered by the server':<44}{server[0]:>8.1f}{server[1]:>8.1f}")
    ratios = (server[0] / hover[0][0], server[1] / hover[0][1])
    print(f"{'times as long':<44}{ratios[0]:>8.0f}{ratios[1]:>8.0f}")


def time_moves(
    browser,
    side: int,
    channels: int,
    tokens: int,
    networks: int,
    *,
    rounds: int = 1,
    moves: int = MOVES,
) -> list[list[float]]:
    """Return the sorted milliseconds of every round's mouse moves over random records."""
    generator = torch.Generator().manual_seed(0)
    image = np.full((8 * side, 8 * side, 3), 128, np.uint8)
    grid = Grid.tiling((8 * side, 8 * side), side, side)
    axis = Axis(grid, None, ("class", *(f"register {n}" for n in range(1, tokens)))[:tokens])
    shown = []
    for number in range(networks):
        query, key = torch.randn(2, len(axis), channels, generator=generator)
        record = AttentionRecord(
            "block",
            "embedded_gaussian",
            "coupled",
            channels**-0.5,
            query,
            key,
            None,
            grid,
            grid,
            query_axis=axis,
            key_axis=axis,
        )
        shown.append(Shown(f"network {number + 1}", record))
    payload = base64.b64encode(pack_all(image, shown, alt="Gray")).decode()
    page = browser.new_page(viewport={"width": 1440, "height": 1000})
    page.evaluate(MOUNT, [viewer_js(), viewer_css(), payload])
    page.evaluate(TIME_MOVES, 50)  # let the browser compile
    times = [sorted(page.evaluate(TIME_MOVES, moves)) for _ in range(rounds)]
    page.close()
    return times


def time_pin(page, row: int) -> float:
    """Return the milliseconds from a click on a row of cells to torch's answer on the page."""
    box = box_of(page.locator('[data-panel="photo"] .stage'))
    point = box["x"] + box["width"] * 0.4, box["y"] + box["height"] * (row + 0.5) / 64
    start = page.evaluate("performance.now()")
    page.mouse.click(*point)
    page.get_by_text(f"(row {row}, column 25)").wait_for()
    return page.evaluate("performance.now()") - start


if __name__ == "__main__":
    main()
