"""The Compare page, driven without a browser."""

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest
from test_record_file import floats, npz

from nonlocal_lens.app.pictures import sample_picture
from nonlocal_lens.app.shown import SHOWN_PICTURE
from nonlocal_lens.models import list_networks

pytestmark = pytest.mark.slow


@pytest.fixture
def page():
    return AppTest.from_file("../app/screens/compare.py", default_timeout=240)


def test_the_page_opens_on_what_the_paper_compares_and_says_so_in_its_address(page):
    page.run()
    assert not page.exception
    assert page.multiselect(key="compare_networks").value == ["streets-nl", "streets-dnl"]
    assert page.query_params["picture"].startswith("street-")
    assert page.query_params["networks"].startswith("streets-nl~streets-dnl")
    page.multiselect(key="compare_networks").set_value([]).run()
    assert page.info[0].value == "Choose at least one network."


def test_a_link_opens_what_it_names_and_keeps_what_it_says(page):
    page.query_params.update(
        picture="sample-coffee", networks="streets-dnl", q="1200-800_10-10-300-400", scale="log"
    )
    page.run()
    assert not page.exception
    assert not page.warning
    assert page.selectbox(key="compare_picture").value == "coffee"
    assert page.multiselect(key="compare_networks").value == ["streets-dnl"]
    assert page.query_params["q"] == "1200-800_10-10-300-400"
    assert page.query_params["scale"] == "log"


def test_hostile_parameters_are_ignored_with_a_notice(page):
    page.query_params.update(picture="../../etc/passwd", networks="<script>", opacity="9")
    page.run()
    assert not page.exception
    assert len(page.warning) == 3
    said = " ".join(warning.value for warning in page.warning)
    assert "it must be a sample, street-NUMBER, or a hash" in said
    assert page.selectbox(key="compare_picture").value == "Rendered street"


def test_pictures_in_a_link_are_never_fetched(page):
    page.query_params["q"] = "![x](http://evil.test/a.png)"
    page.run()
    assert r"!\[x\](http\://evil.test/a.png)" in page.warning[0].value


def test_a_link_to_an_upload_asks_for_the_file(page):
    page.query_params["picture"] = "0af3" * 16
    page.run()
    assert not page.exception
    assert "choose the same file again" in page.info[0].value


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"query": floats(4, 6, 3), "key": floats(4, 6, 3)}, None),
        ({"query": floats(4, 6, 3)}, "field 'key' is missing"),
    ],
)
def test_own_tensors_are_shown_or_a_sentence_names_the_field(page, fields, sentence):
    page.run()
    page.selectbox(key="compare_picture").set_value("Your own tensors…").run()
    image = np.zeros((64, 96, 3), np.uint8)
    uploader = page.file_uploader(key="compare_Your own tensors…")
    uploader.set_value(("mine.npz", npz(**fields, image=image), "application/octet-stream")).run()
    assert not page.exception
    if sentence is None:
        assert not page.error
    else:
        assert sentence in page.error[0].value


def test_the_sample_that_links_name_is_there():
    assert sample_picture("coffee").id == "sample-coffee"
    assert "streets-nl" in list_networks()


def test_what_is_compared_is_what_the_export_page_draws(page):
    page.query_params.update(
        picture="sample-coffee", networks="streets-nl~streets-dnl", q="120-80_10-10-30-40"
    )
    page.run()
    shown = page.session_state[SHOWN_PICTURE]
    assert shown.networks == ("streets-nl", "streets-dnl")
    assert shown.picture.location == "samples:coffee"
    assert len(shown.spots) == 2, "of a region, its middle"
