"""Draw the README's picture, a photograph of the running app: `python -m docs.screenshot`."""

from pathlib import Path

from tests.browser import chromium, find_chromium, running_app

PICTURE = Path(__file__).parent / "first-light.jpg"
# Right and down, as shares of the photograph: the floor by the rear wheel.
QUERY = (0.335, 0.86)


def main() -> None:
    """Point at one pixel of the default sample and save what the page shows."""
    path = find_chromium()
    if path is None:
        raise SystemExit("no Chromium: install it (Debian: apt-get install chromium)")
    with running_app() as address, chromium(path) as browser:
        page = browser.new_page(
            viewport={"width": 1320, "height": 960}, device_scale_factor=1.5, color_scheme="light"
        )
        page.goto(address)
        page.locator("canvas.map").first.wait_for()
        page.get_by_text("Row entropy").first.wait_for()
        box = page.locator('[data-panel="photo"] .stage').bounding_box()
        x, y = box["x"] + QUERY[0] * box["width"], box["y"] + QUERY[1] * box["height"]
        page.mouse.move(x, y)
        page.wait_for_timeout(1000)
        page.screenshot(path=PICTURE, quality=85)


if __name__ == "__main__":
    main()
