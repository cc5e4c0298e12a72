"""First visit in real Chromium: the tour, and a change seen before and after."""

import pytest
from browser import box_of

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
