"""Clips as files: what is written is decoded again and compared, frame by frame."""

import io
import json
import re
from dataclasses import replace

import av
import numpy as np
import pytest
from batches import know_by_name, loaded
from networks import tiny_clip_network, tiny_network
from PIL import Image
from videos import write_video

from nonlocal_lens.analysis.clips import read_clip
from nonlocal_lens.analysis.figures.look import Look
from nonlocal_lens.analysis.figures.panels import MapPanel, PhotoPanel, frame_rows
from nonlocal_lens.analysis.figures.plate import Plate
from nonlocal_lens.analysis.figures.queries import QuerySpec
from nonlocal_lens.analysis.scene import Place
from nonlocal_lens.app.batch.inputs import Source
from nonlocal_lens.app.export import replay
from nonlocal_lens.app.export.movie import Movie
from nonlocal_lens.app.export.movie_files import gif_bytes, mp4_bytes, read_comment
from nonlocal_lens.app.export.options import Options
from nonlocal_lens.app.export.provenance import read_note
from nonlocal_lens.app.export.run import export, planned_files
from nonlocal_lens.app.export.scene import look_at
from nonlocal_lens.app.export.strip import shown_frames

pytestmark = pytest.mark.slow

NETWORKS = {
    "clips-tiny": loaded("clips-tiny", tiny_clip_network("disentangled"), "0" * 64),
    "tiny": loaded("tiny", tiny_network("non_local"), "1" * 64),
}
CLIP = np.random.default_rng(0).integers(0, 256, (5, 40, 56, 3), dtype=np.uint8)
SMALL = {"dpi": 100, "width_in": 4}


@pytest.fixture(autouse=True)
def _networks(monkeypatch):
    know_by_name(monkeypatch, NETWORKS)


@pytest.fixture
def folder(tmp_path):
    """Return a folder of five frames."""
    found = tmp_path / "walk"
    found.mkdir()
    for number, frame in enumerate(CLIP):
        Image.fromarray(frame).save(found / f"{number}.png")
    return found


def pictures(count=7):
    ramp = np.tile(np.linspace(0, 255, 63).astype(np.uint8), (47, 1))
    frames = np.stack([np.roll(ramp, 5 * t, axis=1) for t in range(count)])
    return np.repeat(frames[..., None], 3, axis=3)


TIMES = [1.0, 1.1, 1.2, 1.5, 1.52, 2.0, 2.1]  # the rate varies, and the first is not at 0


def test_an_mp4_has_every_picture_at_its_time_and_its_comment(tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(mp4_bytes(pictures(), TIMES, 5.0, comment='{"a": "é"}'))
    with av.open(str(path)) as container:
        (stream,) = container.streams
        decoded = list(container.decode(stream))
    assert [float(frame.pts * frame.time_base) for frame in decoded] == pytest.approx(
        np.subtract(TIMES, 1), abs=1e-4
    )
    assert float(stream.duration * stream.time_base) == pytest.approx(1.1 + 1 / 5, abs=1e-3)
    assert stream.codec_context.name == "h264"
    for frame, picture in zip(decoded, pictures(), strict=True):
        seen = frame.to_ndarray(format="rgb24")
        assert seen.shape == (48, 64, 3)  # even sides, as H.264 needs
        assert np.abs(seen[:47, :63].astype(int) - picture).mean() < 3
    assert read_comment(path) == '{"a": "é"}'
    clip = read_clip(path, stride=1)
    assert clip.times == pytest.approx(np.subtract(TIMES, 1), abs=1e-3)
    again = mp4_bytes(pictures(), TIMES, 5.0, comment='{"a": "é"}')
    assert again == path.read_bytes()


def test_a_gif_has_every_picture_at_its_time_and_the_colors_of_its_bar(tmp_path):
    bar = np.array([[255, 0, 0], [0, 255, 0], [17, 34, 51]], np.uint8)
    every = pictures()
    every[:, 40:, 40:] = bar[2]
    path = tmp_path / "a.gif"
    path.write_bytes(gif_bytes(every, TIMES, 5.0, comment='{"a": "é"}', colors=bar))
    with Image.open(path) as image:
        assert image.n_frames == 7
        durations = []
        for number in range(7):
            image.seek(number)
            durations.append(image.info["duration"])
            seen = np.asarray(image.convert("RGB"))
            assert np.abs(seen.astype(int) - every[number]).mean() < 3
            assert (seen[42:, 42:] == bar[2]).all()
    assert durations == [100, 100, 300, 20, 480, 100, 200]
    assert read_comment(path) == '{"a": "é"}'


@pytest.mark.parametrize("network", NETWORKS)
def test_exported_videos_have_the_frames_and_the_rate_of_the_selection(tmp_path, network):
    video = write_video(tmp_path / "street.mp4", frames=12, fps=10)
    options = Options.build(
        {
            "inputs": [str(video)],
            "networks": [network],
            "queries": ["2,40,30"],
            "formats": "mp4,gif",
            "start": 1,
            "stride": 2,
            "frames": 4,
            **SMALL,
        }
    )
    out = tmp_path / "out"
    assert export(options, out).errors == 0
    name = "street.q01"
    assert set(planned_files(options)) == {f"{name}.mp4", f"{name}.gif"}
    with av.open(str(out / f"{name}.mp4")) as container:
        stream = container.streams.video[0]
        decoded = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        assert float(stream.frames / (stream.duration * stream.time_base)) == pytest.approx(5)
    assert len(decoded) == 4
    with Image.open(out / f"{name}.gif") as image:
        assert image.n_frames == 4
        assert image.info["duration"] == 200
    levels = [frame[:, :45].mean() for frame in decoded]  # the input, on the left, brightens
    assert levels == sorted(levels)
    for suffix in ("mp4", "gif"):
        note = read_note(out / f"{name}.{suffix}")
        assert note["inputs"][0]["frames"] == [1, 3, 5, 7]
        assert note["queries"] == [[2, 40, 30]]
        assert note["command"] == options.command()
        done = replay.replay(out / f"{name}.{suffix}", out / f"again.{suffix}")
        assert not done.warnings
        assert done.path.read_bytes() == (out / f"{name}.{suffix}").read_bytes()


@pytest.mark.parametrize("network", NETWORKS)
def test_a_folder_of_frames_becomes_a_sheet_a_page_and_records(tmp_path, folder, network):
    options = Options.build(
        {
            "inputs": [str(folder)],
            "networks": [network],
            "queries": ["1,20,10", "30,20"],
            "formats": "png,pdf,svg,html,safetensors",
            "frames": 5,
            "arrows": 7,
            **SMALL,
        }
    )
    summary = export(options, tmp_path / "out")
    assert summary.errors == 0
    names = {entry.name for entry in (tmp_path / "out").iterdir()}
    assert {f"walk.q0{q}.{kind}" for q in (1, 2) for kind in ("png", "pdf", "svg")} <= names
    assert "walk.html" in names
    records = [name for name in names if name.endswith(".safetensors")]
    assert len(records) == (1 if network == "clips-tiny" else 5)
    assert read_note(tmp_path / "out" / "walk.q02.svg")["queries"] == [[2, 30, 20]]
    page = (tmp_path / "out" / "walk.html").read_text()
    assert not re.search(r"(src|href)=.https?:", page)
    done = replay.replay(tmp_path / "out" / "walk.q01.png", tmp_path / "again.png")
    with Image.open(done.path) as one, Image.open(tmp_path / "out" / "walk.q01.png") as other:
        assert np.array_equal(np.asarray(one), np.asarray(other))


def test_panels_are_those_of_the_records(folder):
    from nonlocal_lens.analysis import terms

    options = Options.build(
        {"inputs": [str(folder)], "networks": ["clips-tiny", "tiny"], "queries": ["3,20,10"]}
    )
    seen = look_at(Source("walk", str(folder)), options, as_clip=True).scene
    rows = frame_rows(seen, Place(3, 20, 10), ("input", "whole", "unary"))
    assert [len(row) for row in rows] == [5] * 5
    record = seen.records["clips-tiny"].first
    grid = record.query_grid
    query = grid.position(grid.cell_at(x=20, y=10, frame=3))
    whole = terms.attention(record, [query])[0].numpy() * grid.positions
    shown = np.stack([row[1].values for row in rows])
    np.testing.assert_allclose(shown.ravel(), whole, rtol=1e-6)
    marked = [frame for frame, row in enumerate(rows) if row[1].query is not None]
    assert marked == [3]
    for frame, row in enumerate(rows):
        assert isinstance(row[0], PhotoPanel)
        assert isinstance(row[3], MapPanel)
        still = seen.records["tiny"].records[frame]
        position = still.query_grid.position(still.query_grid.cell_at(x=20, y=10))
        expected = terms.attention(still, [position])[0].numpy() * still.key_grid.positions
        np.testing.assert_allclose(row[3].values.ravel(), expected, rtol=1e-6)
        assert row[3].query == (20, 10)


def test_queries_in_clips():
    assert QuerySpec.parse("3,20,10.5").frame == 3
    assert QuerySpec.parse("20,10").frame is None
    assert QuerySpec.parse("auto:3").count == 3
    for wrong in ("1.5,2,3", "-1,2,3", "1,2,3,4", "x,1,2"):
        with pytest.raises(ValueError, match="query"):
            QuerySpec.parse(wrong)


@pytest.mark.parametrize(("columns", "width_in", "dpi"), [(2, 3.61, 100), (3, 1.545, 200)])
def test_panels_that_end_half_a_pixel_beyond_the_picture_are_cut(columns, width_in, dpi):
    photos = np.full((1, 40, 56, 3), 200, np.uint8)
    rows = [[PhotoPanel("input", "", photos[0], None, None)] * columns]
    look = Look(width_in=width_in, dpi=dpi)
    drawn = replace(look, dpi=dpi // 2)
    plate = Plate(rows, {}, drawn, [photos[0]], caption="")
    x, _, width, _ = plate.panel_pixels[0][-1]
    (picture,) = Movie(rows, photos, [[""] * columns], {}, look, "").pictures()
    assert x + width > picture.shape[1], "the case is the one that is meant"
    assert (picture[20, -3:] == 200).all()


def test_a_long_strip_shows_the_querys_frame():
    assert shown_frames(7, 3) == list(range(7))
    chosen = shown_frames(100, 50)
    assert len(chosen) == 32
    assert 50 in chosen
    assert chosen == sorted(set(chosen))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"layout": "sheet", "formats": "png"}, "clips have the layout grid, got sheet"),
        ({"scale": "per-map"}, "clips have one scale for all frames"),
        ({"terms": "input,difference"}, "unknown term of clips 'difference'"),
        ({"stride": 0}, "stride must be at least 1, got 0"),
        ({"frames": -1}, "frames must be from 1 to 512, got -1"),
        ({"queries": ["a,2,3"]}, "must be T,X,Y"),
    ],
)
def test_options_that_clips_do_not_have_are_named(given, sentence):
    given = {"inputs": ["a.mp4"], "networks": ["tiny"], "queries": ["1,2,3"], **given}
    with pytest.raises(ValueError, match=sentence):
        Options.build(given)


def test_what_cannot_be_used_is_an_error_of_its_input(tmp_path, folder):
    (tmp_path / "broken.mp4").write_bytes(b"no video")
    given = {"networks": ["clips-tiny"], "formats": "png", **SMALL}
    for inputs, queries, more, sentence in [
        (["broken.mp4"], ["1,2,3"], {}, "broken.mp4 is not a video that can be decoded"),
        (["walk"], ["5,2,3"], {"frames": 5}, r"frame must be in [0, 5) of the frames chosen"),
        (["walk"], ["1,99,3"], {}, "outside the image"),
        (["walk"], ["1,2,3"], {"track": True}, "track is for networks that look at images"),
    ]:
        inputs = [str(tmp_path / name) for name in inputs]
        options = Options.build({**given, "inputs": inputs, "queries": queries, **more})
        out = tmp_path / f"out{len(list(tmp_path.iterdir()))}"
        assert export(options, out).errors == 1
        assert sentence in (out / "errors.csv").read_text().replace('""', '"')


def test_options_of_clips_survive_json_and_the_command_line():
    options = Options.build(
        {
            "inputs": ["a.mp4"],
            "networks": ["tiny"],
            "queries": ["3,20,10"],
            "formats": "mp4,gif",
            "start": 3,
            "stride": 2,
            "frames": 9,
            "track": True,
        }
    )
    assert Options.build(json.loads(json.dumps(options.to_json()))) == options
    assert "--start 3 --stride 2 --frames 9 --track" in options.command()
    assert "--query 3,20,10" in options.command()


def test_a_damaged_video_has_no_note(tmp_path):
    (tmp_path / "a.mp4").write_bytes(b"nothing")
    with pytest.raises(ValueError, match="damaged or incomplete"):
        read_note(tmp_path / "a.mp4")
    still = io.BytesIO()
    Image.new("RGB", (9, 9)).save(still, "GIF")
    (tmp_path / "a.gif").write_bytes(still.getvalue())
    with pytest.raises(ValueError, match="does not say how it was made"):
        read_note(tmp_path / "a.gif")
