"""What pages draw themselves: maps over photographs, ranges with marks, classes in color."""

import re
from dataclasses import replace
from html import escape
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from records import random_record

from nonlocal_lens.analysis import degeneracy, terms
from nonlocal_lens.analysis.catalog import OURS
from nonlocal_lens.analysis.grid import Grid
from nonlocal_lens.analysis.render import NOT_A_NUMBER, palette_table
from nonlocal_lens.app.components.painting import (
    LONG_SIDE,
    class_colors,
    class_legend,
    painted,
    reduced,
)
from nonlocal_lens.app.components.range_bar import number_text, range_bar, share
from nonlocal_lens.app.components.statistics_panel import (
    OTHERS,
    grouped_statistics,
    sink_in_words,
)
from nonlocal_lens.app.components.strongest_keys import WHOLE_WITHOUT_SINK, strongest_keys
from nonlocal_lens.app.components.time_left import TimeLeft, duration
from nonlocal_lens.app.markdown import literal
from nonlocal_lens.app.screens import explore
from nonlocal_lens.streets.classes import STREET_CLASSES

IMAGE = np.full((23, 31, 3), 100, np.uint8)
(COLORS,) = palette_table(("viridis",))


def test_equal_values_have_equal_colors_and_the_ends_are_the_palettes():
    grid = Grid.tiling((23, 31), 2, 3)
    shown = painted(IMAGE, grid, np.array([0.0, 4.0, 2.0, 9.0, 4.0, 0.0]), 4.0, opacity=1)
    assert shown.shape == IMAGE.shape
    np.testing.assert_array_equal(shown[3, 3], COLORS[0])
    np.testing.assert_array_equal(shown[3, 15], COLORS[255])
    np.testing.assert_array_equal(shown[20, 3], COLORS[255])
    np.testing.assert_array_equal(shown[20, 28], COLORS[0])
    np.testing.assert_array_equal(shown[3, 28], COLORS[128])


def test_what_is_unknown_is_visible_and_what_is_uncovered_stays_a_photograph():
    pooled = Grid.tiling((23, 31), 5, 7).subsampled(2, 3)
    values = np.ones(6)
    values[0] = np.nan
    shown = painted(IMAGE, pooled, values, 1.0, opacity=0.5)
    np.testing.assert_array_equal(shown[0, 0], np.rint(0.5 * np.array(NOT_A_NUMBER) + 50))
    np.testing.assert_array_equal(shown[22, 30], IMAGE[22, 30])
    np.testing.assert_array_equal(shown[0, 12], np.rint(0.5 * COLORS[255] + 50))


def test_a_large_picture_is_reduced_and_keeps_its_cells():
    image = np.zeros((1001, 3 * LONG_SIDE, 3), np.uint8)
    shown = painted(image, Grid.tiling(image.shape[:2], 1, 2), np.array([0.0, 1.0]), 1.0, opacity=1)
    assert max(shown.shape) == LONG_SIDE
    np.testing.assert_array_equal(shown[5, LONG_SIDE // 2 - 1], COLORS[0])
    np.testing.assert_array_equal(shown[5, LONG_SIDE // 2], COLORS[255])
    assert set(np.unique(reduced(np.full((2000, 10), 7, np.uint8)))) == {7}


@pytest.mark.parametrize(
    ("value", "low", "high", "expected"),
    [(0, 0, 2, 0), (2, 0, 2, 100), (1.5, 1, 3, 25), (2.1, 0, 2, 100), (float("nan"), 0, 1, 0)],
)
def test_bars_are_true_to_scale(value, low, high, expected):
    assert share(value, low, high) == pytest.approx(expected)


@pytest.mark.parametrize("name", degeneracy.STATISTICS)
def test_a_statistic_stands_on_its_range_with_its_baselines(generator, name):
    report = degeneracy.measure(random_record(generator))
    html = range_bar(report, name)
    low, high = report.bounds(name)
    (width,) = re.findall(r'class="fill" style="width:([\d.]+)%', html)
    assert float(width) == pytest.approx(share(getattr(report, name), low, high), abs=0.01)
    baselines = report.baselines[name]._asdict() if name in report.baselines else {}
    marks = dict(re.findall(r'class="mark (\w+)" style="left:([\d.]+)%', html))
    for which, value in baselines.items():
        if value == value:
            assert float(marks[which]) == pytest.approx(share(value, low, high), abs=0.01)
        else:
            assert which not in marks


@pytest.mark.parametrize("name", degeneracy.STATISTICS)
def test_a_statistic_is_explained_in_a_sentence_and_says_its_direction(generator, name):
    known = degeneracy.STATISTICS[name]
    html = range_bar(degeneracy.measure(random_record(generator)), name)
    if known in OURS:
        assert known.plain.endswith(".")
        assert known.plain.count(". ") == 0, "one sentence"
        assert escape(known.plain) in html
    assert f'href="guide#{name}"' in html
    assert ("more degenerate" in html) == (known.degenerate != "either")
    assert " to inf" not in html


def test_every_statistic_stands_in_one_group(generator):
    groups = grouped_statistics(degeneracy.measure(random_record(generator)))
    names = [name for group in groups.values() for name in group]
    assert len(names) == len(set(names))
    assert OTHERS not in groups


def test_the_key_that_gets_most_is_named_where_it_is(generator):
    record = random_record(generator, "disentangled", scale=0.01)
    planted = torch.zeros(len(record.key), dtype=torch.float64)
    planted[5] = 14.0
    sunk = replace(record, unary=planted)
    x, y = record.key_axis.center(5)
    cell = record.key_grid.cell(5)
    where = f"x {x:.0f}, y {y:.0f} (row {cell.row}, column {cell.col})"
    said = sink_in_words(degeneracy.measure(sunk))
    assert said.startswith(f"The key at {where} is a sink: it takes 5")
    assert said.endswith("% of all attention.")
    said = sink_in_words(degeneracy.measure(record))
    assert said.startswith("No: most attention, ")
    assert said.endswith(", and a sink begins at 30%.")
    signed = random_record(generator, "unnormalized")
    assert sink_in_words(degeneracy.measure(signed)) == ""


def test_explore_names_a_sink_beside_its_sentence_and_above_its_numbers(generator, monkeypatch):
    record = random_record(generator, "disentangled", scale=0.01)
    planted = torch.zeros(len(record.key), dtype=torch.float64)
    planted[5] = 60.0
    value = torch.nn.functional.normalize(torch.rand(len(record.key), 3, generator=generator))
    shown = []
    monkeypatch.setattr(explore.st, "html", shown.append)
    monkeypatch.setattr(explore.st, "markdown", shown.append)
    monkeypatch.setattr(explore.st, "caption", lambda text: None)
    monkeypatch.setattr(explore, "show_statistics", lambda report: None)
    for one in (record, replace(record, unary=planted, value=value)):
        report = degeneracy.measure(one)
        seen = SimpleNamespace(records=[one])
        monkeypatch.setattr(explore.cache, "observation", lambda *_, seen=seen: seen)
        monkeypatch.setattr(explore.cache, "report", lambda *_, report=report: report)
        view = SimpleNamespace(chosen=None, queries=())
        explore.show_headline("streets-dnl", None, 0, view, None)
        explore.show_numbers("streets-dnl", one, report)
    headline, _, no, sunk, _, yes = shown
    assert "sink" not in headline
    assert no.startswith("**Is there a sink?** No")
    assert report.sink_sentence.endswith("and adds the same to every query (a broadcast).")
    assert report.sink_sentence in sunk
    assert yes == f"**Is there a sink?** {literal(report.sink_sentence)}"


def test_the_strongest_keys_stand_beside_the_row_without_the_sink(generator):
    record = random_record(generator, "coupled")
    keys = len(record.key)
    row = terms.attention(record, [4])[0]
    sink = int(row.argmax())
    table = strongest_keys(record, 4, sink)
    assert [line["Whole"] for line in table] == [
        round(weight * keys, 3) for weight in row.sort(descending=True).values[:5].tolist()
    ]
    assert table[0][WHOLE_WITHOUT_SINK] is None, "the sink itself has no weight there"
    second = row.sort(descending=True).values[1].item() / (1 - row[sink].item()) * (keys - 1)
    assert table[1][WHOLE_WITHOUT_SINK] == pytest.approx(second, abs=1e-3)
    assert WHOLE_WITHOUT_SINK not in strongest_keys(record, 4)[0]
    two_softmaxes = random_record(generator, "disentangled")
    assert WHOLE_WITHOUT_SINK not in strongest_keys(two_softmaxes, 4, 3)[0]


def test_numbers_have_as_many_digits_as_they_need():
    texts = [number_text(value) for value in (0, 0.12345, 12.345, 5859.2, float("nan"))]
    assert texts == ["0", "0.123", "12.35", "5859", "undefined"]


def test_street_classes_keep_their_colors_and_others_have_their_own():
    np.testing.assert_array_equal(class_colors(list(STREET_CLASSES)), list(STREET_CLASSES.values()))
    many = class_colors([f"class {index}" for index in range(150)])
    assert len({tuple(color) for color in many.tolist()}) > 100
    assert "&lt;b&gt;" in class_legend(["<b>"], [0])


def test_the_time_left_is_that_of_the_pace_since_the_work_was_first_told_of():
    now = [100.0]
    left = TimeLeft(lambda: now[0])
    assert left.words(60, 100) == "", "what was there before says nothing of the pace"
    now[0] += 1
    assert left.words(62, 100) == "", "too soon to know"
    now[0] += 4
    assert left.words(70, 100) == ", 15 s left"  # 10 in 5 s, 30 to go
    now[0] += 5
    assert left.words(71, None) == "", "nobody knows how much there is"
    assert left.words(100, 100) == ""


@pytest.mark.parametrize(
    ("seconds", "words"), [(0.2, "1 s"), (59.4, "59 s"), (90, "2 min"), (5400, "1.5 h")]
)
def test_a_duration_is_said_in_words_that_fit_its_length(seconds, words):
    assert duration(seconds) == words
