"""Check every shape annotation in models/ and analysis/ while the tests run."""

import atexit
import gc
import os
import sys
from contextlib import ExitStack
from functools import cache

gc.disable()  # what is imported stays: to look for garbage in it takes a fifth of the time

# Tensors of tests are small: a second thread costs more than it brings, and tests run side by side.
os.environ.setdefault("OMP_NUM_THREADS", "1")

from annotations import check_annotations  # noqa: E402

check_annotations(["nonlocal_lens.models", "nonlocal_lens.analysis"])

import pytest  # noqa: E402
import torch  # noqa: E402
from browser import chromium_or_skip, emptied, running_app, watched  # noqa: E402
from jaxtyping import config  # noqa: E402
from streamlit.components.v2 import manifest_scanner  # noqa: E402
from watchful import watched_captures  # noqa: E402

MAIN = sys.modules["__main__"]


def pytest_collection_modifyitems(items):
    """Begin with the slow files: at the end of a run no process waits long for another."""
    items.sort(key=lambda item: not any(map(item.get_closest_marker, ("slow", "browser"))))


def pytest_collection_finish():
    """Never look through what is imported again: Streamlit would, after every run of a page."""
    gc.freeze()
    gc.enable()
    atexit.register(gc.unfreeze)  # at the end all goes, or Triton calls it leaked


@pytest.fixture
def generator():
    """Return a seeded source of random numbers."""
    return torch.Generator().manual_seed(0)


@pytest.fixture(autouse=True)
def _own_main():
    """Keep `__main__`: Streamlit's AppTest puts a page there, and new processes run it."""
    sys.modules["__main__"] = MAIN
    yield
    sys.modules["__main__"] = MAIN


@pytest.fixture(autouse=True, scope="session")
def _scanned_once():
    """Look once for components in all that is installed: AppTest would for every page."""
    with pytest.MonkeyPatch.context() as patch:
        scan = cache(manifest_scanner.scan_component_manifests)
        patch.setattr(manifest_scanner, "scan_component_manifests", scan)
        yield


@pytest.fixture(autouse=True, scope="session")
def _watched():
    """Hold every capture in the tests against the network's own weights."""
    with watched_captures():
        yield


@pytest.fixture(scope="session")
def address():
    """Start the app once for all tests; return where it is."""
    with running_app() as address:
        yield address


@pytest.fixture(scope="module")
def chromium():
    """Start headless Chromium; not for longer than a module, as its event loop bars any other."""
    with chromium_or_skip() as browser:
        yield browser


@pytest.fixture(scope="module")
def tab(chromium):
    """Open the page that the tests of a module take in turns."""
    return chromium.new_context().new_page()


@pytest.fixture
def blank(tab):
    """Return what empties the page; fail afterwards if it logged an error or asked strangers."""
    with ExitStack() as watching:

        def emptied_page(size=(1100, 1000), scheme="light", home=None):
            page = emptied(tab, size, scheme)  # first: what was there may still ask for something
            watching.enter_context(watched(page, home))
            return page

        yield emptied_page


@pytest.fixture
def page(blank):
    """Return an empty page that hosts nothing."""
    return blank()


@pytest.fixture
def as_users_run():
    """Switch the shape checks off: users run without them and must still get a sentence."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)
