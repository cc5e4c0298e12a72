"""What the viewer computes without a page: geometry, ranges, colors, numbers as text."""

import numpy as np
import pytest
from records import random_record
from test_strongest import CASES
from viewing import mount, packed

from nonlocal_lens.app.viewer.bundle import viewer_js

pytestmark = pytest.mark.browser


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
                deepest: lens.clampedView({ zoom: 99, left: 0, top: 1 }),
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
    assert results["deepest"] == {"zoom": 16, "left": 0, "top": 1 - 1 / 16}
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


def test_the_pure_parts_of_the_viewer(blank):
    page, source = blank(), viewer_js()
    results = page.evaluate(
        """async (source) => {
            const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
            const lens = await import(url);
            const out = new Float32Array(3);
            lens.softmaxInMultiplesOfUniform(Float32Array.of(1000, 1000, -Infinity), out);
            const grid = { height: 2, width: 3, cell_height: 10, cell_width: 20 };
            const moved = { ...grid, offset: [-3, -4] };
            const pixels = new Uint32Array(4);
            const palette = Uint32Array.from({ length: 256 }, (_, level) => level);
            const range = { low: 0, high: 2, log: false };
            const clipped = lens.colorize(Float32Array.of(-1, 1, 5, NaN), range, palette, pixels);
            return {
                softmax: Array.from(out),
                positions: [[0, 0], [59.9, 19.9], [60, 0], [0, 20], [-1, 0]].map(
                    ([x, y]) => lens.positionAt({ x, y }, grid)),
                center: lens.centerOf(4, grid),
                moved: [[0, 0], [15.9, 0], [16, 6], [59, 17]].map(
                    ([x, y]) => lens.positionAt({ x, y }, moved)),
                movedCenter: lens.centerOf(4, moved),
                disc: lens.sumWithin([1, 2, 4, 8, 16, 32], moved, { x: 26, y: 12 }, 11),
                rank: [lens.rankOf([5, 1, 9, 5], 0), lens.rankOf([5, 1, 9, 5], 2)],
                pixels: Array.from(pixels),
                clipped,
                perMap: lens.rangeOf([3, 1, 2], "per-map", {}),
                flat: lens.levelOf(1, lens.rangeOf([1, 1], "per-map", {})),
                log: [0.01, 1, 100].map(
                    (value) => lens.levelOf(value, lens.rangeOf([], "log", { peak: 100 }))),
                texts: [0, 0.01234, 1, 12.34, 1234.5, 0.00001234].map(lens.formatValue),
            };
        }""",
        source,
    )
    assert results["softmax"] == [1.5, 1.5, 0]
    assert results["positions"] == [0, 5, None, None, None]
    assert results["center"] == {"x": 30, "y": 15}
    assert results["moved"] == [0, 0, 1, 5]
    assert results["movedCenter"] == {"x": 26, "y": 12}
    assert results["disc"] == 2 + 16
    assert results["rank"] == [2, 1]
    assert results["pixels"] == [0, 128, 255, 0xFFFF00FF], "NaN is visible"
    assert results["clipped"] == 1
    assert results["perMap"] == {"low": 1, "high": 3, "log": False}
    assert results["flat"] == 0
    assert results["log"] == pytest.approx([0, 0.5, 1])
    assert results["texts"] == ["0", "0.0123", "1", "12.3", "1235", "1.23e-5"]


def test_half_precision_is_widened_exactly(blank):
    page, source = blank(), viewer_js()
    from safetensors.numpy import save

    bits = np.arange(0, 65536, 7, dtype=np.uint16)
    halves = bits.view(np.float16)
    payload = b"\0" * 3 + save(
        {"0.key": halves}, metadata={"config": "{}"}
    )  # not aligned, as from a socket
    shown = page.evaluate(
        """async ([source, bytes]) => {
            const url = URL.createObjectURL(new Blob([source], { type: "text/javascript" }));
            const { parse } = await import(url);
            const { tensors } = parse(Uint8Array.from(bytes).subarray(3));
            return Array.from(tensors["0.key"], String);
        }""",
        [source, list(payload)],
    )
    np.testing.assert_array_equal(np.array(shown, np.float32), halves.astype(np.float32))


def test_what_lies_on_a_bound_is_within_and_beyond_is_counted(page, generator):
    mount(page, packed(random_record(generator)))
    found = page.evaluate(
        """() => {
            const palette = Uint32Array.from({ length: 256 }, (_, level) => level);
            const counted = (values, range) =>
                lens.colorize(Float32Array.from(values), range, palette, new Uint32Array(9));
            return {
                clipped: [
                    counted([0, 2, 2.5, -1], { low: 0, high: 2, log: false }),
                    counted([-2, 2, -2.5, 2.5], { low: -2, high: 2, log: false }),
                ],
                percentiles: [0, 0.25, 0.26, 1].map(
                    (share) => lens.percentile([1, 2, 3, 4], share)),
                empty: lens.percentile([], 0.5),
                log: lens.rangeOf([], "log", { peak: 3 }),
                fixedAtNothing: lens.rangeOf([], "fixed", { scale_top: 3, fixed: 0 }),
                flat: lens.rangeOf([2, 2], "per-map", {}).high > 2,
                nothing: lens.rangeOf([NaN], "per-map", { signed: true }),
                scales: [false, true].map((on) => lens.sharedScale(
                    [{ scale_top: 3, peak: 9, picture_peak: 4 }, { scale_top: 5, peak: 6 }], on)),
                word: lens.paletteWords([...Array(768).fill(0), 1, 2, 3], 1)[0],
                faded: [false, true].map((signed) =>
                    Array.from(lens.faded(palette, signed), (word) => word >>> 24)),
                texts: [1e-4, -1e-4, 9e-5, 999.6, 1000, -1234.5, NaN].map(lens.formatValue),
                pins: [0, 7, 8].map(lens.pinColor),
            };
        }"""
    )
    assert found["clipped"] == [1, 2]
    assert found["percentiles"] == [1, 1, 2, 4]
    assert found["empty"] == 0
    assert found["log"] == {"low": 0.01, "high": 10, "log": True}
    assert found["fixedAtNothing"]["high"] == 3
    assert found["flat"]
    assert found["nothing"] == {"low": -1e-6, "high": 1e-6, "log": False}
    assert found["scales"] == [{"scale_top": 5, "peak": 9}, {"scale_top": 5, "peak": 6}]
    assert found["word"] == 0xFF030201
    whole, signed = found["faded"]
    assert whole == list(range(256))
    assert (signed[0], signed[127], signed[128], signed[255]) == (255, 1, 1, 255)
    assert signed == signed[::-1]
    assert found["texts"] == ["0.0001", "-0.0001", "9.00e-5", "1000", "1000", "-1234", "NaN"]
    assert found["pins"] == ["#e69f00", "#ffffff", "#e69f00"]


def test_axes_give_cells_tokens_and_back(page, generator):
    mount(page, packed(random_record(generator)))
    found = page.evaluate(
        """() => {
            const grid = { height: 2, width: 3, cell_height: 10, cell_width: 20, frames: 2 };
            const some = new lens.Axis(grid, ["class", "register"], Int32Array.of(1, 5, 8));
            const all = new lens.Axis(grid, ["class"]);
            const point = (x, y) => [{ x, y }];
            return {
                sizes: [some, all].map(({ size, placed, length }) => [size, placed, length]),
                at: [0, 1, 5, 8, 11].map((cell) => some.at(cell)),
                beyond: [all.at(-1), all.at(11), all.at(12)],
                index: [some.index("register"), all.index("class"), all.index("word")],
                name: [some.name(2), some.name(3), some.name(4)],
                cell: [some.cell(2), some.cell(3), all.cell(11), all.cell(12)],
                of: [
                    some.indicesOf({ points: point(30, 5) }),
                    some.indicesOf({ points: point(30, 5) }, 1),
                    some.indicesOf({ points: point(50, 5) }, 1),
                    some.indicesOf({ points: [], token: "register" }),
                    some.indicesOf({ points: [], token: "word" }),
                    all.indicesOf({ points: point(50, 15) }, 1),
                ],
                laid: Array.from(
                    some.laid(Float32Array.of(7, 8, 9, 1, 2), 1, new Float32Array(6)), String),
                whole: Array.from(all.laid(Float32Array.from({ length: 13 }, (_, j) => j), 1)),
                absent: [Array.from(some.absent(0)), Array.from(some.absent(1)), all.absent(0)],
            };
        }"""
    )
    assert found["sizes"] == [[6, 3, 5], [6, 12, 13]]
    assert found["at"] == [None, 0, 1, 2, None]
    assert found["beyond"] == [None, 11, None]
    assert found["index"] == [4, 12, None]
    assert found["name"] == [None, "class", "register"]
    assert found["cell"] == [8, None, 11, None]
    assert found["of"] == [[0], [], [2], [4], [], [11]]
    assert found["laid"] == ["NaN", "NaN", "9", "NaN", "NaN", "NaN"]
    assert found["whole"] == [6, 7, 8, 9, 10, 11]
    assert found["absent"] == [[1, 0, 1, 1, 1, 0], [1, 1, 0, 1, 1, 1], None]


def test_places_are_told_to_the_tenth_of_a_pixel(page, generator):
    mount(page, packed(random_record(generator)))
    page.evaluate("viewer.applyView({ queries: [{ points: [[12.34, 7.36]] }] }, {})")
    assert page.evaluate("viewer.describeView().queries[0].points") == [[12.3, 7.4]]
