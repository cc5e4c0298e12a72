"""Queries of the viewer in real Chromium: pinned, dragged, named, by mouse, keys and fingers."""

import json
import re

import numpy as np
import pytest
import torch
from browser import box_of
from records import KEYS, random_record
from viewing import click, last_told, mount, packed, pins, stage

from nonlocal_lens.analysis import terms

pytestmark = pytest.mark.browser


def test_queries_are_pinned_chosen_named_ordered_and_removed(page, generator):
    mount(page, packed(random_record(generator)))
    click(page, 4, 4)
    click(page, 28, 20, modifiers=["Shift"])
    click(page, 52, 36, panel="pairwise", modifiers=["Shift"])
    assert pins(page) == [[[4, 4]], [[28, 20]], [[52, 36]]]
    assert page.locator(".panels .number").all_inner_texts() == ["1", "2", "3"]
    assert page.locator('[data-row="2"]').count() == 4, "each with its row of panels"
    page.locator(".panels").focus()
    page.keyboard.press("[")
    assert pins(page) == [[[4, 4]], [[52, 36]], [[28, 20]]]
    page.keyboard.press("1")
    page.keyboard.press("n")
    page.keyboard.type("sky <b>")
    page.keyboard.press("Enter")
    assert page.locator(".queries .choose span").first.inner_text() == "sky <b>"
    assert page.locator('[data-row="0"] .title').first.inner_text() == "sky <b>"
    page.get_by_role("button", name="Remove query 2").click()
    told = last_told(page)
    assert [query["points"] for query in told["queries"]] == [[[4, 4]], [[28, 20]]]
    assert told["queries"][0]["name"] == "sky <b>"
    assert told["query"] == 0
    page.locator(".panels").focus()
    page.keyboard.press("Escape")
    assert pins(page) == []
    assert page.locator(".queries").count() == 0


def test_a_report_of_sixteen_queries_is_small(page, generator):
    mount(page, packed(random_record(generator)))
    for index in range(20):
        click(page, 4 + 8 * (index % 7), 4 + 8 * (index // 7), modifiers=["Shift"])
    told = last_told(page)
    assert len(told["queries"]) == 16
    assert len(json.dumps(told)) < 2000


def test_dragging_selects_a_region_and_alt_a_lasso(page, generator):
    record = random_record(generator)
    # with a predicted segmentation, which lies over the photo and could be dragged as a picture
    mount(page, packed(record, output=torch.randn(1, 11, 40, 56, generator=generator)))

    def drag(points, key=None):
        box = box_of(stage(page))
        if key:
            page.keyboard.down(key)
        at = [
            (box["x"] + x / 56 * box["width"], box["y"] + y / 40 * box["height"]) for x, y in points
        ]
        page.mouse.move(*at[0])
        page.mouse.down()
        for point in at[1:]:
            page.mouse.move(*point, steps=3)
        page.mouse.up()
        if key:
            page.keyboard.up(key)

    drag([(2, 2), (30, 22)])
    ((corners),) = pins(page)
    assert corners == [pytest.approx([2, 2], abs=0.1), pytest.approx([30, 22], abs=0.1)]
    inside = [row * 7 + col for row in range(3) for col in range(4)]  # middles in the rectangle
    mean = terms.attention(record, inside).mean(dim=0).numpy() * KEYS
    shown = page.evaluate("Array.from(viewer.rows[0].maps[0].whole)")
    np.testing.assert_allclose(shown, mean, rtol=1e-2)
    assert "mean of 12 cells" in page.locator('[data-field="query"]').inner_text()
    drag([(2, 2), (50, 4), (30, 36), (2, 2)], "Alt")
    assert len(pins(page)) == 1
    assert len(pins(page)[0]) > 3


def test_a_region_by_keyboard_has_the_cells_of_both_corners_and_all_between(page, generator):
    record = random_record(generator)
    mount(page, packed(record))
    page.locator(".panels").focus()
    for key in ("PageUp", "Home", "ArrowDown", "ArrowRight", "r"):
        page.keyboard.press(key)
    said = page.locator(".announcement").text_content()
    assert said == "A region begins at x 12, y 12: move, and R takes all from there to here."
    for key in ("ArrowDown", "ArrowRight", "ArrowRight", "ArrowRight", "r"):
        page.keyboard.press(key)
    ((corners),) = pins(page)
    assert corners == [pytest.approx([8, 8], abs=0.1), pytest.approx([40, 24], abs=0.1)]
    inside = [row * 7 + col for row in (1, 2) for col in (1, 2, 3, 4)]
    mean = terms.attention(record, inside).mean(dim=0).numpy() * KEYS
    shown = page.evaluate("Array.from(viewer.rows[0].maps[0].whole)")
    np.testing.assert_allclose(shown, mean, rtol=1e-2)
    assert "mean of 8 cells" in page.locator('[data-field="query"]').inner_text()
    page.keyboard.press("r")
    page.keyboard.press("Escape")  # lets go of the corner, too
    page.keyboard.press("r")
    assert pins(page) == []


def test_everything_works_from_the_keyboard(page, generator):
    mount(page, packed(random_record(generator)))
    page.evaluate(
        "window.heard = []; document.addEventListener('keydown', (e) => heard.push(e.key))"
    )
    page.locator(".panels").focus()
    steps = [("ArrowRight", (2, 4)), ("Home", (2, 0)), ("End", (2, 6)), ("PageUp", (0, 6))]
    steps += [("PageDown", (4, 6)), ("Shift+ArrowLeft", (4, 1)), ("ArrowUp", (3, 1))]
    for key, cell in steps:
        page.keyboard.press(key)
        text = page.locator('[data-field="query"]').inner_text()
        assert tuple(map(int, re.search(r"row (\d+), column (\d+)", text).groups())) == cell, key
    page.keyboard.press("o")
    assert (
        page.locator("canvas.map").first.evaluate("node => getComputedStyle(node).opacity") == "0"
    )
    page.keyboard.press("o")
    assert (
        page.locator("canvas.map").first.evaluate("node => getComputedStyle(node).opacity")
        == "0.75"
    )
    page.keyboard.press("d")
    assert page.get_by_label("Direction").input_value() == "column"
    page.keyboard.press("d")
    page.keyboard.press("+")
    assert page.evaluate("viewer.view.zoom") == 1.5
    page.keyboard.press("Backspace")
    assert page.evaluate("viewer.view.zoom") == 1
    page.keyboard.press("Shift+Enter")
    assert len(pins(page)) == 1, "what is pinned is not pinned twice"
    page.keyboard.press("Shift+Enter")
    assert len(pins(page)) == 1
    before = page.locator('[data-field="query"]').inner_text()
    page.keyboard.press("ArrowUp")
    assert page.locator('[data-field="query"]').inner_text() == before, "the cursor is free"
    assert page.locator('[data-field="cursor"]').inner_text().startswith("x 12, y 20")
    page.keyboard.press("Shift+Enter")
    assert len(pins(page)) == 2
    page.keyboard.press("Delete")
    assert len(pins(page)) == 1
    page.keyboard.press("u")
    assert len(pins(page)) == 2, "undone"
    page.keyboard.press("Control+z")
    assert len(pins(page)) == 1
    page.keyboard.press("Enter")
    assert pins(page) == []
    page.keyboard.press("?")
    page.get_by_role("dialog").wait_for()
    page.keyboard.press("Escape")
    page.get_by_role("dialog").wait_for(state="hidden")
    page.get_by_label("Scale", exact=True).focus()
    page.keyboard.press("r")
    page.locator('.announcement:has-text("Strongest key")').wait_for(state="attached")
    heard = page.evaluate("heard.filter((key) => key !== 'Control')")
    assert heard == [], "the host hears no key"


def test_the_class_under_the_cursor_stands_beside_it(page, generator):
    output = torch.zeros(1, 11, 40, 56)
    output[:, 4] = 9.0
    mount(page, packed(random_record(generator), output=output))
    stage(page, "photo").hover(position={"x": 40, "y": 40})
    name = page.evaluate("viewer.leading.spec.classes[4].name")
    assert page.locator('[data-panel="photo"] .marks text').all_text_contents() == [name]
    page.mouse.move(5, 5)
    assert page.locator('[data-panel="photo"] .marks text').count() == 0


def test_the_maps_are_few_tab_stops_away_and_everything_has_a_name(page, generator):
    mount(page, packed(random_record(generator), random_record(generator)))
    stops = 0
    while not page.evaluate("document.activeElement === viewer.stagesNode"):
        page.keyboard.press("Tab")
        stops += 1
        assert stops <= 5
    for name in ("Marks", "Compare", "Save"):
        summary = page.locator(f'.menu > summary:text-is("{name}")')
        assert summary.is_visible()
        assert summary.get_attribute("title")
    assert page.get_by_role("button", name="Undo the last pin (U)").is_visible()


def test_zooming_keeps_pixels_and_cells_together(page, generator):
    record = random_record(generator)
    mount(page, packed(record))
    box = box_of(stage(page))
    at = box["x"] + 0.7 * box["width"], box["y"] + 0.3 * box["height"]
    page.mouse.move(*at)
    cell = page.locator('[data-field="query"]').inner_text()
    page.keyboard.down("Control")
    page.mouse.wheel(0, -500)
    page.keyboard.up("Control")
    page.wait_for_function("viewer.view.zoom > 2")
    page.mouse.move(at[0] + 1, at[1])
    assert page.locator('[data-field="query"]').inner_text() == cell
    page.mouse.move(*at)
    page.mouse.down(button="middle")
    page.mouse.move(at[0] + 60, at[1], steps=3)
    page.mouse.up(button="middle")
    page.mouse.move(at[0] + 61, at[1])
    assert page.locator('[data-field="query"]').inner_text() == cell, "the picture moved along"


def test_the_announcement_says_all_that_the_readout_shows(page, generator):
    mount(page, packed(random_record(generator), random_record(generator)))
    click(page, 28, 20)
    stage(page).hover(position={"x": 3, "y": 3})
    page.locator('.announcement:has-text("Under the cursor, x")').wait_for(state="attached")
    said = page.locator(".announcement").inner_text()
    value = page.evaluate("viewer.rows[0].maps[0].whole[0]")
    assert f"{page.evaluate('value => lens.formatValue(value)', value)} times uniform" in said
    for name in ("rank", "disc", "entropy", "share"):
        assert page.locator(f'[data-field="{name}"]').inner_text() in said
    assert page.locator('[data-field="value"]').inner_text().endswith("×")
    assert page.locator('[data-field="of"]').inner_text() == "net0"


def test_fingers_tap_and_press(chromium, generator):
    context = chromium.new_context(has_touch=True, viewport={"width": 390, "height": 800})
    page = context.new_page()
    mount(page, packed(random_record(generator)))
    box = box_of(stage(page))
    page.touchscreen.tap(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    assert pins(page) == [[[28, 20]]]
    stage(page).evaluate(
        """(node, at) => {
            const options = { ...at, bubbles: true, pointerType: "touch", pointerId: 7, button: 0 };
            node.dispatchEvent(new PointerEvent("pointerdown", options));
        }""",
        {"clientX": box["x"] + 2, "clientY": box["y"] + 2},
    )
    page.wait_for_function("viewer.queries.length === 2")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()
