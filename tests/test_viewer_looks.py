"""What the viewer draws in real Chromium: marks, scales, and where things stand."""

import re

import numpy as np
import pytest
from browser import box_of
from records import KEYS, random_record
from viewing import click, mount, open_menu, packed, pins, stage

from nonlocal_lens.analysis import terms
from nonlocal_lens.app.viewer.view import View

pytestmark = pytest.mark.browser

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
