"""From a mouse move to painted maps, against asking the server: `python -m benchmarks.hover`.

In one headless Chromium and one running app:

- hover: from the pointer event to the last pixel written, in the viewer (one query's three maps,
  their color bars, marks and readout). The browser then composites, which no page can time.
- baseline: the same new query answered by the server, as tools do that rerun on every click: from a
  pin in the viewer to the query's row, computed by torch, on the page.

The grid is 64 x 64 with 64 channels (the astronaut, 512 x 512).
"""

import statistics

from tests.browser import chromium, find_chromium, running_app

MOVES, PINS = 300, 15

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
    """Print both times and their ratio."""
    path = find_chromium()
    if path is None:
        raise SystemExit("no Chromium: install it (Debian: apt-get install chromium)")
    with running_app() as address, chromium(path) as browser:
        page = browser.new_page(viewport={"width": 1440, "height": 1000})
        page.goto(address)
        page.get_by_role("combobox", name="Picture").click()
        page.get_by_role("option", name="Astronaut").click()
        page.locator("canvas.map[width='64'][height='64']").first.wait_for()
        page.evaluate(TIME_MOVES, 50)  # let the browser compile
        moves = sorted(page.evaluate(TIME_MOVES, MOVES))
        pins = sorted(time_pin(page, row) for row in range(5, 5 + PINS))
    hover = {"median": statistics.median(moves), "p95": moves[int(0.95 * len(moves))]}
    server = {"median": statistics.median(pins), "p95": pins[int(0.95 * len(pins))]}
    print(f"{'ms':<28}{'median':>8}{'p95':>8}")
    print(f"{'hover to paint, in browser':<28}{hover['median']:>8.2f}{hover['p95']:>8.2f}")
    print(f"{'the same by the server':<28}{server['median']:>8.1f}{server['p95']:>8.1f}")
    ratio = {name: server[name] / hover[name] for name in hover}
    print(f"{'ratio':<28}{ratio['median']:>8.0f}{ratio['p95']:>8.0f}")


def time_pin(page, row: int) -> float:
    """Return the milliseconds from a click on a row of cells to torch's answer on the page."""
    box = page.locator('[data-panel="photo"] .stage').bounding_box()
    point = box["x"] + box["width"] * 0.4, box["y"] + box["height"] * (row + 0.5) / 64
    start = page.evaluate("performance.now()")
    page.mouse.click(*point)
    page.get_by_text(f"(row {row}, column 25)").wait_for()
    return page.evaluate("performance.now()") - start


if __name__ == "__main__":
    main()
