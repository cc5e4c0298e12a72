"""What a cold start need not do, and what it does while the browser is still fetching the page."""

import ast
import base64
import io
import subprocess
import sys
import textwrap
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import load
from streamlit.testing.v1 import AppTest

from nonlocal_lens.app import PRODUCT, cache, first_maps
from nonlocal_lens.app.components import meanwhile
from nonlocal_lens.app.components.offered_pictures import ON_THE_SHELF, made, offered
from nonlocal_lens.app.drawn_streets import FIRST_STREET, drawn_street
from nonlocal_lens.app.networks import image_networks
from nonlocal_lens.app.pictures import known_picture
from nonlocal_lens.app.server import imports
from nonlocal_lens.app.shown import first_view
from nonlocal_lens.app.viewer.payload import config_of, with_view
from nonlocal_lens.streets import render_scene

pytestmark = pytest.mark.slow


def decoded(url):
    """Return the pixels of a data URL."""
    data = base64.b64decode(url.partition(",")[2])
    return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)


def test_the_shelf_shows_what_its_pictures_are():
    assert [one.id for one in offered()] == list(ON_THE_SHELF)
    for kept, fresh in zip(offered(), made(), strict=True):
        assert kept.alt == fresh.alt
        difference = decoded(kept.image).astype(int) - decoded(fresh.image)
        assert np.abs(difference).max() <= 3  # of 255: encoders may differ


def test_the_shelf_draws_and_reads_no_picture():
    code = """
        from nonlocal_lens.app import drawn_streets, pictures
        drawn_streets.render_scene = pictures.sample_picture = None  # cannot be called
        from nonlocal_lens.app.components.offered_pictures import offered
        assert len(offered()) == 6
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


def test_the_first_street_is_kept_as_it_is_drawn():
    for kept, drawn in zip(drawn_street(FIRST_STREET), render_scene(FIRST_STREET), strict=True):
        assert kept.dtype == drawn.dtype
        np.testing.assert_array_equal(kept, drawn)


def test_the_first_street_is_not_drawn():
    code = """
        from nonlocal_lens.app import drawn_streets
        drawn_streets.render_scene = None  # cannot be called
        from nonlocal_lens.app.pictures import rendered_picture
        picture = rendered_picture(drawn_streets.FIRST_STREET)
        assert picture.image.shape == (360, 480, 3) and picture.labels.shape == (360, 480)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


def test_the_first_maps_are_those_of_the_first_network_and_picture():
    assert image_networks()[0] == first_maps.NETWORK
    assert f"street-{FIRST_STREET}" == first_maps.PICTURE
    assert not first_maps.are_of(first_maps.NETWORK, first_maps.PICTURE, 1)


def test_the_first_maps_are_kept_as_they_are_computed():
    kept, made = first_maps.kept(), first_maps.made()
    said, meant = config_of(kept), config_of(made)
    assert said["product"] == PRODUCT
    for config in (said, meant):
        config.pop("id")  # a hash of all the numbers
    (said_record,), (meant_record,) = said.pop("records"), meant.pop("records")
    assert said == meant
    assert said_record.keys() == meant_record.keys()
    for name, value in meant_record.items():
        expected = pytest.approx(value, rel=1e-3) if isinstance(value, float) else value
        assert said_record[name] == expected, name
    numbers, fresh = load(kept), load(made)
    assert numbers.keys() == fresh.keys()
    for name in ("image", "0.prediction"):  # encoders may differ
        one, other = (
            np.array(Image.open(io.BytesIO(found.pop(name)))) for found in (numbers, fresh)
        )
        assert np.mean(one != other) < 1e-3, name
    for name, values in fresh.items():
        where = {"rtol": 2e-3, "atol": 2e-3 * np.abs(values).max()}
        np.testing.assert_allclose(numbers[name], values, **where, err_msg=name)


def test_a_page_shows_the_first_maps_to_the_byte():
    payload = cache.payload(first_maps.NETWORK, known_picture(first_maps.PICTURE), 0)
    view = first_view(known_picture(first_maps.PICTURE))
    assert with_view(payload, view) == first_maps.kept()


def test_what_is_shown_meanwhile_imports_nothing_that_takes_long():
    code = """
        import sys
        for heavy in ("torch", "torchvision", "pandas", "matplotlib", "cv2", "PIL", "timm"):
            sys.modules[heavy] = None  # cannot be imported
        import nonlocal_lens.app.components.meanwhile
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


@pytest.mark.parametrize("link", [False, True])
def test_the_first_maps_are_there_until_all_is_imported(monkeypatch, link):
    shown = []
    monkeypatch.setattr(meanwhile, "mount", lambda payload, key: shown.append((payload, key)))
    imports.announce(patience=3600)
    tested = AppTest.from_file(str(Path(imports.__file__).parents[1] / "main.py"))
    if link:
        tested.query_params["picture"] = "street-7"
    tested.run(timeout=120)
    assert not tested.exception
    assert shown == ([] if link else [(first_maps.kept(), "viewer-0")])
    assert imports.are_done()
    assert tested.main.children, "the page itself came"
    assert any("nl-bits" in html.proto.body for html in tested.get("html"))


def test_nothing_is_waited_for_where_nothing_was_begun():
    assert imports.are_done()
    imports.wait()


def test_the_first_page_imports_nothing_more_once_the_thread_has_ended():
    code = """
        import sys
        from nonlocal_lens.app.server import imports
        imports.announce(patience=3600)
        imports.wait()
        before = set(sys.modules)
        for module in imports.modules_of(imports.FIRST_PAGE):
            __import__(module)
        new = set(sys.modules) - before
        assert not new, new
        assert "torch" in before and "pandas" not in before
        import gc
        assert gc.isenabled()
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


def test_the_shelf_is_shown_without_pandas():
    code = """
        import sys
        sys.modules["pandas"] = None  # cannot be imported
        import streamlit as st
        from nonlocal_lens.app.components.shelf import picture_shelf
        picture_shelf("street-1", 200, st.write)
    """
    tested = AppTest.from_string(textwrap.dedent(code)).run()
    del sys.modules["pandas"]
    assert not tested.exception


def test_a_page_waits_for_the_thread(monkeypatch, tmp_path):
    page = tmp_path / "page.py"
    page.write_text("import slow_to_import\nfrom slow_to_import import ready\n")
    (tmp_path / "slow_to_import.py").write_text("import time\ntime.sleep(0.3)\nready = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(imports, "FIRST_PAGE", page)
    imports.announce(patience=3600)
    assert not imports.are_done()
    imports.wait()
    assert sys.modules["slow_to_import"].ready


def test_what_nobody_asks_for_is_imported_after_a_while(monkeypatch, tmp_path):
    page = tmp_path / "page.py"
    page.write_text("import asked_for_by_nobody\n")
    (tmp_path / "asked_for_by_nobody.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(imports, "FIRST_PAGE", page)
    imports.announce(patience=0.1).join()
    assert imports.are_done()
    assert "asked_for_by_nobody" in sys.modules


def test_what_cannot_be_imported_ends_the_thread_and_is_left_to_the_page(monkeypatch, tmp_path):
    page = tmp_path / "page.py"
    page.write_text("import there_is_no_such_module\n")
    monkeypatch.setattr(imports, "FIRST_PAGE", page)
    imports.announce(patience=0).join()
    assert imports.are_done()


def test_all_that_a_page_imports_is_found():
    tree = ast.parse(imports.FIRST_PAGE.read_text(encoding="utf-8"))
    named = [node.module for node in tree.body if isinstance(node, ast.ImportFrom)]
    assert set(named) <= set(imports.modules_of(imports.FIRST_PAGE))
    assert "nonlocal_lens.app.viewer.show" in named
