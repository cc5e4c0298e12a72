"""What a cold start need not do, and what it does while the browser is still fetching the page."""

import ast
import base64
import subprocess
import sys
import textwrap

import cv2
import numpy as np

from nonlocal_lens.app.components.offered_pictures import ON_THE_SHELF, made, offered
from nonlocal_lens.app.server import imports


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
        from nonlocal_lens.app import pictures
        pictures.render_scene = pictures.sample_picture = None  # cannot be called
        from nonlocal_lens.app.components.offered_pictures import offered
        assert len(offered()) == 6
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
        assert "torch" in before and "pandas" in before
        import gc
        assert gc.isenabled()
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(code)], check=True)


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
