"""The notebooks run from top to bottom, offline, and are stored without what they printed.

What the site shows of them is what they draw.
"""

import re
from pathlib import Path

import nbformat
import numpy as np
import pytest
from PIL import Image

from docs.notebook_pictures import (
    NOTEBOOKS,
    PICTURES,
    drawn,
    kernel,
    picture_names,
    picture_path,
    run,
)

pytestmark = pytest.mark.slow

DOCS = PICTURES.parent
PAGES = sorted(path for path in DOCS.rglob("*.md") if "generated" not in path.parts)
PICTURE = r"([^()]*pictures/[^/()]+)"  # those in folders are the app's
NAMES = {path.stem: picture_names(nbformat.read(path, as_version=4)) for path in NOTEBOOKS}


def test_they_are_numbered_without_a_gap():
    assert [path.name[:2] for path in NOTEBOOKS] == [f"{n:02d}" for n in range(1, 10)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_stored_without_outputs(path):
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code":
            assert not cell.outputs
            assert cell.execution_count is None


@pytest.fixture(scope="module")
def offline():
    """Start a kernel without a network."""
    with pytest.MonkeyPatch.context() as patch:
        for proxy in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
            patch.setenv(proxy, "http://127.0.0.1:9")  # nothing listens there
        patch.setenv("HF_HUB_OFFLINE", "1")
        with kernel() as client:
            yield client


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_runs_offline_and_draws_what_the_site_shows(path, offline):
    book = run(path, offline)
    for cell in book.cells:
        warnings = [
            output.text
            for output in cell.get("outputs", [])
            if output.output_type == "stream" and output.name == "stderr"
        ]
        assert not warnings, warnings
    for name, picture in drawn(book).items():
        stored = np.asarray(Image.open(picture_path(name)).convert("RGB"), float)
        stale = f"{picture_path(name).name} is stale: python -m docs.notebook_pictures"
        assert stored.shape == picture.shape, stale
        # WebP, and another machine's last digits, change pixels a little; another map a lot
        assert np.abs(stored - picture).mean() < 4, stale


def test_every_picture_is_of_one_cell_and_on_a_page():
    names = [name for of_book in NAMES.values() for name in of_book]
    assert len(names) == len(set(names))
    assert {path.name for path in PICTURES.glob("*.webp")} == {
        picture_path(name).name for name in names
    }
    shown = {
        Path(target).stem
        for page in PAGES
        for alt, target in re.findall(rf"!\[(.*)\]\({PICTURE}\)", page.read_text("utf-8"))
        if alt
    }
    assert shown == set(names)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_names_the_notebook_that_drew_its_picture(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(rf"!\[.*\]\({PICTURE}\)", text):
        assert (page.parent / target).is_file()
        book = next(book for book, names in NAMES.items() if Path(target).stem in names)
        assert f"generated/{book}`" in text
