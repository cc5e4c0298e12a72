"""The viewer by itself in real Chromium: what it computes is what torch computes."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest
from browser import box_of
from records import KEYS, KINDS, QUERIES, random_record
from viewing import MOUNT, click, encoded, mount, open_menu, packed, pins, stage

from nonlocal_lens.analysis import query_map, terms
from nonlocal_lens.app.viewer.bundle import joined, viewer_css, viewer_js
from nonlocal_lens.app.viewer.payload import with_view
from nonlocal_lens.app.viewer.view import Query, View

pytestmark = pytest.mark.browser


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


def test_the_most_different_pair_is_that_of_the_analysis(page, generator):
    record = random_record(generator, scale=1.0)
    mount(page, packed(record))
    open_menu(page, "Queries")
    page.get_by_role("button", name="Most different pair").click()
    grid = record.query_grid
    expected = [grid.center(grid.cell(at)) for at in query_map.most_different(record)]
    assert [point for (point,) in pins(page)] == [pytest.approx(point) for point in expected]


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
