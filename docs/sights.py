"""Draw the pictures of the guide, photographs of the running app: `python -m docs.sights`."""

import io

from PIL import Image

from nonlocal_lens.app.guide import SIGHTS
from tests.browser import chromium, find_chromium, running_app

SIZE = {"width": 1280, "height": 1400}  # so high that nothing has to be scrolled
WIDEST = 1100  # pixels


def main() -> None:
    """Open every sight and save what the viewer shows."""
    path = find_chromium()
    if path is None:
        raise SystemExit("no Chromium: install it (Debian: apt-get install chromium)")
    with running_app() as address, chromium(path) as browser:
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.set_default_timeout(120_000)
        for sight in SIGHTS:
            page.goto(f"{address}/{sight.page}?{sight.address}")
            page.locator("canvas.map").first.wait_for()
            page.locator(".nl-bits").first.wait_for()
            page.mouse.move(2, 2)
            page.wait_for_timeout(1500)
            page.get_by_text("computing").first.wait_for(state="detached")
            shot = page.locator(".panels").first.screenshot()
            picture = Image.open(io.BytesIO(shot)).convert("RGB")
            picture.thumbnail((WIDEST, WIDEST), Image.Resampling.LANCZOS)
            picture.save(sight.picture, quality=80, method=6)
            print(sight.picture.name)  # noqa: T201


if __name__ == "__main__":
    main()
