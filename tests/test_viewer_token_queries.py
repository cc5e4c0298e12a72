"""Tokens that lie nowhere as queries of the viewer: pointed at, pinned, listed."""

import numpy as np
import pytest
from browser import box_of
from viewing import click, last_told, mount, packed, saved, stage
from viewing_tokens import (
    AXES,
    GRID,
    MINUS,
    NAMES,
    WORDS,
    both,
    chip,
    record_of,
    shares_of,
    shown_share,
    text_of,
)

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.app.viewer.view import Query, View

pytestmark = pytest.mark.browser


def test_a_token_is_hovered_pinned_added_and_undone_like_a_pixel(page, generator):
    record = both(generator)
    mount(page, packed(record))

    def row():
        return np.array(
            page.evaluate("Array.from(viewer.rows[viewer.selection.active].maps[0].whole)")
        )

    def expected(name):
        return (terms.attention(record, [record.query_axis.index(name)])[0] * 38)[:35].numpy()

    chip(page, "register 1").hover()
    np.testing.assert_allclose(row(), expected("register 1"), rtol=1e-2)
    assert page.evaluate("viewer.queries.length") == 0, "a preview"
    chip(page, "class", "pairwise").click()
    np.testing.assert_allclose(row(), expected("class"), rtol=1e-2)
    assert last_told(page)["queries"] == [{"token": "class", "name": ""}]
    assert last_told(page)["query"] == 35, "an index of the query axis"
    click(page, 4, 4, modifiers=["Shift"])
    chip(page, "register 2").click(modifiers=["Shift"])
    tokens = "viewer.queries.map(({ token, points }) => token ?? [points[0].x, points[0].y])"
    assert page.evaluate(tokens) == ["class", [4, 4], "register 2"]
    assert page.locator(".queries .choose span").all_inner_texts() == [
        "class",
        "x 4, y 4",
        "register 2",
    ]
    np.testing.assert_allclose(row(), expected("register 2"), rtol=1e-2)
    assert chip(page, "class", row=0).get_attribute("aria-pressed") == "true"
    assert chip(page, "class", row=0).locator(".number").inner_text() == "1"
    chip(page, "class", row=2).click(modifiers=["Shift"])
    assert len(page.evaluate(tokens)) == 3, "what is pinned is not pinned twice"
    chip(page, "class", row=2).click()
    assert page.evaluate(tokens) == [[4, 4], "register 2"], "a click lets the chosen one go"
    page.locator(".panels").focus()
    page.keyboard.press("u")
    assert page.evaluate(tokens) == ["class", [4, 4], "register 2"]
    page.keyboard.press("Escape")
    assert page.evaluate(tokens) == []


def test_tokens_are_reached_and_pinned_by_the_keyboard(page, generator):
    mount(page, packed(both(generator)))
    page.locator(".panels").focus()
    query = page.locator('[data-field="query"]')
    for key in ("PageDown", "ArrowDown"):
        page.keyboard.press(key)
    assert query.inner_text().startswith("class"), "below the last row of cells"
    for key, name in (("ArrowRight", "register 1"), ("End", "register 2"), ("Home", "class")):
        page.keyboard.press(key)
        assert query.inner_text().startswith(name)
    page.keyboard.press("ArrowUp")
    assert "row 4, column 3" in query.inner_text(), "back on the picture, where it was left"
    page.keyboard.press("t")
    assert query.inner_text().startswith("class")
    page.keyboard.press("Enter")  # stays; a free cursor goes on
    page.keyboard.press("ArrowRight")
    assert query.inner_text().startswith("class")
    assert page.locator('[data-field="cursor"]').inner_text().startswith("register 1")
    page.keyboard.press("Shift+Enter")
    assert page.evaluate("viewer.queries.map(({ token }) => token)") == ["class", "register 1"]
    page.locator('.announcement:has-text("register 1")').wait_for(state="attached")


def test_the_value_under_the_cursor_is_that_of_the_token_there(page, generator):
    record = both(generator)
    mount(page, packed(record))
    click(page, 28, 20)
    chip(page, "register 1", "unary").hover()
    for term in terms.TERMS:
        value = terms.attention(record, [17], term)[0, 36].item() * 38
        exact = float(page.locator(f'[data-panel="{term}"] .value').get_attribute("data-exact"))
        assert exact == pytest.approx(value, rel=1e-2)
    assert (
        page.locator('[data-field="cursor"]').inner_text() == "register 1 · a token off the picture"
    )
    weights = terms.attention(record, [17])[0]
    rank = int((weights > weights[36]).sum()) + 1
    assert page.locator('[data-field="rank"]').inner_text() == f"{rank} of 38"


def test_queries_that_are_no_places_are_a_list_beside_the_picture(page, generator):
    record = record_of(generator, Axis(None, None, WORDS), AXES["a grid"])
    page.set_viewport_size({"width": 1440, "height": 900})
    mount(page, packed(record))
    expected = (terms.attention(record, range(101)) * 35).numpy()
    shown = "Array.from(viewer.panels[1].values)"
    np.testing.assert_allclose(page.evaluate(shown), expected[0], rtol=1e-2)
    assert page.locator('[data-panel="whole"] .token').count() == 0, "all keys are on the picture"
    click(page, 28, 20)
    assert page.evaluate("viewer.queries.length") == 0, "no query is there"
    assert text_of(page, "whole", ".value") == page.evaluate(
        "lens.formatValue(viewer.panels[1].values[17]) + '×'"
    )
    listed = page.locator('[data-panel="photo"] .token-list')
    box, panels = box_of(listed), box_of(page.locator(".panels"))
    assert box["width"] > 0.9 * panels["width"], "so many take the width of all maps"
    assert box["height"] < 100, "and scroll"
    assert text_of(page, "photo", ".off") == "Off the picture: 101"
    page.locator(".panels").focus()
    for key in ("End", "ArrowLeft"):
        page.keyboard.press(key)
    np.testing.assert_allclose(page.evaluate(shown), expected[99], rtol=1e-2)
    last = box_of(chip(page, "word 99"))
    assert box["y"] <= last["y"] <= last["y"] + last["height"] <= box["y"] + box["height"] + 1
    scrolled = listed.evaluate("node => node.scrollTop")
    chip(page, "word 98").click()
    np.testing.assert_allclose(page.evaluate(shown), expected[98], rtol=1e-2)
    assert page.locator('[data-panel="photo"] .token-list').evaluate("n => n.scrollTop") == scrolled
    page.get_by_label("Direction").select_option("column")
    click(page, 4, 4)
    value = float(chip(page, "word 7", "whole").locator(".share").inner_text().rstrip("×"))
    assert value == pytest.approx(expected[7, 0], rel=2e-2), "who looks there"


def test_where_no_token_is_a_place_the_chips_are_all_there_is(page, generator):
    record = record_of(generator, AXES["names alone"])
    mount(page, packed(record))
    chip(page, "register 2").click()
    expected = shares_of(record, 2, "whole")
    for name, share in expected.items():
        shown = shown_share(chip(page, name, "whole").locator(".share").inner_text())
        assert shown == pytest.approx(share, abs=6e-3)
    assert page.locator("canvas.map").count() == 0


def test_a_view_with_tokens_is_taken_over_and_told_again(page, generator):
    view = View(
        queries=(Query((), "mine", token="class"), Query(((4.0, 4.0),)), Query((), token="word")),
        active=0,
        on_picture=True,
    )
    mount(page, packed(both(generator), view=view))
    told = page.evaluate("viewer.describeView()")
    assert told["queries"] == [
        {"token": "class", "name": "mine"},
        {"points": [[4, 4]], "name": ""},
    ], "what no network has is left out"
    assert told["onPicture"] is True
    assert text_of(page, "photo", ".title") == "mine"


def test_networks_of_other_tokens_share_the_query_where_they_have_it(page, generator):
    first, second = both(generator), record_of(generator, Axis(GRID, None, ("class",)))
    mount(page, packed(first, second, view=View(difference=(0, 1), terms=("whole",))))
    chip(page, "class").click()
    difference = page.evaluate("Array.from(viewer.panels.at(-1).values)")
    rows = [terms.attention(one, [35])[0, :35] * len(one.key) for one in (first, second)]
    np.testing.assert_allclose(difference, rows[0] - rows[1], atol=2e-2)
    points = chip(page, "class", "difference").locator(".share").inner_text()
    share = shares_of(first, 35, "whole")["class"] - shares_of(second, 35, "whole")["class"]
    number = float(points.replace(MINUS, "-").removeprefix("+").removesuffix(" points"))
    assert number / 100 == pytest.approx(share, abs=1e-2)
    chip(page, "register 1").click()
    assert page.evaluate("viewer.panels[2].values") is None, "the other network has none such"


def test_the_strongest_keys_name_tokens_and_light_their_chips(page, generator):
    record = record_of(generator, Axis(GRID, None, ("class",)))
    record.key[35] += 3.0
    mount(page, packed(record))
    click(page, 28, 20)
    first = page.locator(".chip:visible").first
    assert first.inner_text().startswith("class ")
    first.hover()
    assert "lit" in chip(page, "class", "whole").get_attribute("class")
    first.click()
    assert page.locator('[data-field="cursor"]').inner_text().startswith("class")


def test_the_page_to_take_away_opens_with_the_pinned_token(page, generator, tmp_path):
    mount(page, packed(both(generator)))
    chip(page, "register 1").click()
    path = tmp_path / "page.html"
    saved(page, "Live page").save_as(path)
    opened = page.context.new_page()
    problems = []
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.goto(path.as_uri())
    assert opened.locator('[data-field="query"]').inner_text().startswith("register 1")
    same = 'Array.from(document.querySelectorAll(".token .share"), (n) => n.textContent)'
    assert opened.evaluate(same) == page.evaluate(same)
    chip(opened, "class").click()
    assert opened.locator('[data-field="query"]').inner_text().startswith("class")
    opened.close()
    assert not problems


def test_fingers_tap_and_press_tokens(chromium, generator):
    phone = {"width": 390, "height": 844}
    context = chromium.new_context(has_touch=True, is_mobile=True, viewport=phone)
    page = context.new_page()
    page.set_content('<meta name="viewport" content="width=device-width, initial-scale=1">')
    mount(page, packed(both(generator)))
    photo, whole = (box_of(stage(page, name)) for name in ("photo", "whole"))
    assert photo["y"] >= 0
    assert whole["y"] + whole["height"] <= 844, "in view together"
    chip(page, "class").tap()
    assert page.evaluate("viewer.queries.map(({ token }) => token)") == ["class"]
    chip(page, "register 1").evaluate(
        """(node) => node.dispatchEvent(new PointerEvent("pointerdown", {
            bubbles: true, pointerType: "touch", pointerId: 7, button: 0,
        }))"""
    )
    page.wait_for_function("viewer.queries.length === 2")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    context.close()


@pytest.mark.parametrize("size", [(1440, 900), (1280, 720)])
def test_photo_maps_tokens_and_scale_stand_in_the_window(page, generator, size):
    page.set_viewport_size({"width": size[0], "height": size[1]})
    mount(
        page, packed(record_of(generator, Axis(GRID, None, (*NAMES, "register 3", "register 4"))))
    )
    boxes = [box_of(stage(page, name)) for name in ("photo", *terms.TERMS)]
    assert len({round(box["y"]) for box in boxes}) == 1
    strips = [box_of(page.locator(f'[data-panel="{name}"] .tokens')) for name in terms.TERMS]
    assert all(strip["y"] >= boxes[0]["y"] + boxes[0]["height"] for strip in strips)
    bar = box_of(page.locator(".common"))
    assert bar["y"] >= max(strip["y"] + strip["height"] for strip in strips) - 1
    assert bar["y"] + bar["height"] <= size[1]
