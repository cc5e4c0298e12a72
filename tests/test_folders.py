"""Folders as computers leave them: what can be read is read, what cannot is named."""

import csv
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from batches import saved_network
from networks import tiny_network
from numbered_video import write_numbered
from PIL import Image
from typer.testing import CliRunner

from nonlocal_lens.analysis import over_dataset
from nonlocal_lens.analysis.clips import is_clip, read_clip
from nonlocal_lens.analysis.file_kinds import (
    PICTURES,
    UNREADABLE,
    VIDEOS,
    Kind,
    folders_below,
    is_junk,
    kind_of,
    sniffed,
)
from nonlocal_lens.analysis.images import read_image
from nonlocal_lens.app.batch.inputs import find_sources, is_video, passed_by
from nonlocal_lens.app.cli import cli
from nonlocal_lens.models import limits

HW = (40, 56)
JUNK = (
    *(".DS_Store", "._a.png", ".hidden.png", "Thumbs.db", "desktop.ini", "ehthumbs.db", "Icon\r"),
    *("~$a.png", "b.png.part", "b.png.crdownload", ".~lock.a.png#", "a.png~"),
)
JUNK_FOLDERS = ("@eaDir", ".git", "__MACOSX", "$RECYCLE.BIN", ".Trash-1000")


def noise(seed):
    return np.random.default_rng(seed).integers(0, 256, (*HW, 3), dtype=np.uint8)


@pytest.fixture
def folder(tmp_path):
    """Return a folder with three pictures, one of them damaged, and what computers leave."""
    folder = tmp_path / "folder"
    folder.mkdir()
    for name in JUNK:
        (folder / name).write_bytes(b"\0\0\0\1Bud1")
    for name in JUNK_FOLDERS:
        (folder / name).mkdir()
        Image.fromarray(noise(9)).save(folder / name / "SYNOPHOTO_THUMB.jpg")
    for number, name in enumerate(("a2.png", "a10.JPG", "b.avif", "c.jp2", "d.jfif", "e.TIF")):
        kind = {"jfif": "JPEG", "JPG": "JPEG"}.get(name.partition(".")[2])
        Image.fromarray(noise(number)).save(folder / name, kind)
    Image.fromarray(noise(7)).save(folder / "no_suffix", "PNG")
    (folder / "f.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99))
    (folder / "g.png").write_bytes(b"")
    (folder / "notes.txt").write_text("no picture")
    (folder / "loop").symlink_to(folder)
    (folder / "gone.png").symlink_to(folder / "nowhere")
    (folder / "self.png").symlink_to(folder / "self.png")
    return folder


READ = ["a2.png", "a10.JPG", "b.avif", "c.jp2", "d.jfif", "e.TIF", "no_suffix"]


def test_over_dataset_reads_what_can_be_read_and_names_what_cannot(folder):
    with pytest.warns(UserWarning, match=r"left out \(and 1 more\): f.heic: .*HEIC"):
        found = over_dataset(tiny_network("non_local"), folder)
    assert found["image"].tolist() == READ
    assert set(found.attrs["left_out"]) == {"f.heic", "g.png"}


def test_what_computers_leave_is_not_worth_a_word(tmp_path):
    (tmp_path / ".DS_Store").write_bytes(b"\0\0\0\1Bud1")
    Image.fromarray(noise(0)).save(tmp_path / "a.png")
    assert len(over_dataset(tiny_network("non_local"), tmp_path)) == 1
    assert passed_by([str(tmp_path)]) == []


def test_statistics_do_the_same(folder, tmp_path):
    out = tmp_path / "out" / "stats.csv"
    network = saved_network(tmp_path)
    words = ["stats", str(folder), "--network", str(network), "--out", str(out), "--jobs", "1"]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 1
    assert "note: passed by in " in done.stderr
    assert "notes.txt" in done.stderr
    with out.open(newline="") as file:
        names = [row["input"].rpartition("/")[2] for row in csv.DictReader(file)]
    assert names == READ
    with (out.parent / "errors.csv").open(newline="") as file:
        errors = {row["input"].rpartition("/")[2]: row["error"] for row in csv.DictReader(file)}
    assert set(errors) == {"f.heic", "g.png"}
    assert "save it as JPEG or PNG" in errors["f.heic"]
    assert "is empty (0 bytes)" in errors["g.png"]


def test_links_that_lead_round_end(folder):
    found = find_sources([str(folder / "**" / "*.png")])
    assert [source.name for source in found] == ["a2", "g"]
    everything = find_sources([str(folder / "**")])
    assert len(everything) == len(READ) + 3


def test_two_stars_lead_through_so_many_folders_and_no_further(folder, monkeypatch):
    count = len(list(folders_below(folder)))
    monkeypatch.setattr(limits, "MOST_FOLDERS", count)
    assert find_sources([str(folder / "**" / "*.png")])
    monkeypatch.setattr(limits, "MOST_FOLDERS", count - 1)
    with pytest.raises(ValueError, match=f"there are more than {count - 1} folders below .*down"):
        find_sources([str(folder / "**" / "*.png")])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_files_that_may_not_be_read_are_named(folder):  # pragma: no cover
    (folder / "a2.png").chmod(0)
    with pytest.raises(PermissionError, match=r"a2\.png cannot be read: Permission denied"):
        read_image(folder / "a2.png")


def test_a_pipe_is_no_picture_and_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    os.mkfifo(tmp_path / "pipe.mp4")
    with pytest.raises(FileNotFoundError, match="there is no image file"):
        read_image(tmp_path / "pipe.png")
    with pytest.raises(FileNotFoundError, match="there is no video"):
        read_clip(tmp_path / "pipe.mp4")
    with pytest.raises(ValueError, match="there is no input"):
        find_sources([str(tmp_path / "pipe.png")])
    with pytest.raises(ValueError, match="there is no image in the folder"):
        find_sources([str(tmp_path)])


@pytest.mark.parametrize("name", ["clip.3gp", "clip.ts", "CLIP.MPG", "clip.MOV", "clip"])
def test_videos_are_told_whatever_they_are_called(tmp_path, name):
    kind = {"3gp": "3gp", "ts": "mpegts", "MPG": "mpeg", "MOV": "mov", "clip": "matroska"}
    muxer = kind[name.rpartition(".")[2]]
    codec = "mpeg2video" if muxer == "mpeg" else "libx264"
    path = write_numbered(tmp_path / name, 12, codec, format=muxer)
    assert kind_of(path) is Kind.video
    assert is_clip(path)
    assert is_video(str(path))
    assert len(read_clip(path)) == 12
    (source,) = find_sources([str(tmp_path)], clips=True)
    assert source.location == str(path)


def test_a_program_is_no_transport_stream(tmp_path):
    (tmp_path / "main.ts").write_text("export const answer: number = 42;\n" * 20)
    assert kind_of(tmp_path / "main.ts") is Kind.other
    assert not is_video(str(tmp_path))


def test_a_folder_of_frames_passes_by_what_is_no_frame(tmp_path):
    for number in (1, 2, 10):
        Image.fromarray(noise(number)).save(tmp_path / f"frame{number}.png")
    for name in (".DS_Store", "._frame1.png", "Thumbs.db"):
        (tmp_path / name).write_bytes(b"junk")
    (tmp_path / "frame3.heic").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99))
    clip = read_clip(tmp_path)
    assert np.array_equal(clip.frames, np.stack([noise(number) for number in (1, 2, 10)]))
    assert clip.note == "left out, as they cannot be read: frame3.heic"


def test_the_table_of_suffixes_tells_each_once():
    assert not PICTURES & VIDEOS
    assert not (PICTURES | VIDEOS) & set(UNREADABLE)
    assert all(suffix == suffix.lower() and suffix[0] == "." for suffix in PICTURES | VIDEOS)
    assert all(not is_junk(Path(f"a{suffix}")) for suffix in PICTURES | VIDEOS)


def test_first_bytes_tell_a_kind():
    assert sniffed(b"") == ""
    assert sniffed(b"BM is also how words begin") == ""
    assert sniffed(b"RIFF\0\0\0\0WAVE") == ""
    assert sniffed(b"<?xml version='1.0'?>\n<svg xmlns=''>") == ".svg"
    assert sniffed(b"\0\0\0\x20ftypavif\0\0\0\0mif1avifmiaf") == ".avif"


# ---------------------------------------------------------------- damaged metadata


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*extra, after=()):
    rows = b"".join(b"\0" + bytes([9, 8, 7] * 32) for _ in range(32))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 32, 32, 8, 2, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(rows)) + b"".join(after) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + body


WORDS = (
    *(b"transparency", b"xmp", b"duration", b"exif", b"icc_profile", b"dpi", b"gamma", b"loop"),
    *(b"default_image", b"blend", b"disposal", b"bbox", b"timestamp", b"chromaticity", b"srgb"),
    *(b"interlace", b"aspect", b"background", b"photoshop", b"comment", b"Raw profile type exif"),
)
DAMAGED = {
    "short eXIf": png(chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\x01")),
    "empty eXIf": png(chunk(b"eXIf", b"")),
    "wild eXIf": png(chunk(b"eXIf", b"II*\0\xff\xff\xff\xff" + bytes(99))),
    "short iCCP": png(chunk(b"iCCP", b"x\0\0abc")),
    "short pHYs": png(chunk(b"pHYs", b"\0")),
    "short tIME": png(chunk(b"tIME", b"\0")),
    "short gAMA": png(chunk(b"gAMA", b"")),
    "short cHRM": png(chunk(b"cHRM", b"\0\0")),
    "short acTL": png(chunk(b"acTL", b"\0\0")),
    "a text bomb": png(chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(90_000_000)))),
    "wild iTXt": png(chunk(b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0nonsense")),
    **{f"a text called {word.decode()}": png(chunk(b"tEXt", word + b"\0yes")) for word in WORDS},
    **{f"{word.decode()} after": png(after=[chunk(b"tEXt", word + b"\0yes")]) for word in WORDS},
}


@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_metadata_never_loses_a_picture(name, tmp_path):
    image = read_image(DAMAGED[name])
    assert image.shape == (32, 32, 3)
    assert (image == [9, 8, 7]).all()
    (tmp_path / "a.png").write_bytes(DAMAGED[name])
    assert np.array_equal(read_clip(tmp_path / "a.png").frames[0], image)


@pytest.mark.parametrize("marker", [0xE1, 0xE2, 0xED, 0xFE])
def test_damaged_segments_of_a_jpeg_neither(marker):
    import io

    buffer = io.BytesIO()
    Image.fromarray(noise(0)).save(buffer, "JPEG")
    data = buffer.getvalue()
    for body in (b"Exif\0\0MM\0*\0\0\0\x08\0\x01", b"MPF\0II*\0\xff\xff", b"Photoshop 3.0\x008BIM"):
        segment = bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body
        assert np.array_equal(read_image(data[:2] + segment + data[2:]), read_image(data))


class OddError(Exception):
    """What no decoder should raise."""


@pytest.mark.parametrize(
    "error",
    [
        struct.error("unpack requires a buffer"),
        TypeError("unsupported operand"),
        NotImplementedError("Unimplemented DXGI format"),
        RuntimeError("Failed to decode frame"),
        RecursionError("too deep"),
        zlib.error("invalid block type"),
        KeyError("x"),
        AssertionError(),
        OddError(),
        MemoryError(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_whatever_a_decoder_raises_is_that_files_line(error, tmp_path, monkeypatch):
    photos = tmp_path / "photos"
    photos.mkdir()
    for number in range(3):
        Image.fromarray(noise(number)).save(photos / f"{number}.png")
    (photos / "1.png").write_bytes(png())
    original = Image.open

    def failing(file, *arguments, **more):
        picture = original(file, *arguments, **more)
        if picture.size == (32, 32):
            raise error
        return picture

    monkeypatch.setattr(Image, "open", failing)
    network, out = saved_network(tmp_path), tmp_path / "out"
    table = str(out / "stats.csv")
    words = ["stats", str(photos), "--network", str(network), "--jobs", "1"]
    done = CliRunner().invoke(cli, [*words, "--out", table])
    assert done.exit_code == 1, done.output
    export = ["export", str(photos), "--network", str(network), "--query", "20,20"]
    drawn = CliRunner().invoke(cli, [*export, "--out", str(tmp_path / "drawn")])
    assert drawn.exit_code == 1, drawn.output
    for folder in (out, tmp_path / "drawn"):
        with (folder / "errors.csv").open(newline="") as file:
            (line,) = csv.DictReader(file)
        assert line["input"].endswith("1.png")
        assert type(error).__name__ in line["error"] or str(error) in line["error"]
        assert len(line["error"]) <= 300
