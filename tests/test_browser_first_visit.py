"""First visit in real Chromium: the tour, and a change seen before and after."""

import re
import sys

import pytest
from browser import box_of, running

from nonlocal_lens.app.cli import SERVE

pytestmark = pytest.mark.browser

A_PERSON = "Object.defineProperty(Navigator.prototype, 'webdriver', { get: () => false })"


@pytest.fixture
def visit(chromium):
    """Open pages as one person: what the browser remembers stays from one to the next."""
    contexts = []

    def opened(size=(1440, 900), person=True):
        width, height = size
        context = chromium.new_context(viewport={"width": width, "height": height})
        contexts.append(context)
        if person:
            context.add_init_script(A_PERSON)
        return context.new_page()

    yield opened
    for context in contexts:
        context.close()


@pytest.mark.parametrize("size", [(1440, 900), (390, 844)])
def test_the_tour_has_five_steps_and_never_comes_again(visit, address, size):
    page = visit(size)
    page.goto(address)
    card = page.get_by_role("dialog", name="Tour in five steps")
    for step in range(1, 6):
        card.get_by_text(f"{step} of 5").wait_for()
        box = box_of(card)
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= size[0]
        assert box["y"] + box["height"] <= size[1]
        card.get_by_role("button", name="Done" if step == 5 else "Next").click()
    card.wait_for(state="detached")
    page.reload()
    page.locator('[data-panel="photo"] .stage').first.wait_for()
    page.wait_for_timeout(500)
    assert card.count() == 0


def test_before_and_after_a_change_are_one_picture_with_a_slider(visit, address):
    page = visit(person=False)
    page.goto(address)
    page.locator('[data-panel="photo"] .stage').first.wait_for()
    page.get_by_role("tab", name="Intervention").click()
    slider = page.get_by_role("slider", name="Predicted before or Predicted after")
    slider.wait_for()
    slider.fill("20")
    shown = page.locator(".pair .after").evaluate("node => node.style.clipPath")
    assert shown.endswith("20%)")
    page.get_by_text("Predicted classes:").wait_for()


MAP = """
() => {
    const inside = (root) => root.querySelector?.("canvas.map") ??
        [...root.querySelectorAll("*")]
            .map((node) => node.shadowRoot && inside(node.shadowRoot)).find(Boolean);
    const map = inside(document);
    window.firstMap ??= map;
    return [map === window.firstMap, map.getBoundingClientRect().y];
}
"""


@pytest.mark.parametrize("size", [(1440, 900), (390, 844)])
def test_the_first_maps_stay_where_they_are_with_all_that_was_done_in_them(visit, size, tmp_path):
    slowly = tmp_path / "serve.py"  # what pages import takes four seconds more
    slowly.write_text(
        SERVE.read_text()
        .replace("imports.announce(imports.PATIENCE)", "imports.BREATH = 4; imports.announce(3600)")
        .replace("Path(__file__)", f"Path({str(SERVE)!r})")
    )
    command = [sys.executable, "-m", "streamlit", "run", str(slowly), "--server.headless", "true"]
    with running(command, flag="--server.port") as address:
        page = visit(size, person=False)
        page.goto(address)
        photo = page.locator('[data-panel="photo"] .stage').first
        box = box_of(photo)
        photo.click(position={"x": box["width"] * 0.175, "y": box["height"] * 0.19})
        page.get_by_text("The numbers come in a moment").wait_for(timeout=1000)  # they still do
        page.get_by_text("row 8, column 10").first.wait_for()
        _, before = page.evaluate(MAP)
        page.locator(".nl-bits").first.wait_for()
        page.get_by_text("From the predicted sky").wait_for()
        assert page.evaluate(MAP) == [True, before]
        page.wait_for_url(re.compile(r"q=8[34]\d-68\d_2400-3000"))  # it is told after the numbers
