"""What the viewer gives away in real Chromium: pictures, drawings, records, pages."""

import base64
import io
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from browser import box_of
from PIL import Image
from records import KEY_HW, KEYS, KINDS, QUERIES, QUERY_HW, random_record
from viewing import (
    HOSTILE,
    click,
    mount,
    packed,
    saved,
    stage,
)

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.render import PALETTES, palette_table
from nonlocal_lens.app import PRODUCT
from nonlocal_lens.app.viewer.view import View

pytestmark = pytest.mark.browser


def test_the_picture_to_take_away_has_the_palettes_own_colors(page, generator, tmp_path):
    record = random_record(generator, scale=1.0)
    mount(page, packed(record, view=View(opacity=1.0, palette="inferno")))
    box = box_of(stage(page, "whole"))
    frame = box_of(page.locator(".panels"))
    words = np.array(page.evaluate("Array.from(viewer.panels[1].words)"), np.uint32)
    shown = words.view(np.uint8).reshape(*KEY_HW, 4)[..., :3]
    top = float(
        page.locator('[data-panel="whole"] .ticks span:last-child').inner_text().rstrip("×")
    )
    table = palette_table()[PALETTES.index("inferno")]
    query = QUERY_HW[0] // 2 * QUERY_HW[1] + QUERY_HW[1] // 2
    values = (terms.attention(record, [query])[0] * KEYS).reshape(KEY_HW).numpy()
    expected = table[np.rint((values / top).clip(0, 1) * 255).astype(int)].astype(int)
    assert np.abs(shown.astype(int) - expected).max() <= 12, "half precision: a step or two"
    download = saved(page, "Picture of this view")
    assert download.suggested_filename == "Noise_net0.png"
    picture = Image.open(download.path()).convert("RGB")
    cell_h, cell_w = box["height"] / KEY_HW[0], box["width"] / KEY_HW[1]
    for row in range(KEY_HW[0]):
        for col in (0, 1, 9, 10):  # away from the ring
            x = 16 + box["x"] - frame["x"] + (col + 0.5) * cell_w
            y = 16 + box["y"] - frame["y"] + (row + 0.5) * cell_h
            assert picture.getpixel((int(2 * x), int(2 * y))) == tuple(shown[row, col]), (row, col)


def test_the_drawing_to_take_away_keeps_words_and_sharp_cells(page, generator):
    mount(page, packed(random_record(generator), name=HOSTILE))
    click(page, 4, 4)
    click(page, 28, 20, modifiers=["Shift"])
    root = ElementTree.parse(saved(page, "Vector drawing").path()).getroot()
    names = {"svg": "http://www.w3.org/2000/svg"}
    circles = [node.get("stroke") for node in root.iterfind(".//svg:circle", names)]
    assert circles == page.evaluate("[0, 1].map(lens.pinColor)"), "numbers stand on their colors"
    words = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "Whole attention" in words
    assert words.count("1") >= 2, "beside the row and on the photo"
    # lines break where the page breaks them, and stay within their panel in any font
    wide = box_of(page.locator('[data-panel="whole"]').first)["width"]
    fitted = [float(node.get("textLength", 0)) for node in root.iterfind(".//svg:text", names)]
    assert 0 < max(fitted) <= wide
    assert HOSTILE in words
    assert any("coupled" in word for word in words), "where it comes from"
    maps = [n for n in root.iterfind(".//svg:image", names) if "pixelated" in n.get("style", "")]
    sizes = [
        Image.open(io.BytesIO(base64.b64decode(n.get("href").split(",")[1]))).size for n in maps
    ]
    assert sizes.count((11, 3)) == 6


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        *((kind, {}) for kind in KINDS),
        ("disentangled", {"pairwise_gain": 0.3}),
        ("disentangled", {"whitened": False}),
    ],
)
def test_the_record_to_take_away_attends_to_the_same(page, generator, kind, changes):
    record = replace(random_record(generator, **KINDS[kind]), head=2, **changes)
    mount(page, packed(record))
    download = saved(page, "Record of net0")
    path = download.path().with_suffix(".safetensors")
    download.save_as(path)
    again = AttentionRecord.load(path)
    assert (again.form, again.coupling, again.head) == (record.form, record.coupling, 2)
    assert again.query_grid == record.query_grid
    for term in terms.TERMS:
        expected = terms.attention(record, range(QUERIES), term)
        shown = terms.attention(again, range(QUERIES), term).double()
        atol = 1e-2 * expected.abs().max().item()
        torch.testing.assert_close(shown, expected, rtol=1e-2, atol=atol)


def test_the_page_to_take_away_is_alive_offline_and_shows_names_as_text(page, generator, tmp_path):
    two = (random_record(generator), random_record(generator, "disentangled"))
    mount(page, packed(*two, view=View(difference=(0, 1)), name=HOSTILE))
    click(page, 4, 4)
    click(page, 28, 20, modifiers=["Shift"])
    path = tmp_path / "page.html"
    saved(page, "Live page").save_as(path)
    problems = []
    opened = page.context.new_page()
    opened.on("console", lambda entry: problems.append(entry.text))
    opened.on("pageerror", lambda error: problems.append(str(error)))
    opened.on("dialog", lambda dialog: problems.append(dialog.message))
    opened.on(
        "request",
        lambda request: (
            problems.append(request.url)
            if not request.url.startswith(("file:", "blob:", "data:"))
            else None
        ),
    )
    opened.goto(path.as_uri())
    assert opened.locator("h1").inner_text() == HOSTILE
    assert opened.get_by_role("list", name="Pinned queries").get_by_role("listitem").count() == 2
    assert opened.locator('[data-panel="difference"]').count() == 2
    assert opened.locator("footer li").all_inner_texts()[-1].endswith(PRODUCT)
    values = "Array.from(document.querySelectorAll('canvas.map'), (c) => c.toDataURL())"
    assert opened.evaluate(values) == page.evaluate(values), "equal values, equal colors"
    opened.locator(".panels").focus()
    opened.keyboard.press("Escape")
    box = box_of(opened.locator('[data-panel="whole"] .stage').first)
    before = opened.evaluate(values)
    opened.mouse.move(box["x"] + 5, box["y"] + 5)
    assert opened.evaluate(values) != before, "it answers the mouse"
    opened.close()
    assert not problems
