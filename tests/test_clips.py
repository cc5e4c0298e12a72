import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from videos import CODECS, gray_frame, index_of, turn, write_sound, write_video

from nonlocal_lens.analysis import video_file
from nonlocal_lens.analysis.clips import is_clip, read_clip
from nonlocal_lens.streets import render_clip

STACK = np.stack([gray_frame(i, 16, 24) for i in range(11)])


def indices(clip):
    return [index_of(frame) for frame in clip.frames]


@pytest.mark.parametrize("kind", CODECS)
def test_every_container_is_read(tmp_path, kind):
    clip = read_clip(write_video(tmp_path / f"a.{kind}"), start=1, stride=3, frames=3)
    assert clip.frames.shape == (3, 48, 64, 3)
    assert indices(clip) == [1, 4, 7] == list(clip.indices)
    assert clip.times == pytest.approx([0.1, 0.4, 0.7])
    assert clip.fps == pytest.approx(10 / 3)
    assert clip.name == f"a.{kind}"
    assert not clip.note
    assert clip.frames[0, 2, 2].min() > clip.frames[0, 40, 60].max()  # white corner, top left


def test_without_a_stride_the_frames_spread_to_the_end(tmp_path):
    path = write_video(tmp_path / "a.mp4", frames=30)
    assert indices(read_clip(path, frames=4)) == [0, 8, 16, 24]
    assert read_clip(path, start=20, frames=32).indices == tuple(range(20, 30))


def test_frames_keep_their_times_where_the_rate_varies(tmp_path):
    ticks = [0, 100, 130, 400, 420, 900, 1000, 1010, 1020, 1500, 1600, 2000]
    for kind in ("mp4", "mkv"):
        clip = read_clip(write_video(tmp_path / f"vfr.{kind}", ticks=ticks))
        assert clip.times * 1000 == pytest.approx(ticks)
        assert clip.fps == pytest.approx(11 / 2)
        assert not clip.note


def test_a_header_that_is_wrong_does_not_leave_frames_out(tmp_path):
    ticks = [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 3000]  # announces far more than 12
    clip = read_clip(write_video(tmp_path / "vfr.mkv", ticks=ticks), frames=6)
    assert indices(clip) == [0, 2, 4, 6, 8, 10]


def test_a_video_that_does_not_say_how_long_it_is_is_counted(tmp_path):
    path = write_video(tmp_path / "live.webm", options={"live": "1"})
    assert indices(read_clip(path, frames=4)) == [0, 3, 6, 9]
    assert indices(read_clip(path, start=2, stride=4)) == [2, 6, 10]


def test_the_cameras_rotation_is_applied(tmp_path):
    clip = read_clip(turn(write_video(tmp_path / "turned.mp4")))
    assert clip.frames.shape == (12, 64, 48, 3)
    assert clip.frames[0, 2, 45].min() > clip.frames[0, 60, 2].max()  # white corner, top right


@pytest.mark.parametrize("size", [(47, 63), (9, 97)])
def test_odd_sizes_keep_every_pixel(tmp_path, size):
    clip = read_clip(write_video(tmp_path / "odd.mp4", height=size[0], width=size[1]))
    assert clip.frames.shape == (12, *size, 3)


def test_one_frame_is_a_clip(tmp_path):
    clip = read_clip(write_video(tmp_path / "one.mp4", frames=1))
    assert clip.frames.shape[0] == 1
    assert clip.fps == pytest.approx(10)
    Image.fromarray(STACK[3]).save(tmp_path / "still.png")
    assert np.array_equal(read_clip(tmp_path / "still.png").frames, STACK[3:4])


def test_a_gif_keeps_its_times(tmp_path):
    first, *rest = [Image.fromarray(frame) for frame in STACK[:5]]
    times = [100, 200, 50, 100, 100]
    first.save(tmp_path / "a.gif", save_all=True, append_images=rest, duration=times)
    clip = read_clip(tmp_path / "a.gif")
    assert clip.times == pytest.approx([0, 0.1, 0.3, 0.35, 0.45])
    assert indices(clip) == [0, 1, 2, 3, 4]
    skipped = read_clip(tmp_path / "a.gif", start=1, stride=2)
    assert skipped.times == pytest.approx([0.1, 0.35])
    data = (tmp_path / "a.gif").read_bytes()
    (tmp_path / "cut.gif").write_bytes(data[: len(data) * 3 // 5])
    cut = read_clip(tmp_path / "cut.gif", stride=1)
    assert 1 <= len(cut) < 5
    assert indices(cut) == list(range(len(cut)))


def test_a_folder_is_read_in_natural_order(tmp_path):
    for number, frame in enumerate(STACK):
        Image.fromarray(frame).save(tmp_path / f"frame{number}.png")
    clip = read_clip(tmp_path, fps=5)
    assert np.array_equal(clip.frames, STACK)
    assert clip.times[2] == pytest.approx(0.4)
    before = clip.sha256
    Image.fromarray(STACK[0]).save(tmp_path / "frame4.png")
    assert read_clip(tmp_path).sha256 != before


def test_arrays_tensors_and_clips(generator):
    clip = read_clip(STACK, start=2, stride=4, fps=4)
    assert np.array_equal(clip.frames, STACK[2::4])
    assert clip.times == pytest.approx([0.5, 1.5, 2.5])
    tensor = torch.from_numpy(STACK).permute(0, 3, 1, 2)
    assert np.array_equal(read_clip(tensor, stride=1).frames, STACK)
    assert np.array_equal(read_clip(tensor / 255, stride=1).frames, STACK)
    again = read_clip(clip, start=1, stride=1)
    assert np.array_equal(again.frames, STACK[6::4])
    assert again.times == pytest.approx([1.5, 2.5])
    assert again.sha256 == clip.sha256


def test_a_rendered_clip_spreads_its_event():
    clip = read_clip("rendered:3", frames=2)
    assert np.array_equal(clip.frames, render_clip(3, 2).images)
    assert clip.times == pytest.approx([0, 6])


def test_seeking_and_skipping_find_the_same_frames(tmp_path, monkeypatch):
    path = write_video(tmp_path / "long.mp4", frames=30)
    skipped = read_clip(path, start=3, stride=11)
    monkeypatch.setattr(video_file, "SEEK_BEYOND", 4)
    sought = read_clip(path, start=3, stride=11)
    assert indices(sought) == [3, 14, 25]
    assert np.array_equal(sought.frames, skipped.frames)
    assert sought.times == pytest.approx(skipped.times)


def test_bytes_are_read_and_no_temporary_file_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    data = write_video(tmp_path / "a.webm").read_bytes()
    clip = read_clip(data, name="street.webm")
    assert indices(clip) == list(range(12))
    assert clip.name == "street.webm"

    class CancelledError(Exception):
        pass

    seen = []

    def cancel(done, total):
        seen.append((done, total, len(list((tmp_path / "temporary").iterdir()))))
        if done == 3:
            raise CancelledError

    with pytest.raises(CancelledError):
        read_clip(data, progress=cancel)
    assert seen == [(1, 12, 1), (2, 12, 1), (3, 12, 1)]
    with pytest.raises(ValueError, match="no mp4"):
        read_clip(b"nothing like a video" * 99)
    assert not list((tmp_path / "temporary").iterdir())


def test_a_cut_off_video_gives_what_is_there_and_says_so(tmp_path):
    path = write_video(tmp_path / "a.mkv", frames=30, height=144, width=192)
    data = path.read_bytes()
    (tmp_path / "cut.mkv").write_bytes(data[: len(data) * 4 // 5])
    clip = read_clip(tmp_path / "cut.mkv", stride=1)
    assert 0 < len(clip) < 30
    assert "cut.mkv ends after" in clip.note
    assert indices(clip) == list(range(len(clip)))


def test_what_is_no_clip_ends_in_one_sentence(tmp_path):
    (tmp_path / "empty.mp4").touch()
    video = write_video(tmp_path / "a.mp4")
    (tmp_path / "cut.mp4").write_bytes(video.read_bytes()[:900])
    (tmp_path / "text.mp4").write_text("hello")
    write_sound(tmp_path / "sound.m4a")
    (tmp_path / "folder").mkdir()
    Image.fromarray(STACK[0]).save(tmp_path / "a.png")
    Image.fromarray(STACK[0][:9]).save(tmp_path / "b.png")
    for source, options, sentence in [
        ("empty.mp4", {}, r"empty.mp4 is empty \(0 bytes\)"),
        ("cut.mp4", {}, "cut.mp4 is not a video that can be decoded"),
        ("text.mp4", {}, "text.mp4 is not a video that can be decoded"),
        ("sound.m4a", {}, "no picture"),
        ("folder", {}, "there is no picture"),
        (".", {}, "all frames must have one size; frame 1 of .* is 24 x 9 pixels"),
        ("a.mp4", {"start": 12}, "start must be below the 12 frames of a.mp4, got 12"),
        ("a.mp4", {"start": -1}, "start must be at least 0, got -1"),
        ("a.mp4", {"stride": 0}, "stride must be at least 1, got 0"),
        ("a.mp4", {"frames": 513}, "frames must be from 1 to 512, got 513"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            read_clip(tmp_path / source, **options)
    with pytest.raises(FileNotFoundError, match="there is no video or folder"):
        read_clip(tmp_path / "missing.mp4")
    with pytest.raises(ValueError, match="rendered:SEED"):
        read_clip("rendered:x")


@pytest.mark.usefixtures("as_users_run")
def test_wrong_arrays_end_in_one_sentence():
    for wrong, sentence in [
        (STACK[0], "a clip array must be uint8 of shape"),
        (STACK.astype(np.float32), "got float32"),
        (torch.zeros(3, 4, 16, 16), r"a clip tensor must have shape \(frames, 3"),
        (torch.full((3, 3, 16, 16), 2.0), r"values in \[0, 1\], got 2 to 2"),
        (STACK[:, :7], "at least 8 pixels"),
    ]:
        with pytest.raises(ValueError, match=sentence):
            read_clip(wrong)


def test_more_pixels_than_can_be_held_are_refused_before_they_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr("nonlocal_lens.analysis.clips.MOST_PIXELS", 48 * 64 * 5)
    with pytest.raises(ValueError, match=r"12 frames of a.mp4, 64 x 48 pixels each.*at most 5"):
        read_clip(write_video(tmp_path / "a.mp4"))


def test_what_moves_is_told_by_its_kind(tmp_path):
    assert is_clip(STACK)
    assert is_clip("street.MP4")
    assert is_clip(tmp_path)
    assert is_clip("rendered:3")
    assert is_clip(read_clip(STACK))
    assert not is_clip(STACK[0])
    assert not is_clip("street.gif")
    assert not is_clip(Path("street.png"))


MEMORY = """
import sys
from nonlocal_lens.analysis.clips import read_clip
sys.path.insert(0, "tests")
from peak_memory import peak_megabytes
for frames in map(int, sys.argv[2:]):
    print(len(read_clip(sys.argv[1], frames=frames)), peak_megabytes())
"""


@pytest.mark.slow
def test_the_sampled_frames_of_a_long_video_are_all_that_is_held(tmp_path):
    """200 frames of 1280 x 720 take 527 MB together; those that are not wanted cost nothing."""
    import subprocess

    path = write_video(tmp_path / "a.mp4", frames=200, height=720, width=1280, fps=1)
    root = Path(__file__).parents[1]
    command = [sys.executable, "-c", MEMORY, str(path), "2", "50"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    few, many = (line.split() for line in done.stdout.splitlines())
    assert (few[0], many[0]) == ("2", "50")
    # The 48 frames more, in MB of 2^20 bytes, and little else.
    assert float(many[1]) - float(few[1]) < 1.25 * 48 * 1280 * 720 * 3 / 2**20


def test_nothing_warns_and_nothing_is_printed(tmp_path, capfd):
    (tmp_path / "cut.mp4").write_bytes(write_video(tmp_path / "a.mp4").read_bytes()[:900])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ValueError, match="not a video"):
            read_clip(tmp_path / "cut.mp4")
    assert capfd.readouterr().err == ""
