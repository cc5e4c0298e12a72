"""A query may be all places of a predicted class: asked for, shown, undone, told and linked."""

import numpy as np
import pytest
import torch
from records import KEYS, random_record
from viewing import click, last_told, mount, packed, pins

from nonlocal_lens.analysis import terms
from nonlocal_lens.app.link import read_queries, write_queries
from nonlocal_lens.app.viewer.payload import cell_classes
from nonlocal_lens.app.viewer.view import Query, View, read_query
from nonlocal_lens.streets.classes import STREET_CLASSES

POLE, ROAD = (list(STREET_CLASSES).index(name) for name in ("pole", "road"))
ALL_POLES = Query(((28.0, 20.0),), category="pole")


@pytest.fixture
def record(generator):
    return random_record(generator)


@pytest.fixture
def output():
    """Return the scores of a network that sees a pole in the middle third, road elsewhere."""
    output = torch.zeros(1, len(STREET_CLASSES), 40, 56)
    output[:, ROAD] = 1
    output[:, POLE, :, 16:40] = 2
    return output


def shown(page):
    return np.array(page.evaluate("Array.from(viewer.rows[0].maps[0].whole)"))


@pytest.mark.browser
def test_all_of_a_class_is_the_mean_of_its_rows_and_one_place_again(page, record, output):
    mount(page, packed(record, output=output))
    classes = cell_classes(output, record)
    poles = np.flatnonzero(classes == POLE).tolist()
    assert 1 < len(poles) < len(classes)
    rows = terms.attention(record, poles).mean(dim=0).numpy() * KEYS

    assert page.locator(".chip.all").is_hidden(), "nothing is pinned"
    click(page, 28, 20)
    one = shown(page)
    everything = page.get_by_role("button", name="all pole")
    everything.click()
    np.testing.assert_allclose(shown(page), rows, rtol=1e-2)
    assert not np.allclose(one, rows, rtol=1e-2)
    said = page.locator('[data-field="query"]').inner_text()
    assert said == f"all pole · mean of {len(poles)} cells"
    assert everything.get_attribute("aria-pressed") == "true"
    (told,) = last_told(page)["queries"]
    assert told["category"] == "pole"
    assert told["points"] == [pytest.approx(pins(page)[0][0], abs=0.1)]
    everything.click()
    np.testing.assert_array_equal(shown(page), one)
    page.locator(".panels").press("u")
    np.testing.assert_allclose(shown(page), rows, rtol=1e-2)


@pytest.mark.browser
def test_the_legend_asks_for_a_class_and_the_key_for_the_one_under_the_cursor(page, record, output):
    mount(page, packed(record, output=output, view=View(prediction=True)))
    legend = page.get_by_role("list", name="Predicted classes")
    legend.get_by_role("button", name="road").click()
    classes = cell_classes(output, record)
    road = np.flatnonzero(classes == ROAD).tolist()
    rows = terms.attention(record, road).mean(dim=0).numpy() * KEYS
    np.testing.assert_allclose(shown(page), rows, rtol=1e-2)
    assert legend.get_by_role("button", name="sky").is_disabled(), "there is none"
    legend.get_by_role("button", name="pole").click(modifiers=["Shift"])
    names = page.get_by_role("list", name="Pinned queries").locator(".choose span")
    assert names.all_inner_texts() == ["all road", "all pole"]

    page.locator(".panels").press("Escape")
    click(page, 4, 4)
    page.keyboard.press("s")
    np.testing.assert_allclose(shown(page), rows, rtol=1e-2)


@pytest.mark.browser
def test_a_view_opens_on_all_of_a_class_and_marks_no_other_cell(page, record, output):
    mount(page, packed(record, output=output, view=View(queries=(ALL_POLES,))))
    classes = cell_classes(output, record)
    poles = np.flatnonzero(classes == POLE).tolist()
    rows = terms.attention(record, poles).mean(dim=0).numpy() * KEYS
    np.testing.assert_allclose(shown(page), rows, rtol=1e-2)
    outline = page.evaluate(
        "viewer.panels[0].overlay.querySelector('path').getBBox().width / "
        "viewer.panels[0].stage.getBoundingClientRect().width"
    )
    columns = len(np.unique(np.array(poles) % record.query_grid.width))
    assert outline == pytest.approx(columns / record.query_grid.width, abs=0.02)


def test_a_class_travels_in_links_and_to_the_viewer_and_back():
    both = (ALL_POLES, Query(((1.5, 2.0),)))
    text = write_queries(both)
    assert text == "280-200-pole_15-20"
    assert read_queries(text) == both
    assert read_query(ALL_POLES.as_json()) == ALL_POLES
    assert not ALL_POLES.alone
    assert both[1].alone


@pytest.mark.parametrize(
    "text", ["10-20-30-40-pole", "pole", "10-pole", "10-20-P0le", "10-20-pole-1"]
)
def test_what_is_no_class_is_no_query(text):
    with pytest.raises(ValueError):  # noqa: PT011 - a link says itself what a query must be
        read_queries(text)


@pytest.mark.parametrize("category", [7, "", "Pole", "<b>", "a" * 41])
def test_a_browser_that_names_no_class_means_the_place(category):
    said = {"points": [[1, 2]], "category": category}
    assert read_query(said) == Query(((1.0, 2.0),))
