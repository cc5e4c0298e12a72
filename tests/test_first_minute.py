"""What a cold start need not do, and what it does while the browser is still fetching the page."""

import ast
import base64
import subprocess
import sys
import textwrap

import cv2
import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from nonlocal_lens.app.components.offered_pictures import ON_THE_SHELF, made, offered
from nonlocal_lens.app.drawn_streets import FIRST_STREET, drawn_street
from nonlocal_lens.app.server import imports
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


def test_nothing_is_waited_for_where_nothing_was_begun():
    assert imports.are_done()
    imports.wait()


def test_the_first_page_imports_nothing_more_once_the_thread_has_ended():
    code = """
        import sys
        from nonlocal_lens.app.server import imports
        imports.begin()
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
    imports.begin()
    assert not imports.are_done()
    imports.wait()
    assert sys.modules["slow_to_import"].ready


def test_what_cannot_be_imported_ends_the_thread_and_is_left_to_the_page(monkeypatch, tmp_path):
    page = tmp_path / "page.py"
    page.write_text("import there_is_no_such_module\n")
    monkeypatch.setattr(imports, "FIRST_PAGE", page)
    imports.begin().join()
    assert imports.are_done()


def test_all_that_a_page_imports_is_found():
    tree = ast.parse(imports.FIRST_PAGE.read_text(encoding="utf-8"))
    named = [node.module for node in tree.body if isinstance(node, ast.ImportFrom)]
    assert set(named) <= set(imports.modules_of(imports.FIRST_PAGE))
    assert "nonlocal_lens.app.viewer" in named
