"""The Degeneracy page and what it is made of: measuring in the background, tables, charts."""

import gc
import io
import json
import threading
from functools import partial

import numpy as np
import pandas as pd
import pytest
from networks import tiny_network
from streamlit.testing.v1 import AppTest
from test_images import encoded

from nonlocal_lens.analysis import consistency, degeneracy
from nonlocal_lens.analysis.capture import capture
from nonlocal_lens.app.components.board import PICKED, read_items
from nonlocal_lens.app.pictures import Picture, uploaded_picture
from nonlocal_lens.app.survey import charts, run
from nonlocal_lens.app.survey.at_a_glance import MOST_PICTURES, MOST_SERIES, board_data
from nonlocal_lens.app.survey.independence import independence_sentences
from nonlocal_lens.app.survey.measure import measure
from nonlocal_lens.app.survey.paired import paired_difference, paired_sentence
from nonlocal_lens.app.survey.run import Item, Plan, Results, Survey
from nonlocal_lens.app.survey.tables import csv_bytes, parquet_bytes, per_network, per_picture

pytestmark = pytest.mark.slow

CLASSES = ("a", "b", "c")

ONE_PART = {"block": "b", "call": 0, "head": None}


def picture(seed, labeled=True):
    rng = np.random.default_rng(seed)
    image = rng.integers(0, 256, (40, 56, 3), dtype=np.uint8)
    labels = np.repeat(np.repeat(rng.integers(0, 5, (5, 7), dtype=np.uint8), 8, 0), 8, 1)
    return Picture(
        f"noise-{seed}", image, "Noise", f"noise-{seed}.png", labels if labeled else None
    )


def item(seed, labeled=True):
    return Item(f"noise-{seed}.png", partial(picture, seed, labeled))


def broken():
    raise ValueError("noise.png is damaged or incomplete: nobody knows")


def load(source):
    if source == "gone":
        raise FileNotFoundError("there is no file gone")
    return tiny_network(None if source == "plain" else source)


def survey(networks=("non_local", "disentangled"), items=None):
    items = tuple(map(item, range(3))) if items is None else items
    done = Survey(Plan(tuple(networks), items, CLASSES), load)
    done.wait(300)
    return done


@pytest.fixture(scope="module")
def measured():
    return survey()


def test_a_row_holds_what_analysis_measures():
    network, seen = tiny_network("non_local"), picture(0)
    (row,), class_rows, records = measure("tiny", network, seen, CLASSES)
    assert [one.block for one in records] == [row["block"]]
    (record,) = capture(network, seen.image)
    report = degeneracy.measure(record)
    for name in degeneracy.STATISTICS:
        if name not in ("input_cosine_distance", "output_cosine_distance"):
            assert row[name] == pytest.approx(getattr(report, name), nan_ok=True)
    assert 0 <= row["input_cosine_distance"] <= 0.5
    assert row["cosine_distance_mean_row"] == 0
    assert row["unary_share_mean_row"] == 1
    own = consistency.measure(record, seen.labels, 3, term="pairwise").own_category
    assert row["pairwise_own_category_lift"] == own.lift
    assert 0 <= row["miou"] <= 1
    assert {one["class"] for one in class_rows} <= set(CLASSES)
    assert sum(one["queries"] for one in class_rows if one["term"] == "whole") == own.queries


def test_without_labels_or_with_other_classes_there_is_no_miou():
    (row,), class_rows, _ = measure("tiny", tiny_network("non_local"), picture(0, False), CLASSES)
    assert "miou" not in row
    assert not class_rows
    (row,), _, _ = measure("tiny", tiny_network("non_local"), picture(0), ("x", "y", "z"))
    assert np.isnan(row["miou"])


def test_every_network_meets_every_picture_in_order(measured):
    pairs = [(row["source"], row["item"]) for row in measured.results.rows]
    assert pairs == [(name, index) for index in range(3) for name in ("non_local", "disentangled")]
    assert measured.results.done == measured.plan.total == 6
    assert not measured.results.errors
    assert not measured.running
    assert measured.seconds_left == 0


def test_what_is_broken_is_listed_and_the_rest_goes_on():
    done = survey(("gone", "non_local", "plain"), (item(0), Item("noise.png", broken), item(1)))
    assert [row["item"] for row in done.results.rows] == [0, 2]
    assert done.results.done == done.plan.total == 9
    assert done.results.errors == [
        {"input": "every picture", "network": "gone", "error": "there is no file gone"},
        {
            "input": "noise-0.png",
            "network": "plain",
            "error": "plain has no attention block to measure",
        },
        {
            "input": "noise.png",
            "network": "",
            "error": "noise.png is damaged or incomplete: nobody knows",
        },
        {
            "input": "noise-1.png",
            "network": "plain",
            "error": "plain has no attention block to measure",
        },
    ]


@pytest.mark.parametrize("how", ["cancelled", "forgotten"])
def test_it_stops_when_cancelled_and_when_nobody_holds_it(how):
    reached, go_on, read = threading.Event(), threading.Event(), []

    def waiting(index):
        read.append(index)
        reached.set()
        go_on.wait(60)
        return picture(index)

    items = tuple(Item(str(index), partial(waiting, index)) for index in range(50))
    begun = Survey(Plan(("non_local",), items, CLASSES), load)
    thread, results = begun._thread, begun.results
    assert reached.wait(60)
    if how == "cancelled":
        begun.cancel()
        assert begun.cancelled
    del begun
    gc.collect()
    go_on.set()
    thread.join(60)
    assert not thread.is_alive()
    assert read == [0]
    assert not results.rows


def test_means_are_over_pictures(measured):
    table = per_picture(measured.results.rows)
    means = per_network(table)
    assert list(means["series"]) == ["non_local", "disentangled"]
    assert list(means["pictures"]) == [3, 3]
    shares = [r["unary_share"] for r in measured.results.rows if r["source"] == "non_local"]
    assert means["unary_share"][0] == pytest.approx(np.mean(shares))
    assert means["verdict"][0].split()[0] in ("Degenerate", "Partly", "Query-dependent")


def test_blocks_and_heads_are_told_apart_where_there_are_several():
    rows = [
        {"item": 0, "network": network, "block": block, "call": 0, "head": head, "verdict": "No."}
        for network, block, head in [("a", "b1", 0), ("a", "b1", 1), ("a", "b2", 0), ("c", "b1", 0)]
    ]
    names = list(per_picture(rows)["series"])
    assert names == ["a · b1, head 0", "a · b1, head 1", "a · b2, head 0", "c"]


def test_files_hold_all_numbers_and_no_handles(measured):
    table = per_picture(measured.results.rows)
    read = pd.read_csv(io.BytesIO(csv_bytes(table)))
    assert list(read["input"]) == ["noise-0.png"] * 2 + ["noise-1.png"] * 2 + ["noise-2.png"] * 2
    assert {"item", "source", "series"}.isdisjoint(read.columns)
    assert {"query_information_bits_shuffled", "own_category_lift"} <= set(read.columns)
    exact = pd.read_parquet(io.BytesIO(parquet_bytes(table)))
    assert list(exact["unary_share"]) == list(table["unary_share"])
    np.testing.assert_allclose(read["unary_share"], table["unary_share"])


def test_charts_are_of_the_table(measured):
    table = per_picture(measured.results.rows)
    labeled = per_picture(measured.results.class_rows)
    (bars,) = charts.gcnet_bars(table).to_dict()["datasets"].values()
    assert {bar["of"] for bar in bars} == {"input", "output", "attention"}
    lifts = charts.lift_by_class(labeled, "pairwise").to_dict()
    assert {"lift": 1.0} in next(rows for rows in lifts["datasets"].values() if len(rows) == 1)


def test_labels_come_with_a_picture_or_a_sentence():
    image, labels = picture(3).image, picture(3).labels
    as_png = [encoded(array) for array in map(pil, (image, labels))]
    brought = uploaded_picture(as_png[0], "a.png", as_png[1])
    assert np.array_equal(brought.labels, labels)
    assert brought.id != uploaded_picture(as_png[0], "a.png").id
    with pytest.raises(ValueError, match=r"picture's size \(40, 56\), got uint8 of shape \(9, 8\)"):
        uploaded_picture(as_png[0], "a.png", encoded(pil(labels[:9, :8])))
    with pytest.raises(ValueError, match="the labels are no image"):
        uploaded_picture(as_png[0], "a.png", b"no")


def pil(array):
    from PIL import Image

    return Image.fromarray(array)


@pytest.fixture
def page():
    return AppTest.from_file("../app/screens/degeneracy.py", default_timeout=120)


def test_a_paired_difference_is_of_pictures_that_both_have():
    rows = [
        {"item": item, "network": name, **ONE_PART, "unary_share": value}
        for item, name, value in [
            *((0, "a", 0.5), (0, "c", 0.25), (1, "a", 0.75), (1, "c", 0.25)),
            *((2, "a", 1.0), (3, "c", 0.0), (4, "a", float("nan")), (4, "c", 0.5)),
        ]
    ]
    found = paired_difference(per_picture(rows), "unary_share", "a", "c")
    assert found.by_item == {0: 0.25, 1: 0.5}
    assert found.interval.mean == 0.375
    assert (found.larger, found.interval.numbers) == (2, 2)
    swapped = paired_difference(per_picture(rows), "unary_share", "c", "a")
    assert swapped.by_item == {0: -0.25, 1: -0.5}


@pytest.mark.parametrize(
    ("pairs", "words"),
    [
        ([], "No picture was measured with both"),
        ([(3, 1)], "has <b>2 bits more</b> than <b>c</b>; one picture has no interval"),
        ([(3, 1), (4, 1)], "more in all 2 pictures): too few pictures to tell"),
        ([(3, 1), (4, 1), (5, 2)], "more in all 3 pictures): the interval leaves 0 out"),
        ([(1, 3), (1, 4), (2, 5)], "bits less</b>"),
        ([(1, 2), (2, 1), (1, 1)], "no difference that is sure"),
    ],
)
def test_a_paired_difference_is_said_in_a_sentence(pairs, words):
    name = "query_information_bits"
    rows = [
        {"item": item, "network": network, **ONE_PART, name: float(value)}
        for item, pair in enumerate(pairs or [(1, np.nan)])
        for network, value in zip("ac", pair, strict=True)
    ]
    said = paired_sentence(paired_difference(per_picture(rows), name, "a", "c"))
    assert words in said
    assert said.endswith(".")


def test_unary_maps_are_kept_and_said_to_be_the_same_or_not(measured):
    maps = measured.results.unary_maps
    assert {part[0] for part in maps} == {"non_local", "disentangled"}
    named = {part[0]: found for part, found in maps.items()}
    share = named["disentangled"].independence().share
    (said,) = independence_sentences(named, ["disentangled"])
    assert f"<b>{share:.0%}</b>" in said
    assert "33% is chance, over 3 pictures" in said
    (said,) = independence_sentences({"a": None}, ["a"])
    assert "of pictures of one size" in said


def test_pictures_of_two_sizes_have_no_common_unary_map():
    def wide():
        return Picture("wide", np.zeros((40, 80, 3), np.uint8), "Wide", "wide.png")

    done = survey(("non_local",), (item(0, False), Item("wide.png", wide), item(1, False)))
    assert len(done.results.rows) == 3
    assert list(done.results.unary_maps.values()) == [None]


def test_the_board_has_every_number_and_nothing_that_json_has_not(measured):
    table = per_picture(measured.results.rows)
    paired = paired_difference(table, "unary_share", "non_local", "disentangled")
    data = board_data(table, "unary_share", paired, measured.results.thumbnails)
    text = json.dumps(data, allow_nan=False)
    assert text.count("data:image/jpeg;base64,") == 3
    assert [one["name"] for one in data["series"]] == ["non_local", "disentangled"]
    assert [(row["item"], row["series"]) for row in data["rows"]] == [
        (item, series) for item in range(3) for series in range(2)
    ]
    first = measured.results.rows[0]
    assert data["rows"][0]["value"] == first["unary_share"]
    assert data["rows"][0]["query"] == first["query_information_bits"]
    assert data["known"]["degenerate"] == "high"
    assert dict(data["difference"]["values"]) == paired.by_item


def test_a_board_of_very_much_says_a_part_of_it():
    rows = [
        {
            **{"item": item, "network": f"n{series}", **ONE_PART, "input": "x"},
            **{"unary_bits": np.nan, "query_information_bits": np.nan, "unary_share": 0.5},
            "verdict": "Undefined.",
        }
        for item in range(MOST_PICTURES + 3)
        for series in range(MOST_SERIES + 2)
    ]
    data = board_data(per_picture(rows), "unary_share", None, {})
    assert len(data["series"]) == MOST_SERIES
    assert len(data["pictures"]) == MOST_PICTURES
    assert len(data["rows"]) == MOST_SERIES * MOST_PICTURES
    assert data["rows"][0]["unary"] is None
    json.dumps(data, allow_nan=False)


@pytest.mark.parametrize(
    ("said", "read"),
    [([3, 1, 3], [1, 3]), (None, []), ("12", []), ([True, -1, "4", 2.0, 10**9, 5], [5])],
)
def test_a_browser_names_pictures_or_nothing(said, read):
    assert read_items(said) == read


def small(page):
    """Let the page measure two noisy pictures instead of streets."""
    page.session_state["survey"] = survey(("non_local", "disentangled"), (item(0), item(1)))
    return page


def test_the_page_begins_by_itself_with_something_small(page, monkeypatch):
    plans = []

    class Begun:
        running, cancelled, number, seconds_left, ahead = False, False, 0, 0.0, 0

        def __init__(self, plan, tab):
            plans.append(plan)
            self.plan, self.results = plan, Results()

    monkeypatch.setattr(run, "Survey", Begun)
    page.run()
    assert not page.exception
    (plan,) = plans
    assert plan.networks == ("streets-dnl", "streets-nl")
    assert [one.name for one in plan.items] == [f"street {2_000_000 + n}" for n in range(6)]


def test_what_is_large_waits_for_a_click(page):
    page.query_params["count"] = "5000"
    page.query_params["pictures"] = "rendered-streets"
    page.run()
    assert not page.exception
    assert page.button[0].label == "Measure 5000 pictures"
    assert not page.button[0].disabled
    assert "survey" not in page.session_state
    page.multiselect(key="survey-networks").set_value([]).run()
    assert page.button[0].disabled
    assert "at least one network" in page.info[0].value


def test_the_page_shows_what_was_measured_and_what_was_not(page):
    done = survey(("non_local",), (item(0), Item("noise.png", broken)))
    page.session_state["survey"] = done
    page.run()
    assert not page.exception
    failed, means, pictures = (frame.value for frame in page.dataframe)
    assert list(failed["input"]) == ["noise.png"]
    assert list(means["pictures"]) == [1]
    assert list(pictures["input"]) == ["noise-0.png"]
    page.selectbox(key="survey-statistic").set_value("entropy_bits").run()
    assert not page.exception


def test_everything_chosen_is_in_the_address(page):
    small(page).run()
    page.selectbox(key="survey-statistic").set_value("entropy_bits").run()
    page.selectbox(key="survey-one").set_value("disentangled").run()
    assert not page.exception
    assert page.query_params["statistic"] == "entropy_bits"
    assert page.query_params["of"] == "disentangled"
    again = AppTest.from_file("../app/screens/degeneracy.py", default_timeout=120)
    for name, value in page.query_params.items():
        again.query_params[name] = value
    again.query_params["picked"] = "0-1"
    small(again).run()
    assert again.selectbox(key="survey-statistic").value == "entropy_bits"
    assert again.selectbox(key="survey-one").value == "disentangled"
    assert again.session_state["choices"][PICKED] == [0, 1]
    assert again.query_params["picked"] == "0-1"


def test_where_nothing_could_be_measured_the_page_says_so(page):
    page.session_state["survey"] = survey(("gone",), (item(0),))
    page.run()
    assert not page.exception
    assert "Nothing could be measured" in page.warning[0].value


def test_labels_without_a_picture_are_named(page):
    page.session_state["survey"] = survey(("gone",), (item(0),))
    page.run()
    page.segmented_control(key="survey-kind").set_value("Your own").run()
    assert page.button[0].disabled
    image = encoded(pil(picture(0).image))
    page.file_uploader(key="pictures-files").set_value([("a.png", image, "image/png")]).run()
    labels = encoded(pil(picture(0).labels))
    files = [("a.png", labels, "image/png"), ("b.png", labels, "image/png")]
    page.file_uploader(key="labels-files").set_value(files).run()
    assert not page.exception
    assert page.button[0].label == "Measure 1 picture"
    assert "b" in page.warning[0].value
