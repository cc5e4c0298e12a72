"""The viewer by itself in real Chromium: what it computes, draws, hears and gives away."""

import base64
import io
import json
import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from browser import box_of
from PIL import Image
from records import KEY_HW, KEYS, KINDS, QUERIES, QUERY_HW, random_record
from test_strongest import CASES

from nonlocal_lens.analysis import query_map, terms
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.render import PALETTES, palette_table
from nonlocal_lens.app import PRODUCT
from nonlocal_lens.app.viewer.bundle import joined, viewer_css, viewer_js
from nonlocal_lens.app.viewer.payload import Shown, pack_all, with_view
from nonlocal_lens.app.viewer.view import Query, View

pytestmark = pytest.mark.browser

HOSTILE = "<img src=x onerror=alert(1)>.png"

MOUNT = """
async ([code, style, payload]) => {
    const url = URL.createObjectURL(new Blob([code], { type: "text/javascript" }));
    window.lens = await import(url);
    const sheet = document.createElement("style");
    sheet.textContent = style;
    document.head.append(sheet);
    document.documentElement.lang = "en";
    document.title = "viewer";
    window.told = [];
    window.show = (base64) =>
        lens.mount(document.body, lens.bytesOf(base64), (pinned, view) => told.push(view));
    show(payload);
    window.viewer = document.body.nonlocalLens;
}
"""


OVER_OWN_CELL = """
() => {
    const panel = viewer.panels[1];
    const project = viewer.projection();
    const [from, to] = [project({ x: 24, y: 16 }), project({ x: 32, y: 24 })];
    const found = [];
    for (const node of panel.overlay.children) {
        if (node.tagName === "text") {
            const { x, y, width, height } = node.getBBox();
            const beside = x >= to.x || y >= to.y || x + width <= from.x || y + height <= from.y;
            if (!beside) found.push(node.textContent);
            continue;
        }
        const length = node.getTotalLength();
        for (let at = 0; at < length; at += 0.5) {
            const { x, y } = node.getPointAtLength(at);
            if (x > from.x + 1 && x < to.x - 1 && y > from.y + 1 && y < to.y - 1) {
                found.push(node.getAttribute("d").slice(0, 60));
                break;
            }
        }
    }
    return found;
}
"""


def packed(*records, view=None, name=None, output=None):
    image = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    shown = [Shown(f"net{index}", record, output) for index, record in enumerate(records)]
    payload = pack_all(image, shown, alt="Noise", name=name)
    return payload if view is None else with_view(payload, view)


def encoded(payload):
    return base64.b64encode(payload).decode()


def mount(page, payload):
    page.evaluate(MOUNT, [viewer_js(), viewer_css(), encoded(payload)])


def stage(page, panel="photo", row=0):
    return page.locator(f'[data-panel="{panel}"][data-row="{row}"] .stage').first


def click(page, x, y, panel="photo", row=0, **options):
    """Click at an image point."""
    box = box_of(stage(page, panel, row))
    at = {"x": x / 56 * box["width"], "y": y / 40 * box["height"]}
    stage(page, panel, row).click(position=at, **options)


def pins(page):
    return page.evaluate("viewer.queries.map(({ points }) => points.map(({ x, y }) => [x, y]))")


def last_told(page):
    """Return the view that the host was told of, once that is how it is."""
    page.wait_for_function("JSON.stringify(told.at(-1)) === JSON.stringify(viewer.describeView())")
    return page.evaluate("told.at(-1)")


def open_menu(page, title):
    page.locator(f'.menu > summary:text-is("{title}")').click()


def test_rows_columns_and_regions_are_torchs_for_every_kind_of_attention(page, generator):
    page.evaluate(MOUNT, [viewer_js(), viewer_css(), encoded(packed(random_record(generator)))])
    region = [3, 4, 5, 10, 11]
    for kind, options in KINDS.items():
        record = random_record(generator, **options)
        shown = page.evaluate(
            """([base64, queries, keys, region]) => {
                show(base64);
                const { attention } = viewer.records[0];
                const maps = (direction, positions) => {
                    const filled = attention.fill(attention.emptyMaps(direction), positions);
                    return lens.TERMS.map((term) => Array.from(filled[term]));
                };
                const all = (count, direction) =>
                    Array.from({ length: count }, (_, position) => maps(direction, [position]));
                const rows = all(queries, "row");
                return { rows, columns: all(keys, "column"), region: maps("row", region) };
            }""",
            [encoded(packed(record)), QUERIES, KEYS, region],
        )
        for index, term in enumerate(terms.TERMS):
            expected = terms.attention(record, range(QUERIES), term).numpy() * KEYS
            near = {
                "rtol": 1e-2,
                "atol": 1e-2 * np.abs(expected).max()
                if options["coupling"] == "unnormalized"
                else 0,
            }
            rows = np.array(shown["rows"])[:, index]
            np.testing.assert_allclose(rows, expected, err_msg=f"{kind} {term}", **near)
            columns = np.array(shown["columns"])[:, index].T
            np.testing.assert_allclose(columns, expected, err_msg=f"{kind} {term}", **near)
            np.testing.assert_allclose(columns, rows, rtol=1e-3, atol=1e-3)
            mean = rows[region].mean(axis=0)
            np.testing.assert_allclose(np.array(shown["region"])[index], mean, rtol=1e-4, atol=1e-5)


def test_the_pure_parts(page, generator):
    mount(page, packed(random_record(generator)))
    results = page.evaluate(
        """() => {
            const grid = { height: 3, width: 4, cell_height: 10, cell_width: 20 };
            const same = (point) => point;
            const values = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
            const view = lens.zoomedView({ zoom: 2, left: 0.1, top: 0.2 }, 3, 0.25, 0.5);
            return {
                pixel: lens.positionsOf([{ x: 25, y: 15 }], grid),
                outside: lens.positionsOf([{ x: 85, y: 15 }], grid),
                rectangle: lens.positionsOf([{ x: 45, y: 25 }, { x: 5, y: 3 }], grid),
                sliver: lens.positionsOf([{ x: 41, y: 11 }, { x: 42, y: 12 }], grid),
                lasso: lens.positionsOf([{ x: 0, y: 0 }, { x: 80, y: 0 }, { x: 0, y: 30 }], grid),
                within: [
                    lens.sumWithin(values, grid, { x: 30, y: 15 }, 10),
                    lens.sumWithin(values, grid, { x: 30, y: 15 }, 20),
                    lens.sumWithin(values, grid, { x: 0, y: 0 }, 999),
                ],
                stays: [view.left + 0.25 / view.zoom, view.top + 0.5 / view.zoom, view.zoom],
                clamped: lens.clampedView({ zoom: 2, left: 0.9, top: -1 }),
                strongest: lens.strongest([1, 5, NaN, 5, 9, 0], 3, (j) => j === 4),
                levels: lens.massLevels(Float32Array.of(4, 1, 2, 3), [0.4, 0.5, 1]),
                outline: lens.cellOutline((j) => j === 5, grid, same),
                outlineOfAll: lens.cellOutline(() => true, grid, same),
                touching: lens.arrow({ x: 0, y: 0 }, { x: 8, y: 0 }, { gap: 10 }),
                thinned: lens.thinned([1, 2, 3, 4, 5, 6, 7], 3),
                shared: lens.sharedScale([{ scale_top: 3, peak: 9 }, { scale_top: 5, peak: 6 }]),
                fixed: lens.rangeOf([], "fixed", { scale_top: 3, fixed: 7 }),
                signed: lens.rangeOf([], "fixed", { scale_top: 3, fixed: 7, signed: true }),
                name: lens.fileName("../<b>a b</b>.png"),
                evenly: [lens.evenly(3, 9), lens.evenly(10, 2)],
            };
        }"""
    )
    assert results["pixel"] == [5]
    assert results["outside"] == []
    assert results["rectangle"] == [0, 1, 4, 5]
    assert results["sliver"] == [6], "a region smaller than a cell is the cell"
    assert results["lasso"] == [0, 1, 2, 4, 5, 8]
    assert results["within"] == [2 + 6 + 10, 2 + 6 + 10 + 5 + 7, 78]
    assert results["stays"] == pytest.approx([0.1 + 0.125, 0.2 + 0.25, 6])
    assert results["clamped"] == {"zoom": 2, "left": 0.5, "top": 0}
    assert results["strongest"] == [1, 3, 0]
    assert results["levels"] == [4, 3, 1]
    assert results["outline"] == "M20 10L40 10M20 20L40 20M20 10L20 20M40 10L40 20"
    assert results["outlineOfAll"] == "M0 0L80 0M0 30L80 30M0 0L0 30M80 0L80 30"
    assert results["touching"] == ""
    assert results["thinned"] == [1, 4, 7]
    assert results["shared"] == {"scale_top": 5, "peak": 9}
    assert results["fixed"] == {"low": 0, "high": 7, "log": False}
    assert results["signed"] == {"low": -7, "high": 7, "log": False}
    assert results["name"] == "b_a_b_b_.png"
    assert results["evenly"] == [[0, 1, 2], [2, 7]]


def test_the_most_different_pair_is_that_of_the_analysis(page, generator):
    record = random_record(generator, scale=1.0)
    mount(page, packed(record))
    open_menu(page, "Queries")
    page.get_by_role("button", name="Most different pair").click()
    grid = record.query_grid
    expected = [grid.center(grid.cell(at)) for at in query_map.most_different(record)]
    assert [point for (point,) in pins(page)] == [pytest.approx(point) for point in expected]


def test_no_mark_stands_where_values_tie(page, generator):
    mount(page, packed(random_record(generator)))
    for name, (values, count, expected) in CASES.items():
        given = [None if value != value else value for value in values]
        found = page.evaluate(
            "([values, count]) => lens.strongest(values.map((value) => value ?? NaN), count)",
            [given, count],
        )
        assert found == expected, name
    levels = page.evaluate(
        """() => [
            lens.massLevels(Float32Array.from({ length: 35 }, () => 1), [0.5, 0.9]),
            lens.massLevels(Float32Array.of(60, 1, 1, 1, 1, 36), [0.5, 0.9, 0.98]),
        ]"""
    )
    assert levels[0] == [float("inf")] * 2, "a level that no cell reaches"
    assert levels[1] == [60, 36, 1]


def test_who_looks_here_has_no_arrows_in_the_unary_term(page, generator):
    record = random_record(generator)
    view = View(direction="column", arrows=True, boxes=True, contours=True)
    mount(page, packed(record, view=view))
    click(page, *record.key_grid.center(record.key_grid.cell(17)))

    def marks(panel):
        return page.locator(f'[data-panel="{panel}"] svg path').count()

    without = page.locator('[data-panel="photo"] svg path').count()
    assert marks("unary") <= without + 2, "the query itself, and nothing else"
    assert marks("pairwise") > without + 10


def test_networks_side_by_side_share_cursor_and_scale_and_their_difference_diverges(
    page, generator
):
    first = random_record(generator)
    second = replace(random_record(generator, "disentangled"), block="other")
    mount(page, packed(first, second, view=View(difference=(0, 1))))
    query, key = 11, 17
    grid = first.query_grid
    click(page, *grid.center(grid.cell(query)))
    box = box_of(stage(page, "difference"))
    x, y = first.key_grid.center(first.key_grid.cell(key))
    page.mouse.move(box["x"] + x / 56 * box["width"], box["y"] + y / 40 * box["height"])
    shown = page.locator(".panels output[data-exact]").evaluate_all(
        "nodes => nodes.map((n) => +n.dataset.exact)"
    )
    one, other = (terms.attention(r, [query])[0, key].item() * KEYS for r in (first, second))
    assert shown == pytest.approx([one, other, one - other], rel=2e-2)
    highs = page.locator('[data-panel="whole"] .ticks span:last-child').all_inner_texts()
    low, high = page.locator('[data-panel="difference"] .ticks span').all_inner_texts()[::2]
    assert highs == [high, high]
    assert low == f"-{high}", "0 is the middle"
    assert (
        page.locator('[data-panel="difference"] .subtitle')
        .inner_text()
        .endswith("rows sum to 1 and 2")
    )


def test_the_difference_of_the_same_is_zero_everywhere(page, generator):
    record = random_record(generator)
    mount(page, packed(record, record, view=View(difference=(0, 1))))
    values = page.evaluate(
        "Array.from(viewer.panels.find(({ name }) => name === 'difference').values)"
    )
    assert values == [0] * KEYS


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


def test_both_directions_are_said_in_words_and_shown(page, generator):
    record = random_record(generator)
    mount(page, packed(record))
    direction = page.get_by_label("Direction")
    assert direction.locator("option").all_inner_texts() == [
        "Where this pixel looks",
        "Who looks here",
    ]
    direction.select_option("column")
    canvas = page.locator('[data-panel="whole"] canvas.map')
    assert (canvas.get_attribute("width"), canvas.get_attribute("height")) == ("7", "5")
    key = 13
    click(page, *record.key_grid.center(record.key_grid.cell(key)))
    shown = page.evaluate("Array.from(viewer.rows[0].maps[0].whole)")
    expected = terms.attention(record, range(QUERIES))[:, key].numpy() * KEYS
    np.testing.assert_allclose(shown, expected, rtol=1e-2)
    average = float(page.locator('[data-field="entropy"]').inner_text().rstrip("×"))
    assert average == pytest.approx(expected.mean(), rel=1e-2)


def test_marks_are_where_the_values_say_and_leave_the_querys_own_cell_alone(page, generator):
    record = random_record(generator, scale=1.0)
    mount(page, packed(record))
    click(page, 28, 20)
    open_menu(page, "Marks")
    plain = page.locator('[data-panel="whole"] .marks path').count()
    page.get_by_label("Contours of 50 %").check()
    page.get_by_label("Arrows to the strongest", exact=True).check()
    page.get_by_label("Boxes around the strongest", exact=True).check()
    page.get_by_label("Boxes around the strongest: how many").fill("3")
    assert page.locator('[data-panel="whole"] .marks text').all_text_contents() == ["1", "2", "3"]
    assert page.locator('[data-panel="whole"] .marks path').count() > plain + 6
    values = terms.attention(record, [17])[0]
    strongest = values.topk(3).indices.tolist()
    assert page.evaluate("lens.strongest(viewer.rows[0].maps[0].whole, 3)") == strongest
    # shapes begin outside of the query's own cell, 28 x 20 of 8 x 8 pixels, at every size
    for zoom in (1, 4):
        page.evaluate("zoom => { viewer.zoom(0); viewer.zoom(zoom); }", zoom)
        covering = page.evaluate(OVER_OWN_CELL)
        assert covering == [], f"at zoom {zoom}"
    page.evaluate("viewer.zoom(0)")
    page.get_by_label("Leave out cells within", exact=False).first.fill("50")
    assert page.locator('[data-panel="whole"] .marks text').count() == 0, "all cells are left out"
    # whatever is drawn, data are data: no canvas pixel changes
    before = page.evaluate("Array.from(viewer.panels[1].words)")
    page.locator(".panels").focus()
    page.keyboard.press("a")
    assert page.evaluate("Array.from(viewer.panels[1].words)") == before


def test_a_changed_scale_is_a_badge_and_a_fixed_one_has_its_number(page, generator):
    mount(page, packed(random_record(generator, scale=2.0)))
    page.get_by_label("Scale", exact=True).select_option("fixed")
    page.get_by_label("Fixed at").fill("2")
    assert page.locator('[data-panel="whole"] .ticks span:last-child').inner_text() == "2×"
    badge = page.locator('[data-panel="whole"] .badge').inner_text()
    assert re.fullmatch(r"fixed scale, \d+ cells? above 2×", badge)


def test_a_logarithmic_scale_says_so_and_what_it_cuts_off_at_both_ends(page, generator):
    mount(page, packed(random_record(generator, scale=3.0)))
    page.get_by_label("Scale", exact=True).select_option("log")
    whole = page.evaluate("Array.from(viewer.rows[0].maps[0].whole)")
    above, below = (
        sum(value > page.evaluate("viewer.panels[1].range.high") for value in whole),
        sum(value < 0.01 for value in whole),
    )
    assert below > 1
    badge = page.locator('[data-panel="whole"] .badge').inner_text()
    assert badge.startswith("log scale")
    assert f"{below} cells below 0.01×" in badge
    assert ("above" in badge) == (above > 0)


def test_a_nearly_uniform_map_looks_flat(page, generator):
    mount(page, packed(random_record(generator, scale=1e-3)))
    words = np.array(page.evaluate("Array.from(viewer.panels[1].words)"), np.uint32)
    channels = words.view(np.uint8).reshape(-1, 4)[:, :3].astype(int)
    assert np.ptp(channels, axis=0).max() < 10


def test_mounting_again_changes_nothing_and_a_given_view_is_taken_over_once(page, generator):
    payload = packed(random_record(generator))
    mount(page, payload)
    click(page, 28, 20)
    node = page.evaluate_handle("viewer.stagesNode")
    page.evaluate("base64 => show(base64)", encoded(payload))
    assert page.locator(".lens").count() == 1
    assert page.evaluate("node => node === viewer.stagesNode", node)
    assert pins(page) == [[[28, 20]]]
    given = with_view(payload, View(queries=(Query(((5.0, 5.0),), "a"),), opacity=0.5))
    for _ in range(2):
        page.evaluate("base64 => show(base64)", encoded(given))
        assert pins(page) == [[[5, 5]]]
    click(page, 28, 20)
    page.evaluate("base64 => show(base64)", encoded(given))
    assert pins(page) == [[[28, 20]]], "the viewer went its own way"
    page.evaluate("lens.mount(document.body, viewer.bytes)()")
    assert page.locator(".lens").count() == 0


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


@pytest.mark.parametrize("size", [(1440, 900), (1280, 720)])
def test_photo_maps_and_scale_stand_in_one_row_in_the_window(page, generator, size):
    page.set_viewport_size({"width": size[0], "height": size[1]})
    mount(page, packed(random_record(generator)))
    boxes = [box_of(stage(page, name)) for name in ("photo", *terms.TERMS)]
    assert len({round(box["y"]) for box in boxes}) == 1
    assert [box["x"] for box in boxes] == sorted(box["x"] for box in boxes)
    bar = box_of(page.locator(".common"))
    assert bar["y"] + bar["height"] <= size[1]
    assert page.locator(".scale:visible").count() == 0, "one bar for what shares a scale"


def test_two_networks_and_their_difference_stand_in_one_row(page, generator):
    page.set_viewport_size({"width": 1440, "height": 900})
    two = (random_record(generator), random_record(generator, "disentangled"))
    mount(page, packed(*two, view=View(difference=(0, 1))))
    tops = page.locator(".stage").evaluate_all("all => all.map((n) => n.getBoundingClientRect().y)")
    assert len(tops) == 4
    assert len(set(tops)) == 1
    assert page.locator(".scale:visible").count() == 1, "the difference has its own"


def test_the_top_of_the_scale_is_dragged_and_typed(page, generator):
    mount(page, packed(random_record(generator, scale=2.0)))
    page.get_by_label("Top of the scale").fill("2")
    page.get_by_label("Top of the scale").press("Enter")
    assert page.get_by_label("Scale", exact=True).input_value() == "fixed"
    assert page.evaluate("viewer.panels[1].range.high") == 2
    assert page.locator(".common-badge").inner_text().startswith("fixed scale, ")
    box = box_of(page.locator(".handle"))
    page.mouse.move(box["x"] + 6, box["y"] + 9)
    page.mouse.down()
    page.mouse.move(box["x"] + 126, box["y"] + 9, steps=4)
    page.mouse.up()
    assert page.evaluate("viewer.panels[1].range.high") == 4, "120 pixels double it"
    page.locator(".handle").focus()
    page.keyboard.press("ArrowRight")
    assert page.evaluate("viewer.panels[1].range.high") == pytest.approx(4.4)
    assert pins(page) == [], "no key of the maps"


def test_the_photo_shows_through_where_attention_is_low(page, generator):
    mount(page, packed(random_record(generator, scale=2.0), view=View(fade=True)))
    words = np.array(page.evaluate("Array.from(viewer.panels[1].words)"), np.uint32)
    alpha = words.view(np.uint8).reshape(-1, 4)[:, 3].astype(float)
    top = page.evaluate("viewer.panels[1].range.high")
    values = np.array(page.evaluate("Array.from(viewer.rows[0].maps[0].whole)"))
    np.testing.assert_allclose(alpha, 255 * (values / top).clip(0, 1), atol=1.01)
    bar = page.locator(".common-bar").evaluate(
        "bar => Array.from(bar.getContext('2d').getImageData(0, 0, 256, 1).data)"
    )
    assert set(bar[3::4]) == {255}, "colors are told in full"
    saving = page.evaluate("viewer.saving.provenance().at(-1)")
    assert "opacity follows the value" in saving


def test_a_map_that_is_rescaled_ends_at_the_percentile_it_states(page, generator):
    mount(page, packed(random_record(generator)))
    found = page.evaluate(
        """() => {
            const values = Float32Array.from({ length: 200 }, (_, j) => j + 1);
            return [
                lens.rangeOf(values, "per-map", {}),
                lens.rangeOf(values.map((v) => -v), "per-map", { signed: true }),
            ];
        }"""
    )
    assert found[0] == {"low": 1, "high": 198, "log": False}
    assert found[1] == {"low": -198, "high": 198, "log": False}
    page.get_by_label("Scale", exact=True).select_option("per-map")
    badge = page.locator('[data-panel="whole"] .badge').inner_text()
    assert badge.startswith("rescaled to this map alone, up to its 99th percentile")
    assert page.locator(".scale:visible").count() == 3, "each has its own bar"


def test_small_islands_are_left_out_of_contours(page, generator):
    mount(page, packed(random_record(generator)))
    found = page.evaluate(
        """() => {
            const grid = { height: 3, width: 5 };
            const cells = [1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 0];
            const least = (n) => Array.from(lens.withoutIslands((j) => cells[j] === 1, grid, n));
            return [least(1), least(2), least(3), least(4)];
        }"""
    )
    assert found[0] == [1, 1, 0, 0, 1, 1, 0, 0, 0, 0, 0, 0, 1, 1, 0]
    assert found[1] == [1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 1, 1, 0], "row ends do not touch"
    assert found[2] == [1, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]
    assert found[3] == [0] * 15


def test_the_strongest_keys_are_chips_that_light_their_cells(page, generator):
    record = random_record(generator, scale=1.0)
    mount(page, packed(record))
    click(page, 28, 20)
    values, keys = (terms.attention(record, [17])[0] * KEYS).topk(5)
    chips = page.locator(".chip:visible")
    assert chips.count() == 5
    x, y = record.key_grid.center(record.key_grid.cell(int(keys[0])))
    assert chips.first.inner_text().startswith(f"x {int(x)}, y {int(y)} ")
    shown = float(chips.first.inner_text().split()[-1].rstrip("×"))
    assert shown == pytest.approx(float(values[0]), rel=1e-2)
    before = page.locator('[data-panel="whole"] .marks path').count()
    chips.first.hover()
    assert page.locator('[data-panel="whole"] .marks path').count() == before + 2
    chips.first.click()
    assert page.evaluate("viewer.selection.cursor") == {"x": x, "y": y}


def test_where_all_values_tie_no_key_stands_out(page, generator):
    mount(page, packed(random_record(generator, scale=0.0)))
    assert page.locator(".chip:visible").count() == 0
    assert "none stands out" in page.locator(".keys-title").inner_text()


def test_the_class_under_the_cursor_stands_beside_it(page, generator):
    output = torch.zeros(1, 11, 40, 56)
    output[:, 4] = 9.0
    mount(page, packed(random_record(generator), output=output))
    stage(page, "photo").hover(position={"x": 40, "y": 40})
    name = page.evaluate("viewer.leading.spec.classes[4].name")
    assert page.locator('[data-panel="photo"] .marks text').all_text_contents() == [name]
    page.mouse.move(5, 5)
    assert page.locator('[data-panel="photo"] .marks text').count() == 0


def test_query_dependence_is_a_map_of_the_divergence_from_the_mean_row(page, generator):
    for options in KINDS.values():
        record = random_record(generator, **options)
        mount(page, packed(record, view=View(terms=("whole", "dependence"))))
        page.wait_for_function(
            "viewer.panels.find(({ name }) => name === 'dependence').values !== null"
        )
        found = page.evaluate(
            "Array.from(viewer.panels.find(({ name }) => name === 'dependence').values)"
        )
        expected = query_map.divergence_from_mean_bits(record).numpy()
        scale = max(1e-3, float(np.nanmax(expected)))
        np.testing.assert_allclose(found, expected, rtol=3e-2, atol=1e-2 * scale)
        page.evaluate("viewer.destroy(); delete document.body.nonlocalLens")


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


def test_on_a_phone_photo_and_map_are_in_view_together(chromium, generator):
    phone = {"width": 390, "height": 844}
    context = chromium.new_context(has_touch=True, is_mobile=True, viewport=phone)
    page = context.new_page()
    page.set_content('<meta name="viewport" content="width=device-width, initial-scale=1">')
    mount(page, packed(random_record(generator)))
    photo, whole = (box_of(stage(page, name)) for name in ("photo", "whole"))
    assert photo["y"] >= 0
    assert whole["y"] + whole["height"] <= 844
    assert page.evaluate("document.documentElement.scrollHeight") <= 2 * 844
    assert page.locator('[data-panel="photo"] .value').inner_text() == "tap to pin"
    page.get_by_role("button", name="Unary term").click()
    page.wait_for_function("document.querySelector('.maps').scrollLeft > 600")
    page.evaluate("scrollTo(0, 300)")
    assert box_of(stage(page))["y"] >= 0, "the photo stays"
    context.close()


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


def test_a_view_that_is_given_is_the_one_that_is_told(page, generator):
    view = View(
        queries=(Query(((4.0, 4.0),), "a"), Query(((12.0, 4.0),))),
        active=0,
        scale="fixed",
        fixed=2.5,
        gray=False,
        arrows=True,
        arrow_count=7,
        contours=True,
        exclude=1.5,
    )
    mount(page, packed(random_record(generator), view=view))
    told = page.evaluate("viewer.describeView()")
    given = json.loads(json.dumps(view.as_json()))
    assert {name: told[name] for name in given} == given
    assert page.locator(".queries li.active").inner_text().startswith("1")
    open_menu(page, "Marks")
    assert page.get_by_label("Arrows to the strongest: how many").input_value() == "7"


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


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(blank, generator, scheme):
    from axe_playwright_python.sync_playwright import Axe

    page = blank(scheme=scheme)
    two = (random_record(generator), random_record(generator, "disentangled"))
    mount(page, packed(*two, view=View(difference=(0, 1))))
    page.add_style_tag(content=":root { color-scheme: light dark; background: Canvas }")
    click(page, 4, 4)
    click(page, 28, 20, modifiers=["Shift"])
    open_menu(page, "View")
    found = Axe().run(page).response["violations"]
    serious = [
        (one["id"], [node["html"] for node in one["nodes"]])
        for one in found
        if one["impact"] in ("serious", "critical")
    ]
    assert serious == []


def saved(page, button):
    open_menu(page, "Save")
    with page.expect_download() as download:
        page.get_by_role("button", name=button).click()
    page.keyboard.press("Escape")
    return download.value


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


def test_modules_are_joined_in_order_without_imports():
    assert not re.search(r"^import\b", viewer_js(), re.MULTILINE)
    assert viewer_js().count("export default") == 1


@pytest.mark.parametrize(
    ("files", "sentence"),
    [
        ({"a.js": 'import { b } from "./b.js";\n', "b.js": ""}, "a.js must import from earlier"),
        ({"a.js": 'import b from "./b.js";\n', "b.js": ""}, "a.js must import as"),
        ({"a.js": "export { b };\n"}, "a.js must import as"),
        ({"a.js": "const one = 1;\n", "b.js": "export function one() {}\n"}, "'one' is declared"),
    ],
)
def test_what_would_break_when_joined_is_refused(tmp_path, files, sentence):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=re.escape(sentence)):
        joined([tmp_path / name for name in files])
