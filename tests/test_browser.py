"""The app in real Chromium: what it shows is what torch computes."""

import io
import re

import numpy as np
import pytest
import torch
from browser import box_of
from payloads import pack
from PIL import Image
from records import KEYS, KINDS, QUERIES, random_record

from nonlocal_lens.analysis import capture, terms
from nonlocal_lens.analysis.capture import Observation
from nonlocal_lens.analysis.render import DIVERGING_PALETTES, PALETTES, palette_table
from nonlocal_lens.app.networks import title_of
from nonlocal_lens.app.pictures import sample_picture
from nonlocal_lens.app.viewer.bundle import viewer_js
from nonlocal_lens.models import load_network

pytestmark = pytest.mark.browser

NETWORKS = ("streets-dnl", "streets-nl")


@pytest.fixture
def page(blank, address):
    """Open the app on a photograph."""
    page = blank((1440, 1000), home=address)
    page.goto(f"{address}/?picture=sample-motorcycle")
    wait_for_viewer(page)
    return page


def wait_for_viewer(page, title=NETWORKS[0]):
    page.locator(f'.panels[aria-label^="Attention of {title}."]').wait_for()


def choose_network(page, name):
    page.get_by_role("combobox", name="Network").click()
    page.get_by_role("option", name=title_of(name), exact=True).click()
    wait_for_viewer(page, name)


def open_menu(page, title):
    page.locator(f'.menu > summary:text-is("{title}")').click()


def stage(page, panel="photo"):
    return page.locator(f'[data-panel="{panel}"] .stage')


def place(page, panel, grid, position):
    """Return the page's point at the middle of a cell, as a panel shows it."""
    box = box_of(stage(page, panel))
    x, y = grid.center(grid.cell(position))
    height, width = grid.image_hw
    return box["x"] + x / width * box["width"], box["y"] + y / height * box["height"]


def values_under_cursor(page):
    return {
        term: float(page.locator(f'[data-value="{term}"]').get_attribute("data-exact"))
        for term in terms.TERMS
    }


def field(page, name):
    return page.locator(f'[data-field="{name}"]').inner_text()


def readout_cell(page):
    row, col = re.search(r"row (\d+), column (\d+)", field(page, "query")).groups()
    return int(row), int(col)


@pytest.mark.parametrize("name", NETWORKS)
def test_values_under_the_cursor_are_torchs(page, name):
    if name != NETWORKS[0]:
        choose_network(page, name)
    (record,) = capture(load_network(name), sample_picture("motorcycle").image)
    grid, keys = record.query_grid, record.key_grid.positions
    rng = np.random.default_rng(0)

    for query in rng.integers(0, grid.positions, 12).tolist():  # hovering: the query itself
        page.mouse.move(*place(page, "photo", grid, query))
        for term, shown in values_under_cursor(page).items():
            expected = terms.attention(record, [query], term)[0, query].item() * keys
            assert shown == pytest.approx(expected, rel=1e-2), (term, query)

    query = grid.positions // 3 + 11
    page.mouse.click(*place(page, "photo", grid, query))  # pinned: any key of one query
    for key in rng.integers(0, keys, 12).tolist():
        page.mouse.move(*place(page, "pairwise", grid, key))
        for term, shown in values_under_cursor(page).items():
            expected = terms.attention(record, [query], term)[0, key].item() * keys
            assert shown == pytest.approx(expected, rel=1e-2), (term, key)
        rank = (
            terms.attention(record, [query])[0] > terms.attention(record, [query])[0, key]
        ).sum().item() + 1
        shown_rank, of = map(int, re.match(r"(\d+) of (\d+)", field(page, "rank")).groups())
        assert of == keys
        assert shown_rank == pytest.approx(rank, abs=0.01 * keys)

    row = terms.attention(record, [query])[0].double()
    row = row / row.sum()
    entropy = -(row * row.log2()).sum().item()
    assert float(field(page, "entropy").split()[0]) == pytest.approx(entropy, abs=0.01)


def test_hovering_sends_nothing(blank, address):
    page = blank((1440, 1000), home=address)
    frames = []

    def listen(socket):
        socket.on("framesent", lambda frame: frames.append(frame))
        socket.on("framereceived", lambda frame: frames.append(frame))

    page.on("websocket", listen)
    page.goto(f"{address}/?picture=sample-motorcycle")
    wait_for_viewer(page)
    page.wait_for_timeout(1000)
    assert frames, "the socket is being watched"
    frames.clear()
    box = box_of(stage(page))
    queries = set()
    for step in range(60):
        page.mouse.move(box["x"] + 5 + step * 5, box["y"] + 3 + step * 3)
        queries.add(readout_cell(page))
    page.wait_for_timeout(500)
    assert len(queries) > 40
    assert frames == []


def test_colors_are_the_palettes_on_a_shared_scale(page):
    (record,) = capture(load_network(NETWORKS[0]), sample_picture("motorcycle").image)
    query = 30 * 64 + 40
    page.mouse.move(*place(page, "photo", record.query_grid, query))
    top = float(page.locator('[data-panel="whole"] .ticks span').last.inner_text().rstrip("×"))
    open_menu(page, "View")
    for palette in ("viridis", "inferno"):
        page.get_by_label("Colors", exact=True).select_option(palette)
        table = palette_table()[PALETTES.index(palette)].astype(int)
        for term in terms.TERMS:
            pixels = page.locator(f'[data-panel="{term}"] canvas.map').evaluate(
                "canvas => Array.from(canvas.getContext('2d')"
                ".getImageData(0, 0, canvas.width, canvas.height).data)"
            )
            shown = np.array(pixels).reshape(-1, 4)
            values = terms.attention(record, [query], term)[0].numpy() * record.key_grid.positions
            expected = table[np.rint((values / top).clip(0, 1) * 255).astype(int)]
            assert (shown[:, 3] == 255).all()
            assert np.abs(shown[:, :3] - expected).max() <= 12, term  # a step or two of the palette
            assert np.abs(shown[:, :3] - expected).mean() < 1


def test_scales_are_labelled_when_they_are_not_the_shared_one(page):
    badges = page.locator(".badge")
    scale = page.get_by_label("Scale", exact=True)
    scale.select_option("per-map")
    assert all("rescaled to this map alone" in text for text in badges.all_inner_texts())
    lows = page.locator(".ticks span:first-child").all_inner_texts()
    scale.select_option("log")
    assert all(text.startswith("log scale") for text in badges.all_inner_texts())
    assert page.locator(".ticks span:first-child").all_inner_texts() == ["0.01×"] * 3
    assert lows != ["0.01×"] * 3
    scale.select_option("shared")
    assert page.locator(".ticks span:first-child").all_inner_texts() == ["0×"] * 3


def test_opacity_smoothing_and_the_prediction_with_its_legend(page):
    shown = page.locator('[data-panel="whole"] canvas.map')
    page.get_by_label("Opacity", exact=True).fill("0.3")
    assert shown.evaluate("node => getComputedStyle(node).opacity") == "0.3"
    assert shown.evaluate("node => getComputedStyle(node).imageRendering") == "pixelated"
    open_menu(page, "View")
    page.get_by_label("Smooth").check()
    assert shown.evaluate("node => getComputedStyle(node).imageRendering") == "auto"
    legend = page.get_by_role("list", name="Predicted classes")
    assert not legend.is_visible()
    page.get_by_label("Prediction").check()
    assert legend.get_by_role("listitem").count() == 11
    assert (
        float(page.locator(".prediction").evaluate("node => getComputedStyle(node).opacity")) > 0.3
    )


def test_click_pins_escape_clears_and_python_hears_of_both(page):
    (record,) = capture(load_network(NETWORKS[0]), sample_picture("motorcycle").image)
    grid = record.query_grid
    query = grid.position(grid.cell_at(x=300, y=250))
    page.mouse.click(*place(page, "whole", grid, query))
    row, col, _ = grid.cell(query)
    pinned = page.get_by_text("Pinned query")
    pinned.wait_for()
    assert f"(row {row}, column {col})" in pinned.locator("xpath=..").inner_text()
    page.mouse.move(*place(page, "whole", grid, 0))
    assert readout_cell(page) == (row, col), "the maps stay"
    page.keyboard.press("Escape")
    pinned.wait_for(state="detached")
    page.mouse.move(*place(page, "whole", grid, 65))
    assert readout_cell(page) == (1, 1), "the maps follow again"


def test_a_pin_survives_a_change_of_network_and_ends_with_the_picture(page):
    (record,) = capture(load_network(NETWORKS[1]), sample_picture("motorcycle").image)
    query = record.query_grid.position(record.query_grid.cell_at(x=300, y=250))
    page.mouse.click(*place(page, "photo", record.query_grid, query))
    page.get_by_text("Pinned query").wait_for()
    choose_network(page, NETWORKS[1])
    page.mouse.move(*place(page, "whole", record.query_grid, 700))
    expected = terms.attention(record, [query])[0, 700].item() * record.key_grid.positions
    assert values_under_cursor(page)["whole"] == pytest.approx(expected, rel=1e-2)
    page.get_by_role("combobox", name="Picture").click()
    page.get_by_role("option", name="Coffee").click()
    page.get_by_text("Pinned query").wait_for(state="detached")


def test_everything_works_from_the_keyboard_and_wakes_nothing_else(page):
    page.locator(".panels").focus()
    before = readout_cell(page)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Shift+ArrowDown")
    assert readout_cell(page) == (before[0] + 4, before[1] + 2)
    page.get_by_text("Pinned query").wait_for()
    for _ in range(200):
        page.keyboard.press("ArrowLeft")
    assert readout_cell(page)[1] == 0, "the edge holds"
    page.keyboard.press("c")
    page.keyboard.press("r")
    page.wait_for_timeout(500)
    assert page.get_by_role("dialog").count() == 0, "c would open the host's dialog"
    page.locator('.announcement:has-text("Strongest key")').wait_for(state="attached")
    page.keyboard.press("Escape")
    page.get_by_text("Pinned query").wait_for(state="detached")


def test_pixels_and_cells_agree_for_every_shape(page):
    page.get_by_role("combobox", name="Picture").click()
    page.get_by_role("option", name="Your own picture…").click()
    for size in [(480, 270), (270, 480), (1501, 97), (97, 1501), (257, 333)]:
        check_pixels_and_cells(page, *size)


def check_pixels_and_cells(page, width, height):
    buffer = io.BytesIO()
    Image.effect_noise((width, height), 60).save(buffer, "PNG")
    file = {"name": "noise.png", "mimeType": "image/png", "buffer": buffer.getvalue()}
    page.locator('input[type="file"]').first.set_input_files(file)
    wait_for_viewer(page)
    rows, columns = load_network(NETWORKS[0]).preprocess.input_hw((height, width))
    page.wait_for_function(
        """([columns, rows]) => {
            const find = (root) => root.querySelector?.('canvas.map') ??
                [...root.querySelectorAll('*')]
                    .map((node) => node.shadowRoot && find(node.shadowRoot)).find(Boolean);
            const canvas = find(document);
            return canvas && canvas.width === columns && canvas.height === rows;
        }""",
        arg=[columns // 8, rows // 8],
    )
    photo = stage(page)
    photo.scroll_into_view_if_needed()
    assert box_of(photo)["height"] <= 1000, "a tall picture still fits the window"
    for right, down in ((0.021, 0.033), (0.507, 0.503), (0.977, 0.204), (0.307, 0.961)):
        box = box_of(photo)
        page.mouse.move(box["x"] + right * box["width"], box["y"] + down * box["height"])
        row, col = readout_cell(page)
        assert (row, col) == (int(down * (rows // 8)), int(right * (columns // 8)))
    assert box["width"] / box["height"] == pytest.approx(width / height, rel=0.02)


def test_a_bad_upload_is_a_sentence_and_the_next_picture_works(page):
    page.get_by_role("combobox", name="Picture").click()
    page.get_by_role("option", name="Your own picture…").click()
    file = {
        "name": "<img src=x onerror=alert(1)>.png",
        "mimeType": "image/png",
        "buffer": b"not a picture",
    }
    page.get_by_test_id("stFileUploaderDropzoneInput").set_input_files(file)
    page.get_by_text("This picture cannot be used").wait_for()
    assert page.get_by_text("Traceback").count() == 0
    page.get_by_role("combobox", name="Picture").click()
    page.get_by_role("option", name="Rocket").click()
    page.get_by_text("This picture cannot be used").wait_for(state="detached")
    wait_for_viewer(page)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_overflows_in_any_window_or_theme(blank, address, scheme):
    page = blank((2200, 900), scheme, address)
    page.goto(f"{address}/?picture=sample-motorcycle")
    wait_for_viewer(page)
    for width in (2200, 1440, 800, 390):  # narrower and narrower: what was laid out before is wide
        page.set_viewport_size({"width": width, "height": 900})
        lens = box_of(page.locator(".lens"))
        for _ in range(200):
            if lens["x"] + lens["width"] <= width:
                break
            page.wait_for_timeout(20)
            lens = box_of(page.locator(".lens"))
        assert lens["x"] >= 0
        assert lens["x"] + lens["width"] <= width
        for panel in ("photo", *terms.TERMS):
            assert box_of(stage(page, panel))["width"] >= 250
    dark = page.locator(".lens").evaluate("node => getComputedStyle(node).color")
    brightness = sum(map(int, re.findall(r"\d+", dark)[:3])) / 3
    assert (brightness > 128) == (scheme == "dark"), "the viewer follows the theme"


@pytest.mark.parametrize("kind", KINDS)
def test_every_coupling_is_shown_as_torch_computes_it(blank, generator, kind):
    record = random_record(generator, **KINDS[kind])
    picture = np.full((40, 56, 3), 128, np.uint8)
    payload = pack(Observation(picture, torch.zeros(1), (record,)), record, title="t", alt="a")
    page = blank((1440, 1000))
    shown = page.evaluate(
        """async ([source, bytes, queries]) => {
            const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
            const lens = await import(url);
            lens.mount(document.body, Uint8Array.from(bytes));
            const { attention } = document.body.nonlocalLens.records[0];
            return Array.from({ length: queries }, (_, query) => {
                const { whole, pairwise, unary } = attention.mapsOf(query);
                return [whole, pairwise, unary].map((map) => Array.from(map));
            });
        }""",
        [viewer_js(), list(payload), QUERIES],
    )
    for index, term in enumerate(terms.TERMS):
        expected = terms.attention(record, range(QUERIES), term) * KEYS
        difference = (torch.tensor(shown, dtype=torch.float64)[:, index] - expected).abs()
        if record.coupling == "unnormalized":
            assert difference.max() < 1e-2 * expected.abs().max(), term
        else:
            assert (difference <= 1e-2 * expected).all(), term

    units = page.locator(".unit span:first-child").all_inner_texts()
    ticks = page.locator('[data-panel="whole"] .ticks span').all_inner_texts()
    palettes = page.get_by_label("Colors", exact=True).locator("option").all_text_contents()
    subtitles = page.locator(".subtitle").all_inner_texts()[1:]
    if record.coupling == "unnormalized":
        assert units == ["logits, of any sign"] * 3
        assert ticks[0] == f"-{ticks[-1]}", "0 is the middle"
        assert ticks[1] == "0"
        assert palettes == list(DIVERGING_PALETTES)
        scales = page.get_by_label("Scale", exact=True).locator("option").all_text_contents()
        assert "Shared, logarithmic" not in scales, "0 and below have no logarithm"
        assert field(page, "entropy") == "none: no softmax"
    else:
        assert units == ["multiples of uniform"] * 3
        assert palettes == list(PALETTES)
        assert "bits" in field(page, "entropy")
    if record.reach is not None:
        assert subtitles[0].endswith(f", within its own {record.reach.kind}")
        assert (field(page, "share") == "none") == (kind == "overlapping")
    if record.coupling == "unary":
        assert subtitles[0] == "softmax(unary): the same for every query"
        assert "no query takes part" in subtitles[1]
