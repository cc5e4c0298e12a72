"""The Explore page, driven without a browser."""

import numpy as np
import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest
from test_images import encoded

from app.pictures import SAMPLES, rendered_picture, sample_picture
from models.streets import STREET_CLASSES, VOID


@pytest.fixture
def page():
    return AppTest.from_file("../app/main.py", default_timeout=120).run()


def metrics(page):
    return {metric.label: metric.value for metric in page.metric}


def test_the_page_opens_on_a_sample_with_numbers_and_no_question(page):
    assert not page.exception
    assert not page.error
    assert page.selectbox(key="picture").value == "motorcycle"
    assert list(metrics(page)) == [
        "Unary share",
        "Query information",
        "Cosine distance",
        "Row entropy",
    ]


def test_another_network_gives_other_numbers(page):
    before = metrics(page)
    page.segmented_control(key="network").set_value("streets-nl").run()
    assert not page.exception
    assert metrics(page) != before


@pytest.mark.parametrize("name", SAMPLES)
def test_every_sample_can_be_opened(page, name):
    page.selectbox(key="picture").set_value(name).run()
    assert not page.exception
    assert len(page.metric) == 4


def test_a_rendered_street_is_shown_and_another_number_is_another_street(page):
    page.selectbox(key="picture").set_value("Rendered street").run()
    assert not page.exception
    before = metrics(page)
    page.number_input(key="street").set_value(17).run()
    assert not page.exception
    assert len(before) == len(metrics(page)) == 4
    assert metrics(page) != before


def test_a_rendered_street_has_labels_and_says_what_it_shows():
    street = rendered_picture(17)
    assert street.image.shape == (*street.labels.shape, 3)
    values, counts = np.unique(street.labels, return_counts=True)
    for value, count in zip(values, counts, strict=True):
        if value != VOID and count > 200:
            assert list(STREET_CLASSES)[value] in street.alt
    assert sample_picture("coffee").labels is None


@pytest.mark.parametrize("number", [-1, 1_000_000])
def test_a_street_that_is_not_there_is_refused(number):
    with pytest.raises(ValueError, match=f"unknown street {number}; available: 0 to 999999"):
        rendered_picture(number)


def upload(page, name, data):
    page.selectbox(key="picture").set_value("Your own picture…").run()
    page.file_uploader(key="file").set_value((name, data, "image/png")).run()
    return page


def test_an_uploaded_picture_is_shown(page):
    noise = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    upload(page, "noise.png", encoded(Image.fromarray(noise)))
    assert not page.exception
    assert not page.error
    assert len(page.metric) == 4


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"nothing like a picture", "not an image in a known format"),
        (encoded(Image.new("RGB", (1, 1))), "1 x 1 pixels"),
        (encoded(Image.new("1", (20_000, 20_000))), "megapixels"),
        (encoded(Image.effect_noise((99, 99), 50))[:900], "damaged or incomplete"),
    ],
    ids=["text", "tiny", "huge", "truncated"],
)
def test_a_bad_upload_ends_in_one_sentence_and_the_app_lives_on(page, data, sentence):
    upload(page, "bad.png", data)
    assert not page.exception
    assert sentence in page.error[0].value
    page.selectbox(key="picture").set_value("coffee").run()
    assert not page.error
    assert len(page.metric) == 4


def test_before_a_file_is_chosen_the_page_says_what_to_do(page):
    page.selectbox(key="picture").set_value("Your own picture…").run()
    assert "Choose a file" in page.info[0].value


def test_samples_are_photographs_and_unknown_ones_are_refused():
    for name in SAMPLES:
        assert sample_picture(name).image.dtype == np.uint8
        assert sample_picture(name).image.shape[2] == 3
    with pytest.raises(ValueError, match="unknown sample 'lena'; available: motorcycle"):
        sample_picture("lena")
