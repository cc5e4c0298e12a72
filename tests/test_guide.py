"""The guide: ten sights whose addresses the app understands, and every number with its meaning."""

from urllib.parse import parse_qsl

import pytest
from PIL import Image
from streamlit.testing.v1 import AppTest

from docs.from_code import sights_page
from nonlocal_lens.analysis.catalog import STATISTICS
from nonlocal_lens.app.guide import PICTURES, SIGHTS
from nonlocal_lens.app.link import read, write
from nonlocal_lens.app.networks import image_networks


def test_there_are_ten_and_each_has_its_picture():
    assert len(SIGHTS) == len({sight.name for sight in SIGHTS}) == 10
    assert {path.name for path in PICTURES.glob("*.webp")} == {
        sight.picture.name for sight in SIGHTS
    }
    for sight in SIGHTS:
        with Image.open(sight.picture) as picture:
            assert picture.width >= 500, sight.name
        assert sight.picture.stat().st_size < 200_000, sight.name


@pytest.mark.parametrize("sight", SIGHTS, ids=lambda sight: sight.name)
def test_addresses_say_what_the_app_understands(sight):
    given = dict(parse_qsl(sight.address))
    link, notices = read(given, image_networks())
    assert not notices
    written = write(link)
    assert {name: written.get(name) for name in given} == given
    assert (link.picture, bool(link.networks)) != (None, False)


def test_the_page_has_every_sight_and_every_number():
    page = AppTest.from_file("../app/screens/guide.py", default_timeout=120).run()
    assert not page.exception
    text = "".join(html.proto.body for html in page.get("html"))
    for sight in SIGHTS:
        assert sight.title in text
        assert sight.address.replace("&", "&amp;") in text
    for name in STATISTICS:
        assert f'<div id="{name}">' in text


def test_the_site_has_the_same_ten():
    page = sights_page()
    assert page.count("](sights/") == 10
    assert all(sight.words in page for sight in SIGHTS)
