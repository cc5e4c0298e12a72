"""Degeneracy, Explore and Export in real Chromium, on pictures small enough to be quick."""

import io

import numpy as np
import pytest
from axe import assert_nothing_is_found
from browser import box_of, comes_true
from PIL import Image
from test_images import encoded

from nonlocal_lens.analysis.figures.files import read_note

pytestmark = pytest.mark.browser


@pytest.fixture
def page(blank, address):
    """Open the Degeneracy page."""
    page = blank((1440, 1000), home=address)
    page.goto(f"{address}/degeneracy")
    page.get_by_role("button", name="Measure 6 pictures").wait_for()
    return page


def file(name, seed):
    noise = np.random.default_rng(seed).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    data = b"broken" if seed is None else encoded(Image.fromarray(noise))
    return {"name": name, "mimeType": "image/png", "buffer": data}


def go_to(page, name):
    page.get_by_role("link", name=name).click()
    page.get_by_role("heading", name=name).wait_for()


def measure(page, files):
    page.get_by_role("radio", name="Your own").or_(page.get_by_text("Your own")).first.click()
    page.locator("input[type=file]").first.set_input_files(files)
    page.get_by_role("button", name=f"Measure {len(files)} pictures").click()
    page.locator(".board tbody tr").nth(len(files) - 2).wait_for()
    page.get_by_role("button", name="Cancel").wait_for(state="detached")


def test_from_pictures_to_numbers_to_explore_to_a_figure(page):
    measure(page, [file("a.png", 0), file("broken.png", None), file("b.png", 1)])
    page.get_by_text("2 could not be measured").or_(
        page.get_by_text("1 could not be measured")
    ).wait_for()
    go_to(page, "Export")  # nothing was explored: the first street would run; do not wait for it
    go_to(page, "Degeneracy")
    page.locator(".board tbody tr").nth(1).wait_for()  # it survived
    page.get_by_text("All statistics").click()
    page.get_by_role("button", name="Parquet").wait_for()
    page.locator(".board").get_by_role("button", name="a.png").click()
    page.get_by_role("button", name="Open in Explore: streets-dnl").click()
    page.get_by_text("Open: a.png").wait_for()
    page.locator(".panels").first.wait_for()
    page.get_by_role("tab", name="Query dependence").click()
    page.get_by_role("button", name="The two most different queries").click()
    page.get_by_text("Queries at x").wait_for()

    go_to(page, "Export")
    page.get_by_text("a.png through streets-dnl").wait_for()
    with page.expect_download() as waiting:
        page.get_by_role("button", name="Download a.png").click()
    path = waiting.value.path()
    assert Image.open(io.BytesIO(path.read_bytes())).format == "PNG"
    assert read_note(path)["networks"][0]["name"] == "streets-dnl"
    command = page.locator("pre code").last.inner_text()
    assert "export a.png --network streets-dnl" in command


def test_charts_table_and_thumbnails_are_brushed_together(page):
    measure(page, [file("a.png", 0), file("b.png", 1), file("c.png", 2)])
    board = page.locator(".board")
    board.locator("tbody tr").nth(2).wait_for()
    page.get_by_text("on the same picture: streets-dnl has").wait_for()
    page.get_by_text("The unary map of streets-dnl is to").wait_for()
    assert board.locator("figure").count() == 3
    assert board.locator("tbody img").count() == 3, "a thumbnail beside every row"

    board.get_by_role("button", name="b.png").click()
    address_says(page, "picked", "1")
    assert board.locator(".dot.picked").count() == 2 + 2 + 1, "two networks, their difference"
    assert board.locator(".dot.faded").count() == 2 * (2 + 2 + 1)
    assert board.get_by_role("button", name="b.png").get_attribute("aria-pressed") == "true"

    chart = box_of(board.locator("figure svg").first)
    page.mouse.move(chart["x"] + 2, chart["y"] + 2)
    page.mouse.down()
    page.mouse.move(chart["x"] + chart["width"] - 2, chart["y"] + chart["height"] - 2, steps=4)
    page.mouse.up()
    address_says(page, "picked", "0-2")
    assert board.locator("tbody tr.picked").count() == 3
    board.get_by_role("button", name="Clear").click()
    address_says(page, "picked", None)
    assert board.locator(".dot.picked").count() == 0

    dot = box_of(board.locator("figure").nth(2).locator(".dot").first)
    page.mouse.click(dot["x"] + dot["width"] / 2, dot["y"] + dot["height"] / 2)
    board.locator("tbody tr.picked").first.wait_for()
    board.get_by_role("button", name="Difference").click()
    address_says(page, "sort", "difference")
    shown = board.locator("tbody td:last-child").all_inner_texts()
    values = [float(text.replace("\u2212", "-")) for text in shown]
    assert values == sorted(values)


def address_says(page, name, text):
    page.wait_for_function(
        "([name, text]) => new URLSearchParams(location.search).get(name) === text",
        arg=[name, text],
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_page_is_wider_than_the_window(blank, address, scheme):
    page = blank((800, 900), scheme, address)
    for name, sign in [("degeneracy", "Measure 6 pictures"), ("export", "The same in the shell")]:
        page.goto(f"{address}/{name}")
        page.get_by_text(sign).first.wait_for()
        for width in (800, 420):
            page.set_viewport_size({"width": width, "height": 900})
            too_wide = "main => main.scrollWidth - main.clientWidth > 1"
            main = page.get_by_test_id("stMain")
            comes_true(lambda main=main, test=too_wide: main.evaluate(test), False)
            assert_nothing_is_found(page)
    figure, form = (page.locator(f".st-key-export-{part}") for part in ("figure", "networks"))
    assert box_of(figure)["y"] < box_of(form)["y"], "on a phone the figure comes before the form"
