"""The Degeneracy page and what it is made of: measuring in the background, tables, charts."""

import gc
import io
import threading
from functools import partial

import numpy as np
import pandas as pd
import pytest
from networks import tiny_network
from streamlit.testing.v1 import AppTest
from test_images import encoded

from analysis import consistency, degeneracy
from analysis.capture import capture
from app.pictures import Picture, uploaded_picture
from app.survey import charts
from app.survey.measure import measure
from app.survey.run import Item, Plan, Survey
from app.survey.tables import csv_bytes, parquet_bytes, per_network, per_picture

CLASSES = ("a", "b", "c")


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
    (row,), class_rows = measure("tiny", network, seen, CLASSES)
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
    (row,), class_rows = measure("tiny", tiny_network("non_local"), picture(0, False), CLASSES)
    assert "miou" not in row
    assert not class_rows
    (row,), _ = measure("tiny", tiny_network("non_local"), picture(0), ("x", "y", "z"))
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
        {"item": 0, "network": network, "block": block, "head": head, "verdict": "Degenerate: x."}
        for network, block, head in [("a", "b1", 0), ("a", "b1", 1), ("a", "b2", 0), ("c", "b1", 0)]
    ]
    names = list(per_picture(rows)["series"])
    assert names == ["a · b1, head 0", "a · b1, head 1", "a · b2, head 0", "c"]


def test_files_hold_all_numbers_and_no_handles(measured):
    table = per_picture(measured.results.rows)
    read = pd.read_csv(io.BytesIO(csv_bytes(table)))
    assert list(read["input"]) == ["noise-0.png"] * 2 + ["noise-1.png"] * 2 + ["noise-2.png"] * 2
    assert {"item", "source", "series"}.isdisjoint(read.columns)
    assert {"query_information_bits_shuffled", "whole_own_category_lift"} <= set(read.columns)
    exact = pd.read_parquet(io.BytesIO(parquet_bytes(table)))
    assert list(exact["unary_share"]) == list(table["unary_share"])
    np.testing.assert_allclose(read["unary_share"], table["unary_share"])


def test_charts_are_of_the_table(measured):
    table = per_picture(measured.results.rows)
    labeled = per_picture(measured.results.class_rows)
    drawn = charts.distribution(table, "entropy_bits").to_dict()
    assert drawn["layer"][0]["encoding"]["x"]["title"] == "Row entropy (bits)"
    (rows,) = charts.share_against_information(table).to_dict()["datasets"].values()
    assert len(rows) == 6
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


def test_the_page_opens_with_something_to_measure(page):
    page.run()
    assert not page.exception
    assert page.button[0].label == "Measure 5 pictures"
    assert not page.button[0].disabled
    page.multiselect(key="survey-networks").set_value([]).run()
    assert page.button[0].disabled
    assert "at least one network" in page.info[0].value
    page.segmented_control(key="survey-kind").set_value("Rendered streets").run()
    page.number_input(key="survey-count").set_value(17).run()
    assert page.button[0].label == "Measure 17 pictures"


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


def test_where_nothing_could_be_measured_the_page_says_so(page):
    page.session_state["survey"] = survey(("gone",), (item(0),))
    page.run()
    assert not page.exception
    assert "Nothing could be measured" in page.warning[0].value


def test_labels_without_a_picture_are_named(page):
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
