"""Tables of clips: rows of the whole and of every frame, and which inputs are clips."""

import csv
import json
from math import isnan

import numpy as np
import pytest
import torch
from batches import saved_network
from clips import tiny_clip_architecture, tiny_clip_network
from PIL import Image
from test_stats import StopError, rows_of, run, stop_after
from videos import write_sound, write_video

from nonlocal_lens.analysis import capture, degeneracy
from nonlocal_lens.analysis.capture import capture_frames
from nonlocal_lens.analysis.clips import read_clip
from nonlocal_lens.analysis.effects import effect
from nonlocal_lens.analysis.interventions import intervene
from nonlocal_lens.analysis.over_time import degeneracy_over_time, unary_drift, unary_maps
from nonlocal_lens.analysis.vectors import vector_distances
from nonlocal_lens.app.batch.inputs import Source
from nonlocal_lens.app.stats.columns import columns
from nonlocal_lens.app.stats.job import measure_input
from nonlocal_lens.app.stats.options import Options
from nonlocal_lens.app.stats.run import measure_all
from nonlocal_lens.app.threads import one_thread
from nonlocal_lens.models import load_network
from nonlocal_lens.models.checkpoint import save_network

pytestmark = pytest.mark.slow


@pytest.fixture(autouse=True)
def as_in_a_batch():
    """Let what is expected be computed as in a batch: in one thread, to the last digit."""
    with one_thread():
        yield


@pytest.fixture
def moving(tmp_path):
    """Return the file of a network that looks at clips of three frames."""
    path = tmp_path / "moving.safetensors"
    architecture = tiny_clip_architecture("disentangled")
    save_network(path, tiny_clip_network("disentangled"), architecture)
    return path


@pytest.fixture
def still(tmp_path):
    """Return the file of a network that looks at images."""
    return saved_network(tmp_path)


@pytest.fixture
def video(tmp_path):
    return write_video(tmp_path / "street.mp4", frames=11, fps=10)


def noise(folder, count):
    folder.mkdir()
    draws = np.random.default_rng(0)
    for number in range(count):
        pixels = draws.integers(0, 256, (37, 53, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    return folder


def options(inputs, networks, **more):
    return Options(tuple(map(str, inputs)), tuple(map(str, networks)), **more)


def measured(location, chosen):
    done = measure_input(Source("one", str(location)), chosen)
    assert not done.errors
    return done.rows


def test_a_network_that_looks_at_clips_has_a_row_of_the_whole_and_one_of_every_frame(
    tmp_path, moving
):
    folder = noise(tmp_path / "walk", 5)
    whole, *frames = measured(folder, options([folder], [moving], frames=5))
    clip, module = read_clip(folder, frames=5), load_network(moving)
    with vector_distances(module) as vectors:
        (record,) = capture(module, clip)
    report = degeneracy.measure(record, vectors=vectors["head.block"])
    for name in degeneracy.STATISTICS:
        value = getattr(report, name)
        expected = None if isnan(value) else pytest.approx(value, rel=1e-5)
        assert whole[name] == expected, name
    found = degeneracy_over_time(record)
    assert whole["frame_information_bits"] == pytest.approx(found.frame_information_bits)
    assert whole["own_frame_mass"] == pytest.approx(found.frame_to_frame.diagonal().mean().item())
    assert whole["drift_nats"] == pytest.approx(found.drift_nats.mean().item())
    assert "frame" not in whole
    assert (whole["frames"], whole["queries"], whole["note"]) == (
        5,
        record.query_grid.positions,
        None,
    )
    assert (whole["input_sha256"], whole["width"], whole["height"]) == (clip.sha256, 53, 37)
    assert [row["frame"] for row in frames] == list(range(5))
    assert [row["time_s"] for row in frames] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4])
    for number, (row, expected) in enumerate(zip(frames, found.frames, strict=True)):
        for name, value in vars(expected).items():
            assert row[name] == pytest.approx(value), name
        assert row["own_frame_mass"] == pytest.approx(found.frame_to_frame[number, number].item())
        assert row["queries"] == whole["queries"] / 5
        assert "entropy_bits" not in row, "it is not measured frame by frame"
    drift = [row["drift_nats"] for row in frames]
    assert drift[0] is None
    assert drift[1:] == pytest.approx(found.drift_nats.tolist())


def test_a_network_that_looks_at_images_has_a_row_for_every_frame(video, still):
    rows = measured(video, options([video], [still], start=1, stride=3, frames=3))
    clip = read_clip(video, start=1, stride=3, frames=3)
    records = [records[0] for records in capture_frames(load_network(still), clip)]
    assert [row["frame"] for row in rows] == [0, 1, 2]
    assert [row["time_s"] for row in rows] == pytest.approx([0.1, 0.4, 0.7])
    for row, record in zip(rows, records, strict=True):
        assert row["entropy_bits"] == pytest.approx(degeneracy.measure(record).entropy_bits)
        assert row["input_sha256"] == clip.sha256
    drift = unary_drift(torch.cat([unary_maps(record) for record in records])).tolist()
    assert [row["drift_nats"] for row in rows[1:]] == pytest.approx(drift)
    assert rows[0]["drift_nats"] is None


def test_rows_have_the_columns_that_are_announced(video, still, moving):
    chosen = options([video], [still, moving], frames=2, baselines=True, interventions=True)
    kinds = {column.name: column.kind for column in columns(chosen, clips=True)}
    rows = measured(video, chosen)
    assert set().union(*rows) == set(kinds)
    for row in rows:
        for name, cell in row.items():
            assert cell is None or type(cell) is kinds[name], name
    pictures = [column.name for column in columns(chosen)]
    assert [name for name in kinds if name in pictures] == pictures
    assert set(kinds) - set(pictures) == {
        *("frames", "frame", "time_s", "note"),
        *("frame_information_bits", "own_frame_mass", "drift_nats"),
    }


@torch.no_grad()
def test_interventions_on_a_clip_are_those_of_its_network(tmp_path, moving):
    folder = noise(tmp_path / "walk", 3)
    whole, first, *_ = measured(folder, options([folder], [moving], interventions=True))
    network = load_network(moving)
    x = network.preprocess(read_clip(folder).frames)
    with intervene(network, "mean_row"):
        changed = network(x)
    expected = effect(network(x), changed)
    assert whole["mean_row_kl_nats"] == pytest.approx(expected.mean_kl_nats, abs=1e-9)
    assert whole["mean_row_flipped_share"] == expected.flipped_share
    assert "mean_row_kl_nats" not in first, "the network answers for the whole clip"


def test_an_input_counts_once_in_the_summary(tmp_path, still, moving):
    folders = [noise(tmp_path / name, count) for name, count in (("a", 2), ("b", 5))]
    out = tmp_path / "stats.json"
    arguments = ["--network", still, "--network", moving, "--frames", 5, "--jobs", 1]
    result = run("stats", *folders, *arguments, "--json", "--out", out)
    assert result.exit_code == 0, result.output
    rows = rows_of(out)
    of_still, of_moving = json.loads(result.stdout)["summary"]
    of_images = [row for row in rows if row["network"] == "tiny"]
    means = [
        np.mean([row["entropy_bits"] for row in of_images if row["input"] == str(folder)])
        for folder in folders
    ]
    found = of_still["statistics"]["entropy_bits"]
    assert (found["mean"], found["numbers"]) == (pytest.approx(np.mean(means)), 2)
    whole = [
        row["unary_share"] for row in rows if row["network"] == "moving" and row["frame"] is None
    ]
    found = of_moving["statistics"]["unary_share"]
    assert (found["mean"], found["numbers"]) == (pytest.approx(np.mean(whole)), 2)


def test_what_is_a_clip(tmp_path, still, moving):
    videos = tmp_path / "videos"
    videos.mkdir()
    for name in ("b10.mp4", "b2.avi"):
        write_video(videos / name, frames=3)
    frames = noise(tmp_path / "frames", 3)
    ramp = [Image.new("RGB", (40, 24), (level, 0, 0)) for level in (10, 90, 200)]
    ramp[0].save(videos / "c.gif", save_all=True, append_images=ramp[1:], duration=100)
    picture = frames / "1.png"

    def inputs(network, *given, **more):
        out = tmp_path / "stats.json"
        measure_all(options(given, [network], **more), out, jobs=1, force=True)
        found = {}
        for row in rows_of(out):
            found.setdefault(row["input"].removeprefix(f"{tmp_path}/"), []).append(row.get("frame"))
        return found

    three, whole = [0, 1, 2], [None, 0, 1, 2]
    of_videos = {"videos/b2.avi": whole, "videos/b10.mp4": whole, "videos/c.gif": whole}
    assert inputs(moving, videos) == of_videos, "a folder of videos is its videos"
    assert list(inputs(moving, videos)) == list(of_videos), "in natural order"
    assert inputs(moving, tmp_path / "*s" / "*.mp4") == {"videos/b10.mp4": whole}
    assert inputs(moving, tmp_path / "f*s") == {"frames": whole}, "a glob finds folders of frames"
    assert inputs(moving, frames, picture) == {"frames": whole, "frames/1.png": [None, 0]}
    assert inputs(still, frames, frames=3) == {"frames": three}
    assert inputs(still, videos / "b2.avi", picture) == {
        "videos/b2.avi": three,
        "frames/1.png": [0],
    }
    pictures = inputs(still, frames)
    assert pictures == {f"frames/{number}.png": [None] for number in range(3)}, "no clip at all"


def test_a_video_that_cannot_be_used_is_an_error_and_a_cut_one_has_a_note(tmp_path, video, still):
    (tmp_path / "empty.mp4").write_bytes(b"")
    write_sound(tmp_path / "sound.mp4")
    cut = write_video(tmp_path / "cut.mkv", frames=12)
    cut.write_bytes(cut.read_bytes()[: int(0.6 * cut.stat().st_size)])
    out = tmp_path / "out" / "stats.csv"
    names = [video, tmp_path / "empty.mp4", tmp_path / "sound.mp4", cut]
    result = run("stats", *names, "--network", still, "--stride", 1, "--jobs", 1, "--out", out)
    assert result.exit_code == 1
    errors = {row["input"]: row["error"] for row in rows_of(out.parent / "errors.csv")}
    assert "is empty (0 bytes)" in errors[str(tmp_path / "empty.mp4")]
    assert "only sound" in errors[str(tmp_path / "sound.mp4")]
    with out.open(newline="") as file:
        notes = {row["input"]: row["note"] for row in csv.DictReader(file)}
    assert notes[str(video)] == ""
    assert "ends after" in notes.get(str(cut), "ends after"), "unless nothing of it can be decoded"


def test_an_interrupted_run_of_clips_resumes_to_the_same_bytes(tmp_path, moving):
    folders = [noise(tmp_path / name, 3) for name in "abc"]
    chosen = options(folders, [moving])
    measure_all(chosen, tmp_path / "whole.parquet", jobs=1)
    out = tmp_path / "stats.parquet"
    with pytest.raises(StopError):
        measure_all(chosen, out, jobs=1, progress=stop_after(1))
    with pytest.raises(ValueError, match="other inputs or options"):
        measure_all(options(folders, [moving], start=1), out, jobs=1, resume=True)
    assert measure_all(chosen, out, jobs=2, resume=True).skipped == 1
    assert out.read_bytes() == (tmp_path / "whole.parquet").read_bytes()
