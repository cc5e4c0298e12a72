"""The Export page: widgets to options, options to a preview, files and a command."""

import io
import json
import shlex
import zipfile

import numpy as np
import pytest
from networks import tiny_architecture, tiny_network
from PIL import Image
from streamlit.testing.v1 import AppTest
from test_images import encoded

from analysis.figures.files import read_note
from app.explored import EXPLORED, Explored
from app.export.bundle import bundle, bundle_name
from app.export.options import Options
from app.export.preview import MOST_PREVIEWED, SCREEN_PIXELS, preview, see_one
from app.pictures import uploaded_picture
from models.checkpoint import save_network


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("network") / "tiny.safetensors"
    save_network(path, tiny_network("non_local"), tiny_architecture("non_local"))
    return str(path)


@pytest.fixture(scope="module")
def picture():
    noise = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    return uploaded_picture(encoded(Image.fromarray(noise)), "noise.png")


@pytest.fixture
def page(network, picture):
    page = AppTest.from_file("../app/screens/export.py", default_timeout=120)
    page.session_state["opened network"] = network
    points = ((20.0, 12.0), (44.0, 28.0))
    page.session_state[EXPLORED] = Explored(network, picture, "head.block", None, points)
    return page.run()


def command(page):
    assert not page.exception
    return shlex.split(page.code[0].value)


def options(network, picture, **given):
    base = {"inputs": [picture.location], "networks": [network], "queries": ["20,12"], "dpi": 60}
    return Options.build({**base, **given})


def test_it_opens_with_what_is_pinned_and_the_shortest_command(page):
    assert not page.error
    assert command(page) == [
        *("python", "-m", "app", "export", "noise.png", "--network", "tiny.safetensors"),
        *("--query", "20,12", "--query", "44,28"),
    ]


def test_every_choice_is_in_the_command(page):
    page.segmented_control(key="export-queries").set_value("Grid").run()
    page.number_input(key="export-rows").set_value(3)
    page.multiselect(key="export-terms").set_value(["pairwise", "difference"])
    page.selectbox(key="export-layout").set_value("queries")
    page.selectbox(key="export-scale").set_value("log")
    page.selectbox(key="export-colormap").set_value("magma")
    page.selectbox(key="export-backdrop").set_value("photo").run()
    page.slider(key="export-opacity").set_value(0.4)
    page.selectbox(key="export-marker").set_value("circle")
    page.selectbox(key="export-style").set_value("slides")
    page.number_input(key="export-arrows").set_value(5)
    page.number_input(key="export-width").set_value(3.5)
    page.number_input(key="export-dpi").set_value(150)
    page.toggle(key="export-caption").set_value(True)
    page.button_group(key="export-formats").set_value(["png", "svg"]).run()
    words = command(page)
    for option, value in {
        "--query": "grid:3x2",
        "--terms": "pairwise,difference",
        "--layout": "queries",
        "--scale": "log",
        "--colormap": "magma",
        "--backdrop": "photo",
        "--opacity": "0.4",
        "--marker": "circle",
        "--style": "slides",
        "--arrows": "5",
        "--width-in": "3.5",
        "--dpi": "150",
        "--format": "png,svg",
    }.items():
        assert words[words.index(option) + 1] == value, option
    assert "--caption" in words
    assert not page.error


@pytest.mark.parametrize("layout", ["panels", "sheet", "statistics"])
def test_every_layout_is_previewed(page, layout):
    page.selectbox(key="export-layout").set_value(layout).run()
    assert not page.exception
    assert not page.error
    assert f"--layout {layout}" in page.code[0].value


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("export-terms", [], "at least one term must be given"),
        ("export-networks", [], "at least one network must be given"),
        ("export-terms", ["prediction"], "predicts no classes that could be shown"),
    ],
)
def test_what_cannot_be_drawn_is_one_sentence(page, key, value, sentence):
    page.multiselect(key=key).set_value(value).run()
    assert not page.exception
    assert sentence in page.error[0].value
    assert not page.code


def test_without_anything_explored_or_pinned_the_most_different_are_drawn(page, network, picture):
    page.session_state[EXPLORED] = Explored(network, picture, "head.block", None, ())
    page.run()
    assert not page.error
    assert command(page)[-2:] == ["--network", "tiny.safetensors"], "auto:4 is usual"


def test_a_preview_is_the_same_figure_at_the_screens_size(network, picture):
    asked = options(network, picture, dpi=300, queries=["grid:3x3"], layout="queries")
    figures = preview(asked, see_one(asked))
    assert len(figures) == MOST_PREVIEWED
    name, png = figures[0]
    assert name == "noise.q01.png"
    width, height = Image.open(io.BytesIO(png)).size
    assert abs(width - SCREEN_PIXELS) <= 0.02 * SCREEN_PIXELS
    with bundle(options(network, picture, dpi=300)) as file:
        exact = Image.open(file).size
    assert exact[1] / exact[0] == pytest.approx(height / width, rel=0.02)


def test_one_file_is_itself_and_more_are_a_zip_with_a_manifest(tmp_path, network, picture):
    single = options(network, picture)
    assert bundle_name(single) == "noise.png"
    with bundle(single) as file:
        assert isinstance(file, io.RawIOBase), "as a download button takes it"
        (tmp_path / "noise.png").write_bytes(file.read())
    assert read_note(tmp_path / "noise.png")["networks"][0]["title"] == "tiny"
    several = options(network, picture, layout="panels", formats="png,svg", terms="whole,unary")
    assert bundle_name(several) == "figures.zip"
    with bundle(several) as file, zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        manifest = json.loads(archive.read("manifest.json"))
    assert sorted(entry["file"] for entry in manifest["files"]) == sorted(
        set(names) - {"manifest.json"}
    )
    assert {"noise.q01.tiny.whole.png", "noise.q01.tiny.whole.svg"} <= set(names)


def test_a_bundle_that_cannot_be_drawn_is_an_error_not_half_a_file(network, picture):
    with pytest.raises(ValueError, match=r"not everything could be drawn: .*outside the image"):
        bundle(options(network, picture, queries=["900,900"]))
