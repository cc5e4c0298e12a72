"""The Export page: widgets to options, options to a preview, files and a command."""

import io
import json
import shlex
import shutil
import zipfile
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from networks import tiny_architecture, tiny_network
from PIL import Image
from streamlit.testing.v1 import AppTest
from test_images import encoded
from typer.testing import CliRunner
from videos import write_video

from nonlocal_lens.analysis.clips import read_clip
from nonlocal_lens.analysis.figures.files import read_note
from nonlocal_lens.analysis.figures.plate import letter_of
from nonlocal_lens.app.cli import cli
from nonlocal_lens.app.export.bundle import bundle, bundle_name
from nonlocal_lens.app.export.layouts import row_names
from nonlocal_lens.app.export.options import Options
from nonlocal_lens.app.export.preview import (
    MOST_PREVIEWED,
    SCREEN_PIXELS,
    look_at_one,
    preview,
)
from nonlocal_lens.app.export.sizes import sizes_of
from nonlocal_lens.app.pictures import uploaded_picture
from nonlocal_lens.app.shown import LATEST, SHOWN_CLIP, SHOWN_PICTURE, Part, ShownClip, ShownPicture
from nonlocal_lens.app.uploads import keep
from nonlocal_lens.app.video_clips import uploaded_reel
from nonlocal_lens.app.viewer.view import Query, View
from nonlocal_lens.models.checkpoint import save_network

pytestmark = pytest.mark.slow


def assert_says(words, options):
    """Fail unless a command gives these options these values."""
    for option, value in options.items():
        assert words[words.index(option) + 1] == value, option


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("network") / "tiny.safetensors"
    save_network(path, tiny_network("non_local"), tiny_architecture("non_local"))
    return str(keep(path.read_bytes(), path.name))


@pytest.fixture(scope="module")
def picture():
    noise = np.random.default_rng(0).integers(0, 256, (40, 56, 3), dtype=np.uint8)
    return uploaded_picture(encoded(Image.fromarray(noise)), "noise.png")


@pytest.fixture
def page(network, picture):
    page = AppTest.from_file("../app/screens/export.py", default_timeout=120)
    page.session_state["opened network"] = network
    points = Query.at((20.0, 12.0)), Query.at((44.0, 28.0))
    page.session_state[SHOWN_PICTURE] = ShownPicture(network, picture, Part("head.block"), points)
    return page.run()


@pytest.fixture(scope="module")
def reel(tmp_path_factory):
    path = write_video(tmp_path_factory.mktemp("video") / "walk.mp4")
    file = SimpleNamespace(file_id="1", name=path.name, getvalue=path.read_bytes)
    return uploaded_reel(file)


@pytest.fixture
def clip_page(network, reel):
    page = AppTest.from_file("../app/screens/export.py", default_timeout=120)
    page.session_state["opened network"] = network
    chosen = (("start", 0), ("stride", None), ("frames", 3))
    page.session_state[SHOWN_CLIP] = ShownClip(network, reel, 3, chosen, ((1, 20.0, 12.0),))
    return page.run()


def clip_options(network, reel, **given):
    base = {"inputs": [reel.location], "networks": [network], "queries": ["1,20,12"], "frames": 3}
    return Options.build({**base, "dpi": 60, **given})


def command(page):
    assert not page.exception
    return shlex.split(page.code[0].value)


def options(network, picture, **given):
    base = {"inputs": [picture.location], "networks": [network], "queries": ["20,12"], "dpi": 60}
    return Options.build({**base, **given})


LOOKS_LIKE_THE_APP = [
    *("--colormap", "viridis", "--opacity", "0.75", "--backdrop", "gray", "--marker", "ring"),
]


def test_it_opens_with_what_is_pinned_as_it_looks_in_the_app(page):
    assert not page.error
    words = command(page)
    assert words[:9] == [
        *("nonlocal-lens", "export", "noise.png", "--network", "tiny.safetensors"),
        *("--query", "20,12", "--query", "44,28"),
    ]
    assert sorted(words[9:]) == sorted([*LOOKS_LIKE_THE_APP, "--names"])


def test_an_export_starts_from_how_maps_look_in_the_viewer(page):
    changed = View(
        palette="magma", opacity=0.5, scale="fixed", fixed=7.0, gray=False, on_picture=True
    )
    page.session_state["looks"] = {"settings": changed.settings}
    words = command(page.run())
    assert_says(
        words,
        {
            "--colormap": "magma",
            "--opacity": "0.5",
            "--scale": "fixed:0,7",
            "--backdrop": "photo",
        },
    )
    assert "--on-picture" in words
    page.selectbox(key="export-colormap").set_value("inferno").run()
    words = command(page.run())
    assert "--colormap" not in words, "a choice made here stays, and inferno is the command's own"


def test_small_maps_are_warned_of_and_stacked_by_a_button(page):
    assert not page.warning
    page.multiselect(key="export-networks").set_value([page.session_state["opened network"]])
    page.number_input(key="export-width").set_value(1.7).run()
    (said,) = page.warning
    assert "below 12 mm" in said.value
    assert not [button for button in page.button if button.label == "Stack the networks"]
    page.multiselect(key="export-networks").set_value(["streets-dnl", "streets-nl", "streets-gc"])
    page.number_input(key="export-width").set_value(3.5).run()
    (said,) = page.warning
    next(button for button in page.button if button.label == "Stack the networks").click().run()
    assert not page.exception
    assert not page.warning
    assert "--layout stacked" in page.code[0].value


def test_sizes_are_those_that_are_drawn(network, picture):
    for layout in ("grid", "stacked"):
        asked = options(network, picture, layout=layout)
        sizes = sizes_of(asked, asked.networks)
        with bundle(asked) as file:
            drawn = Image.open(file)
        assert drawn.width == pytest.approx(sizes.width_mm / 25.4 * 60, abs=1)
        assert 30 < sizes.map_mm < sizes.width_mm / 4
    assert sizes_of(options(network, picture, layout="statistics"), asked.networks) is None


def test_a_preview_is_as_large_as_paper_unless_it_should_fill_the_page(page):
    assert page.toggle(key="export-real").value
    page.toggle(key="export-real").set_value(False).run()
    assert not page.exception
    assert page.query_params["figure-real"] == "no"


def test_letters_names_and_stacks_are_drawn(network, picture):
    drawn = set()
    for given in ({}, {"letters": True}, {"names": True}):
        with bundle(options(network, picture, **given)) as file:
            drawn.add(file.read())
    assert len(drawn) == 3
    asked = options(network, picture, networks=["streets-dnl", "streets-nl"], layout="stacked")
    one = look_at_one(asked)
    assert row_names(one, asked) == ["streets-dnl", "streets-nl"]
    named = replace(asked, names=True)
    assert [name.split(" \u00b7 ")[1] for name in row_names(one, named)] == list(one.scene.records)
    assert all(name.startswith("1 ") for name in row_names(one, named)), "number and class"


@pytest.mark.parametrize(("number", "letter"), [(0, "a"), (25, "z"), (26, "aa"), (52, "ba")])
def test_panels_have_letters(number, letter):
    assert letter_of(number) == letter


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
    assert_says(
        words,
        {
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
        },
    )
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


def test_what_is_pinned_in_video_is_a_contact_sheet_with_its_command(clip_page):
    assert not clip_page.error
    assert sorted(command(clip_page)) == sorted(
        [
            *("nonlocal-lens", "export", "walk.mp4", "--network", "tiny.safetensors"),
            *("--query", "1,20,12"),
            *LOOKS_LIKE_THE_APP[:4],
            *LOOKS_LIKE_THE_APP[6:],
            *("--frames", "3"),
        ]
    )
    assert "3 frames of walk.mp4 through tiny.safetensors, x 20, y 12" in clip_page.caption[0].value
    assert clip_page.caption[-1].value == (
        "Run it in the folder that holds `walk.mp4` and `tiny.safetensors`."
    )


def test_every_choice_of_a_clip_is_in_the_command(clip_page):
    clip_page.segmented_control(key="export-queries").set_value("Most different").run()
    clip_page.number_input(key="export-auto").set_value(2)
    clip_page.multiselect(key="export-clip-terms").set_value(["whole", "unary"])
    clip_page.button_group(key="export-clip-formats").set_value(["png", "mp4"])
    clip_page.toggle(key="export-track").set_value(True)
    clip_page.selectbox(key="export-scale").set_value("log")
    clip_page.selectbox(key="export-clip-backdrop").set_value("photo").run()
    clip_page.slider(key="export-opacity").set_value(0.4).run()
    words = command(clip_page)
    assert_says(
        words,
        {
            "--query": "auto:2",
            "--terms": "whole,unary",
            "--format": "png,mp4",
            "--scale": "log",
            "--backdrop": "photo",
            "--opacity": "0.4",
        },
    )
    assert "--track" in words
    assert not clip_page.error


def test_of_a_region_and_a_class_one_place_is_drawn_which_is_said(page, network, picture):
    pins = Query(((20.0, 12.0),), category="pole"), Query(((10.0, 10.0), (30.0, 20.0)))
    page.session_state[SHOWN_PICTURE] = ShownPicture(network, picture, Part("head.block"), pins)
    page.run()
    assert any("one place, not the mean" in one.value for one in page.caption)
    words = command(page)
    assert [words[at + 1] for at, word in enumerate(words) if word == "--query"] == [
        "20,12",
        "20,15",
    ]
    assert page.query_params["q"] == "200-120-pole_100-100-300-200", "the address keeps them"


def test_picture_and_clip_are_a_choice_that_opens_with_the_latest(clip_page, network, picture):
    points = (Query.at((20.0, 12.0)),)
    clip_page.session_state[SHOWN_PICTURE] = ShownPicture(
        network, picture, Part("head.block"), points
    )
    clip_page.run()
    assert command(clip_page)[2] == "walk.mp4"
    clip_page.segmented_control(key=LATEST).set_value(SHOWN_PICTURE).run()
    assert command(clip_page)[2:7] == [
        *("noise.png", "--network", "tiny.safetensors"),
        *("--query", "20,12"),
    ]


def test_a_preview_of_a_video_is_the_frame_of_its_query(network, reel):
    asked = clip_options(network, reel, formats="mp4", dpi=100)
    ((name, png),) = preview(asked, look_at_one(asked))
    assert name == "walk.q01.mp4, frame 1 of 3"
    still = np.asarray(Image.open(io.BytesIO(png)))
    with bundle(asked) as file:
        frames = read_clip(file.read(), stride=1).frames
    difference = np.abs(frames[1, : still.shape[0], : still.shape[1]].astype(int) - still)
    assert difference.mean() < 3


def test_the_command_gives_the_bytes_that_are_downloaded(
    network, picture, reel, tmp_path, monkeypatch
):
    for kept in (network, picture.location, reel.location):
        shutil.copy(kept, tmp_path)
    monkeypatch.chdir(tmp_path)
    kinds = "png,pdf,svg,html,safetensors"
    for asked in (
        options(network, picture, formats=kinds),
        clip_options(network, reel, formats=f"{kinds},mp4,gif", dpi=60),
    ):
        words = shlex.split(asked.in_users_terms().command())
        assert words[:1] == ["nonlocal-lens"]
        assert CliRunner().invoke(cli, words[1:]).exit_code == 0
        with bundle(asked) as file, zipfile.ZipFile(file) as archive:
            names = archive.namelist()
            assert len(names) >= 6
            for name in set(names) - {"manifest.json"}:
                assert archive.read(name) == (tmp_path / "figures" / name).read_bytes(), name
        shutil.rmtree(tmp_path / "figures")


def test_records_of_a_clip_are_not_left_out_of_a_download(network, reel):
    asked = clip_options(network, reel, formats="png,safetensors")
    assert bundle_name(asked) == "figures.zip"


def test_without_anything_explored_or_pinned_the_most_different_are_drawn(page, network, picture):
    page.session_state[SHOWN_PICTURE] = ShownPicture(network, picture, Part("head.block"), ())
    page.run()
    assert not page.error
    assert "--query" not in command(page), "auto:4 is usual"


def test_a_preview_is_the_same_figure_at_the_screens_size(network, picture):
    asked = options(network, picture, dpi=300, queries=["grid:3x3"], layout="queries")
    figures = preview(asked, look_at_one(asked))
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
