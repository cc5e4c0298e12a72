"""Tokens that lie nowhere, in the viewer in real Chromium: computed, drawn, saved."""

import io
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from browser import box_of
from PIL import Image
from viewing import (
    click,
    encoded,
    last_told,
    mount,
    packed,
    saved,
    stage,
)
from viewing_tokens import (
    AXES,
    CELLS,
    GRID,
    NAMES,
    PAIRS,
    WORDS,
    both,
    chip,
    record_of,
    shares_of,
    shown_share,
    text_of,
)

from nonlocal_lens.analysis import query_map, terms
from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.analysis.clips import read_clip
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.scene import Records
from nonlocal_lens.app.viewer.payload import Shown, pack_all
from nonlocal_lens.app.viewer.view import View
from nonlocal_lens.models.blocks import Reach

pytestmark = pytest.mark.browser

COUPLINGS = ("coupled", "disentangled", "unary", "unnormalized")


MAPS = """
([base64, queries, keys, onPicture]) => {
    show(base64);
    const { attention } = viewer.records[0];
    const maps = (direction, index) => {
        const made = attention.fill(attention.emptyMaps(direction, onPicture), [index]);
        const off = lens.TERMS.map((term) => made.off[term]);
        return [lens.TERMS.map((term) => Array.from(made[term])), off];
    };
    const all = (count, direction) => Array.from({ length: count }, (_, at) => maps(direction, at));
    return { rows: all(queries, "row"), columns: all(keys, "column") };
}
"""


PAINTED = """
(color) => {
    const context = document.createElement("canvas").getContext("2d");
    context.fillStyle = color;
    context.fillRect(0, 0, 1, 1);
    return Array.from(context.getImageData(0, 0, 1, 1).data);
}
"""


def maps_of(page, record, on_picture=False):
    """Return rows and columns (query, term, key), and what is off the picture (query, term)."""
    given = [encoded(packed(record)), len(record.query), len(record.key), on_picture]
    found = page.evaluate(MAPS, given)
    rows = np.array([maps for maps, _ in found["rows"]], float)
    columns = np.array([maps for maps, _ in found["columns"]], float).transpose(2, 1, 0)
    return rows, columns, np.array([off for _, off in found["rows"]], float)


@pytest.mark.parametrize("pair", PAIRS, ids=" by ".join)
def test_maps_over_all_keys_are_torchs(page, generator, pair):
    mount(page, packed(both(generator)))
    for coupling in COUPLINGS:
        record = record_of(generator, *(AXES[name] for name in pair), coupling)
        rows, columns, off = maps_of(page, record)
        for at, term in enumerate(terms.TERMS):
            weights = terms.attention(record, range(len(record.query)), term).numpy()
            expected = weights * len(record.key)
            atol = 1e-2 * np.abs(expected).max() if record.signed else 0
            for found in (rows[:, at], columns[:, at]):
                np.testing.assert_allclose(found, expected, rtol=1e-2, atol=atol, err_msg=coupling)
            placed = record.key_axis.placed
            if record.signed or not record.key_axis.names:
                continue
            beside = weights[:, placed:].sum(axis=1) / weights.sum(axis=1)
            np.testing.assert_allclose(off[:, at], beside, rtol=1e-2, atol=1e-6)


@pytest.mark.parametrize("coupling", ["coupled", "disentangled", "unary"])
def test_what_falls_on_the_picture_is_a_row_of_its_own(page, generator, coupling):
    mount(page, packed(both(generator)))
    halves = torch.arange(38)[:, None] % 2
    for reach in (None, Reach("half", halves, halves)):
        record = both(generator, coupling, reach=reach)
        placed = record.key_axis.placed
        rows, columns, off = maps_of(page, record, on_picture=True)
        for at, term in enumerate(terms.TERMS):
            weights = terms.attention(record, range(38), term).numpy()
            on_it = weights[:, :placed]
            total = weights.sum(axis=1, keepdims=True)
            expected = on_it / on_it.sum(axis=1, keepdims=True) * total * placed
            np.testing.assert_allclose(rows[:, at, :placed], expected, rtol=1e-2)
            np.testing.assert_allclose(columns[:, at, :placed], expected, rtol=1e-2)
            np.testing.assert_allclose(rows[:, at, :placed].mean(axis=1), total[:, 0], rtol=1e-2)
            assert np.isnan(columns[:, at, placed:]).all(), "a token has no part of the picture"
            beside = 1 - on_it.sum(axis=1) / total[:, 0]
            np.testing.assert_allclose(off[:, at], beside, rtol=2e-2, atol=1e-6)


@pytest.mark.parametrize("coupling", ["coupled", "disentangled"])
def test_each_map_has_a_chip_per_token_with_its_share_as_a_bar_and_a_number(
    page, generator, coupling
):
    record = both(generator, coupling)
    mount(page, packed(record))
    click(page, 28, 20)
    query = GRID.position(GRID.cell_at(x=28, y=20))
    for term in terms.TERMS:
        expected = shares_of(record, query, term)
        for name, share in expected.items():
            node = chip(page, name, term)
            assert shown_share(node.locator(".share").inner_text()) == pytest.approx(
                share, abs=6e-3
            )
            bar, whole = box_of(node.locator(".part")), box_of(node)
            assert bar["width"] / whole["width"] == pytest.approx(share, abs=0.03)
        said = text_of(page, term, ".off")
        assert shown_share(said.split(" off")[0] + " %") == pytest.approx(
            sum(expected.values()), abs=6e-3
        )


def test_a_map_says_how_much_of_its_row_lies_on_the_one_token(page, generator):
    record = record_of(generator, Axis(GRID, None, ("class",)))
    record.key[35] += 2.0
    mount(page, packed(record))
    click(page, 28, 20)
    share = shares_of(record, GRID.positions // 2, "whole")["class"]
    said = text_of(page, "whole", ".off")
    assert said.endswith(" on the class token")
    assert shown_share(said.split(" on ")[0]) == pytest.approx(share, abs=6e-3)
    assert share > 0.1


def test_keys_are_drawn_where_they_lie_and_nowhere_else(page, generator):
    record = record_of(generator, AXES["some cells and names"])
    mount(page, packed(record))
    assert "row 2, column 3" in page.locator('[data-field="query"]').inner_text()
    page.evaluate("viewer.look(17)")
    values = terms.attention(record, [record.query_axis.at(17)])[0] * len(record.key)
    shown = np.array(
        page.evaluate("Array.from(viewer.panels[1].values, (v) => v === v ? v : null)"), float
    )
    np.testing.assert_allclose(shown[CELLS], values[: len(CELLS)], rtol=1e-2)
    absent = np.setdiff1d(np.arange(35), CELLS)
    assert np.isnan(shown[absent]).all()
    words = np.array(page.evaluate("Array.from(viewer.panels[1].words)"), np.uint32)
    alpha = words.view(np.uint8).reshape(-1, 4)[:, 3]
    assert (alpha[CELLS] == 255).all()
    assert (alpha[absent] == 0).all(), "the photo is plain there"
    click(page, *GRID.center(GRID.cell(17)))
    width = box_of(stage(page, "whole"))["width"]
    stage(page, "whole").hover(position={"x": 1.5 / 7 * width, "y": 3})  # cell 1 has no key
    assert text_of(page, "whole", ".value") == "no key"
    page.locator(".panels").focus()
    page.keyboard.press("Escape")
    click(page, *GRID.center(GRID.cell(1)))
    assert page.evaluate("viewer.panels[1].values") is None, "no query there: no map"


def test_a_picture_with_holes_opens_at_the_place_nearest_its_middle(page, generator):
    mount(page, packed(record_of(generator, Axis(GRID, np.array([0, 18, 34]), NAMES))))
    assert "row 2, column 4" in page.locator('[data-field="query"]').inner_text()
    assert page.evaluate("viewer.panels[1].values") is not None


def test_the_setting_is_labeled_and_never_the_default(page, generator):
    record = both(generator)
    mount(page, packed(record))
    click(page, 28, 20)
    row = terms.attention(record, [17])[0]
    values = "Array.from(viewer.panels[1].values)"
    np.testing.assert_allclose(page.evaluate(values), row[:35] * 38, rtol=1e-2)
    page.get_by_label("Of what falls on the picture").check()
    np.testing.assert_allclose(page.evaluate(values), row[:35] / row[:35].sum() * 35, rtol=1e-2)
    assert text_of(page, "whole", ".off").startswith("left out: ")
    assert "of what falls on the picture alone" in page.evaluate(
        "viewer.saving.provenance().at(-1)"
    )
    assert last_told(page)["onPicture"] is True
    entropy = page.locator('[data-field="entropy"]').inner_text()
    assert entropy.endswith(f"of {np.log2(35):.2f} bits")
    mount(page, packed(record_of(generator, AXES["a grid"])))
    assert page.get_by_label("Of what falls on the picture").count() == 0, "all is on it"


def test_pictures_to_take_away_have_the_chips(page, generator):
    record = both(generator)
    record.key[35] += 2.0
    mount(page, packed(record))
    click(page, 28, 20)
    root = ElementTree.parse(saved(page, "Vector drawing").path()).getroot()
    words = [node.text for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert words.count("register") + words.count("register 1") >= 4
    assert text_of(page, "whole", ".off") in words
    bars = [
        float(node.get("width"))
        for node in root.iter("{http://www.w3.org/2000/svg}rect")
        if node.get("rx") is None and node.get("width") != "100%"
    ]
    boxes = page.locator(".token .part").evaluate_all(
        "all => all.map((node) => node.getBoundingClientRect().width)"
    )
    assert bars == pytest.approx(boxes, abs=0.5)
    picture = Image.open(io.BytesIO(saved(page, "Picture of this view").path().read_bytes()))
    bar, frame = chip(page, "class", "whole").locator(".part"), page.locator(".panels")
    at, off = box_of(bar), box_of(frame)
    x, y = 16 + at["x"] - off["x"] + 2, 16 + at["y"] - off["y"] + 2
    color = bar.evaluate("node => getComputedStyle(node).backgroundColor")
    drawn = page.evaluate(PAINTED, color)
    found = picture.convert("RGBA").getpixel((int(2 * x), int(2 * y)))
    assert found == pytest.approx(tuple(drawn), abs=2)


@pytest.mark.parametrize("pair", PAIRS, ids=" by ".join)
def test_the_record_to_take_away_has_its_tokens(page, generator, pair):
    record = record_of(generator, *(AXES[name] for name in pair))
    mount(page, packed(record))
    download = saved(page, "Record of net0")
    path = download.path().with_suffix(".safetensors")
    download.save_as(path)
    again = AttentionRecord.load(path)
    assert (again.query_axis, again.key_axis) == (record.query_axis, record.key_axis)
    every = range(len(record.query))
    expected = terms.attention(record, every)
    torch.testing.assert_close(
        terms.attention(again, every).double(), expected, rtol=1e-2, atol=1e-4
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_about_tokens(blank, generator, scheme):
    from axe_playwright_python.sync_playwright import Axe

    page = blank(scheme=scheme)
    mount(page, packed(both(generator), record_of(generator, Axis(GRID, None, WORDS))))
    page.add_style_tag(content=":root { color-scheme: light dark; background: Canvas }")
    chip(page, "class").click()
    chip(page, "register 1").click(modifiers=["Shift"])
    chip(page, "word 1").first.hover()
    found = Axe().run(page).response["violations"]
    serious = [
        (one["id"], [node["html"] for node in one["nodes"]])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == []


@pytest.mark.parametrize("axis", ["a grid and names", "some cells and names", "names alone"])
def test_query_dependence_of_tokens_is_the_divergence_from_where_the_places_look(
    page, generator, axis
):
    record = record_of(generator, AXES[axis], coupling="coupled")
    mount(page, packed(record, view=View(terms=("whole", "dependence"))))
    page.wait_for_function("viewer.dependence.at(viewer.records[0], 0).named !== null")
    rows = terms.attention(record, range(len(record.query)))
    mean = rows[: record.query_axis.counting].mean(dim=0)
    expected = (rows * (rows / mean).log2()).sum(dim=1)
    of_map = query_map.divergence_from_mean_bits(record)
    torch.testing.assert_close(expected[: len(of_map)], of_map)
    found = page.evaluate("Array.from(viewer.dependence.at(viewer.records[0], 0).named)")
    placed = record.query_axis.placed
    np.testing.assert_allclose(found, expected[placed:], rtol=3e-2)
    shown = float(chip(page, "class", "dependence").locator(".share").inner_text().split()[0])
    assert shown == pytest.approx(expected[placed].item(), rel=3e-2)
    if placed:
        values = "viewer.panels.find(({ name }) => name === 'dependence').values"
        laid = np.array(page.evaluate(f"Array.from({values}, (v) => v === v ? v : null)"), float)
        cells = CELLS if record.query_axis.cells is not None else np.arange(35)
        np.testing.assert_allclose(laid[cells], expected[:placed], rtol=3e-2)
        assert np.isnan(laid).sum() == 35 - placed


FRAMES = np.random.default_rng(0).integers(0, 256, (3, 40, 56, 3), dtype=np.uint8)


def packed_clip(records, *, of_clips):
    over = Records(3, tuple(records), of_clips=of_clips)
    return pack_all(read_clip(FRAMES), [Shown("net", over)], alt="Noise")


def test_frames_of_a_clip_have_their_own_rows_of_a_token(page, generator):
    records = [record_of(generator, AXES["some cells and names"]) for _ in range(3)]
    others = np.array([1, 2, 5])
    records[2] = record_of(generator, Axis(GRID, others, NAMES))  # each frame its own places
    mount(page, packed_clip(records, of_clips=False))
    page.evaluate("viewer.go(1)")
    chip(page, "register 1").click()
    assert last_told(page)["queries"] == [{"token": "register 1", "name": "", "frame": 1}]
    for frame, record in enumerate(records):
        page.evaluate("frame => viewer.go(frame)", frame)
        row = terms.attention(record, [record.query_axis.index("register 1")])[0]
        values = "Array.from(viewer.panels[1].values, (v) => v === v ? v : null)"
        shown = np.array(page.evaluate(values), float)
        cells, keys = record.key_axis.cells, len(record.key)
        np.testing.assert_allclose(shown[cells], row[: len(cells)] * keys, rtol=1e-2)
        assert np.isnan(shown).sum() == 35 - len(cells)
        share = chip(page, "class", "whole").locator(".share").inner_text()
        assert shown_share(share) == pytest.approx(row[len(cells)].item(), abs=6e-3)


def test_a_token_of_all_frames_spreads_over_them(page, generator):
    grid = replace(GRID, frames=3)
    record = record_of(generator, Axis(grid, None, NAMES))
    mount(page, packed_clip([record], of_clips=True))
    chip(page, "class").click()
    row = terms.attention(record, [105])[0]
    for frame in range(3):
        page.evaluate("frame => viewer.go(frame)", frame)
        part = row[35 * frame : 35 * (frame + 1)]
        shown = page.evaluate("Array.from(viewer.panels[1].values)")
        np.testing.assert_allclose(shown, part * 108, rtol=1e-2)
        share = page.evaluate("frame => viewer.timeline.rows.shares('whole')[frame]", frame)
        assert share == pytest.approx(part.sum().item(), rel=1e-2), "of the whole row"
    page.get_by_label("Of what falls on the picture").check()
    shares = page.evaluate("Array.from(viewer.timeline.rows.shares('whole'))")
    assert sum(shares) == pytest.approx(1, rel=1e-5)
    page.locator(".panels").focus()
    page.keyboard.press("Escape")
    page.locator('[data-frame="0"] .picture').hover(position={"x": 20, "y": 20})
    assert "row" in page.locator('[data-field="query"]').inner_text()
