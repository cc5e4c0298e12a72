"""Videos by their own time stamps: what is shown, when, and that it is the frame it says."""

import struct

import av
import numpy as np
import pytest
from numbered_video import number_of, write_numbered

from nonlocal_lens.analysis import video_file
from nonlocal_lens.analysis.clips import read_clip

COUNT = 101
UNEVEN = [0, *np.cumsum(np.random.default_rng(0).integers(5, 200, COUNT - 1)).tolist()]
LATE = [5000 + 40 * number for number in range(COUNT)]
EVEN = [40 * number for number in range(COUNT)]

FILES = {
    "even.mp4": (EVEN, "libx264", {"g": "17", "bf": "3"}, {}),
    "uneven.mp4": (UNEVEN, "libx264", {"g": "17", "bf": "3"}, {}),
    "uneven.mkv": (UNEVEN, "libx264", {"g": "17"}, {}),
    "uneven.mov": (UNEVEN, "libx264", {}, {}),
    "uneven.ts": (UNEVEN, "libx264", {"g": "17"}, {}),
    "uneven.webm": (UNEVEN, "libvpx", {"g": "17"}, {}),
    "uneven.flv": (UNEVEN, "libx264", {}, {}),
    "vp9.webm": (UNEVEN, "libvpx-vp9", {"g": "17", "cpu-used": "8"}, {}),
    "late.mp4": (LATE, "libx264", {}, {}),
    "late.mkv": (LATE, "libx264", {}, {}),
    "late.ts": (LATE, "libx264", {}, {}),
    "even.avi": (COUNT, "mpeg4", {}, {}),
    "reordered.avi": (COUNT, "libx264", {"bf": "2"}, {}),
    "still.avi": (COUNT, "mjpeg", {}, {}),
    "program.mpg": (COUNT, "mpeg1video", {}, {"format": "mpeg"}),
    "open.mkv": (EVEN, "libx264", {"x264-params": "open-gop=1:keyint=17:bframes=3"}, {}),
    "one_key.mp4": (EVEN, "libx264", {"g": "1000", "sc_threshold": "0"}, {}),
    "fragments.mp4": (
        EVEN,
        "libx264",
        {"g": "17"},
        {"muxer": {"movflags": "frag_keyframe+empty_moov"}},
    ),
    "endless.webm": (EVEN, "libvpx", {}, {"muxer": {"live": "1"}}),
    "raw.h264": (COUNT, "libx264", {}, {"format": "h264"}),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("videos")


@pytest.fixture(params=FILES)
def video(request, folder):
    path = folder / request.param
    ticks, codec, options, more = FILES[request.param]
    if not path.exists():
        write_numbered(path, ticks, codec, options=options, **more)
    seconds = np.array(ticks) / 1000 if isinstance(ticks, list) else np.arange(ticks) / 25
    return path, seconds - seconds[0]


@pytest.mark.parametrize("beyond", [4, 96])
@pytest.mark.parametrize(
    ("start", "stride", "frames"), [(0, None, 4), (3, 11, 9), (59, 17, 3), (97, None, 9)]
)
def test_the_frame_that_is_told_is_shown_at_its_own_time(
    video, start, stride, frames, beyond, monkeypatch
):
    path, seconds = video
    monkeypatch.setattr(video_file, "SEEK_BEYOND", beyond)
    clip = read_clip(path, start=start, stride=stride, frames=frames)
    step = stride or -(-(COUNT - start) // frames)
    assert list(clip.indices) == list(range(start, COUNT, step))[:frames]
    assert [number_of(frame) for frame in clip.frames] == list(clip.indices)
    assert clip.times == pytest.approx(seconds[list(clip.indices)], abs=1e-3)
    assert "evenly spaced" in clip.note if path.suffix == ".h264" else not clip.note


def test_all_frames_are_those_of_another_decoder(video):
    cv2 = pytest.importorskip("cv2")
    path, _ = video
    other, numbers = cv2.VideoCapture(str(path)), []
    while True:
        found, image = other.read()
        if not found:
            break
        numbers.append(number_of(image))
    clip = read_clip(path, stride=1, frames=512)
    assert [number_of(frame) for frame in clip.frames] == numbers == list(range(COUNT))


def test_a_recording_that_slows_down_is_spread_over_its_frames(tmp_path):
    ticks = [10 * number if number < 40 else 400 + 1000 * (number - 40) for number in range(60)]
    clip = read_clip(write_numbered(tmp_path / "screen.mp4", ticks, rate=60), frames=3)
    assert [number_of(frame) for frame in clip.frames] == [0, 20, 40] == list(clip.indices)
    assert clip.times == pytest.approx([0, 0.2, 0.4])


def test_what_an_edit_list_cuts_away_is_not_counted(tmp_path):
    path = write_numbered(tmp_path / "trimmed.mp4", EVEN[:60], options={"g": "12", "bf": "2"})
    data = bytearray(path.read_bytes())
    at, clock = data.index(b"elst") + 12, data.index(b"mdhd") + 16
    lasts, begin, rate = struct.unpack_from(">Iii", data, at)
    (ticks,) = struct.unpack_from(">I", data, clock)
    struct.pack_into(">Iii", data, at, lasts // 2, begin + ticks * 2 // 5, rate)  # 0.4 s later
    path.write_bytes(data)
    clip = read_clip(path, start=5, stride=7)
    assert [number_of(frame) for frame in clip.frames] == [15, 22, 29, 36]
    assert clip.times == pytest.approx([0.2, 0.48, 0.76, 1.04])
    assert not clip.note


@pytest.mark.parametrize(("degrees", "turns"), [(90, 1), (180, 2), (270, 3)])
def test_a_phones_rotation_is_applied(tmp_path, degrees, turns):
    path = tmp_path / "phone.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 64, "yuv420p"
        stream.set_display_rotation(degrees)
        image = np.zeros((64, 160, 3), np.uint8)
        image[:16, :40] = 255
        for number in range(5):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    (shown,) = read_clip(path, frames=1).frames
    assert np.abs(shown.astype(int) - np.rot90(image, turns)).mean() < 3


@pytest.mark.parametrize(
    ("name", "noted"),
    [
        ("uneven.mkv", True),
        ("uneven.webm", True),
        ("even.avi", True),
        ("fragments.mp4", True),
        ("uneven.ts", False),
    ],
)
def test_a_cut_off_file_shows_what_is_there_in_its_place(folder, tmp_path, name, noted):
    ticks, codec, options, more = FILES[name]
    whole = write_numbered(tmp_path / f"whole-{name}", ticks, codec, options=options, **more)
    data = whole.read_bytes()
    (tmp_path / name).write_bytes(data[: len(data) * 3 // 5])
    clip = read_clip(tmp_path / name, frames=5)
    assert [number_of(frame) for frame in clip.frames] == list(clip.indices)
    assert ("cut off" in clip.note) is noted  # a transport stream does not


@pytest.mark.parametrize("percent", range(30, 99, 6))
def test_fragments_are_read_wherever_the_file_was_cut_off(folder, tmp_path, percent):
    ticks, codec, options, more = FILES["fragments.mp4"]
    whole = write_numbered(tmp_path / "whole.mp4", ticks, codec, options=options, **more)
    data = whole.read_bytes()
    (tmp_path / "cut.mp4").write_bytes(data[: len(data) * percent // 100])
    clip = read_clip(tmp_path / "cut.mp4", frames=5)
    assert [number_of(frame) for frame in clip.frames] == list(clip.indices)


@pytest.mark.parametrize(
    "text",
    [
        "ffconcat version 1.0\nfile {other}\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{other}\n",
        "v=0\nm=video 5000 RTP/AVP 96\n",
        '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"></MPD>',
    ],
)
def test_a_list_of_other_files_opens_none_of_them(tmp_path, text):
    other = write_numbered(tmp_path / "other.ts", EVEN[:12])
    path = tmp_path / "list.mp4"
    path.write_text(text.format(other=other))
    with pytest.raises(ValueError, match=r"list\.mp4 is not a video that can be decoded"):
        read_clip(path)
