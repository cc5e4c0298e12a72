"""Where frames come from: videos (PyAV), animations (Pillow), folders, the street renderer."""

import tempfile
import warnings
from contextlib import ExitStack
from hashlib import file_digest, sha256
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, UnidentifiedImageError

from nonlocal_lens.analysis.file_kinds import (
    ANIMATIONS,
    STILLS,
    UNREADABLE,
    Kind,
    head_of,
    kind_of,
    kind_of_suffix,
    listed,
    sniffed,
)
from nonlocal_lens.analysis.images import check_size, read_file, read_with_note
from nonlocal_lens.analysis.images import opened as open_picture
from nonlocal_lens.models.file_hash import file_sha256
from nonlocal_lens.models.limits import LONGEST_NAME, error_words, shortened

MOVING = ("GIF", "PNG", "WEBP", "AVIF", "TIFF")
"""Formats whose pictures are frames; those that a JPEG of several holds are no moving picture."""


class Frame(NamedTuple):
    """One frame."""

    image: UInt8[np.ndarray, "height width 3"]
    time: float  # seconds from the beginning


@runtime_checkable
class FrameSource(Protocol):
    """Frames that are asked for in ascending order."""

    name: str
    fps: float
    reached: int  # frames that are known to be there

    @property
    def note(self) -> str:
        """What the user should know of what was read so far; empty for nothing."""

    @property
    def count(self) -> int | None:
        """How many frames there are; None where it is not known. A video's header may be wrong."""

    def frame(self, index: int) -> Frame | None:
        """Return a frame; None beyond the last."""

    def counted(self) -> int:
        """Return how many frames there are, by counting them if need be."""

    def sha256(self) -> str:
        """Return what tells this source from others."""

    def again(self) -> "FrameSource":
        """Return it from its beginning, with the count that is now known."""


class FrameArray:
    """Frames that are in memory."""

    note = ""

    def __init__(
        self,
        frames: UInt8[np.ndarray, "frames height width 3"],
        times: Float[np.ndarray, " frames"],
        fps: float,
        name: str,
        digest: str,
    ) -> None:
        check_size(frames.shape[2], frames.shape[1])
        self.name, self.fps = name, fps
        self.count = self.reached = len(frames)
        self._frames, self._times, self._digest = frames, times, digest

    def frame(self, index: int) -> Frame | None:
        """Return a frame; None beyond the last."""
        if index >= self.count:
            return None
        return Frame(self._frames[index], float(self._times[index]))

    def counted(self) -> int:
        """Return how many frames there are."""
        return self.count

    def sha256(self) -> str:
        """Return the hash that was given."""
        return self._digest

    def again(self) -> "FrameArray":
        """Return the same."""
        return self


class RenderedFrames(FrameArray):
    """A clip of the street renderer."""

    @classmethod
    def of(cls, text: str, frames: int) -> "RenderedFrames":
        """Return the clip of `rendered:SEED`, its event spread over so many frames."""
        from nonlocal_lens.streets import render_clip
        from nonlocal_lens.streets.story import DURATION

        seed = text.partition(":")[2]
        if not seed.isdecimal():
            raise ValueError(f"a rendered clip is rendered:SEED, got {text!r}")
        images = render_clip(int(seed), frames).images
        fps = max(frames - 1, 1) / DURATION
        digest = sha256(images.tobytes()).hexdigest()
        return cls(images, np.arange(frames) / fps, fps, text, digest)


class FrameFolder:
    """Pictures in the natural order of their names, evenly spaced in time."""

    def __init__(self, paths: list[Path], fps: float, name: str, note: str) -> None:
        self.name, self.fps, self.note = name, fps, note
        self.count = self.reached = len(paths)
        self._paths = paths

    def frame(self, index: int) -> Frame | None:
        """Return a frame; None beyond the last."""
        if index >= self.count:
            return None
        image, note = read_with_note(self._paths[index])
        if note and note not in self.note:
            self.note = shortened("; ".join([self.note] * bool(self.note) + [note]))
        return Frame(image, index / self.fps)

    def counted(self) -> int:
        """Return how many pictures there are."""
        return self.count

    def sha256(self) -> str:
        """Return a hash of all names and files."""
        digest = sha256()
        for path in self._paths:
            with path.open("rb") as file:
                digest.update(path.name.encode() + b"\0" + file_digest(file, "sha256").digest())
        return digest.hexdigest()

    def again(self) -> "FrameFolder":
        """Return the same."""
        return self


class Animation:
    """A GIF, or whatever else Pillow opens: a still picture is one frame."""

    note = ""

    def __init__(self, path: Path, name: str, opened: ExitStack) -> None:
        self.name, self._path = name, path
        self._image = opened.enter_context(open_picture(read_file(path)))
        moving = self._image.format in MOVING
        self.count = self.reached = getattr(self._image, "n_frames", 1) if moving else 1
        self._ends = [0.0]  # when each frame seen so far ends
        self._at = -1
        self.fps = 1.0
        self.frame(0)
        self.fps = 1 / self._ends[1]

    def frame(self, index: int) -> Frame | None:
        """Return a frame; None beyond the last, or where the file is cut off."""
        if index >= self.count:
            return None
        try:
            while self._at < index:
                self._at += 1
                self._image.seek(self._at)
                if len(self._ends) == self._at + 1:
                    self._ends.append(self._ends[-1] + self._milliseconds() / 1000)
            return Frame(self._read(), self._ends[index])
        except MemoryError:
            raise
        except Exception as error:  # decoders raise whatever went wrong in them on damaged files
            if self._at <= 0:
                raise ValueError(
                    shortened(f"{self.name} is damaged or incomplete: {error_words(error)}")
                ) from error
            self.reached = self._at
            return None

    def _read(self) -> UInt8[np.ndarray, "height width 3"]:
        if self.count > 1:
            image, self.note = read_with_note(self._image.copy())
        else:  # as a picture, with all that is done for one
            image, self.note = read_with_note(read_file(self._path))
        return image

    def _milliseconds(self) -> float:
        """Return how long the frame that is open is shown: a tenth of a second if that is 0."""
        said = self._image.info.get("duration")
        return said if isinstance(said, int | float) and 0 < said < MOST_MILLISECONDS else 100

    def counted(self) -> int:
        """Return how many frames there are."""
        return self.count

    def sha256(self) -> str:
        """Return the hash of the file."""
        return file_sha256(self._path)

    def again(self) -> "Animation":
        """Return it from its beginning, with the frames that could be decoded."""
        self._image.seek(0)
        self._at, self.count = 0, self.reached
        return self


MOST_MILLISECONDS = 86_400_000  # a day: what is longer is no time but damaged


def open_path(path: Path, opened: ExitStack, name: str | None = None) -> FrameSource:
    """Open a file by its content; ValueError if it has no frames."""
    name = shortened(name or path.name, LONGEST_NAME)
    if path.stat().st_size == 0:
        raise ValueError(f"{name} is empty (0 bytes)")
    kind = kind_of_suffix(sniffed(head_of(path)))
    if kind is Kind.unreadable:
        raise ValueError(f"{name} is not a clip: {UNREADABLE[sniffed(head_of(path))]}")
    if kind is Kind.video:
        return _video(path, name, opened)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # our own limits are stricter
            return Animation(path, name, opened)
    except UnidentifiedImageError:
        return _video(path, name, opened)
    except Image.DecompressionBombError as error:
        raise ValueError(f"{name} has too many pixels: scale it down") from error
    except (ValueError, MemoryError, OSError):
        raise
    except Exception as error:  # of a damaged header, Pillow raises whatever went wrong in it
        raise ValueError(
            shortened(f"{name} is damaged or incomplete: {error_words(error)}")
        ) from error


def _video(path: Path, name: str, opened: ExitStack) -> FrameSource:
    from nonlocal_lens.analysis.video_file import VideoFile  # here: importing PyAV takes a while

    return VideoFile(path, name, opened)


def open_bytes(data: bytes, opened: ExitStack) -> FrameSource:
    """Open the bytes of a file; the temporary one that holds them goes when `opened` closes."""
    folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="nonlocal-lens-"))
    path = Path(folder) / "clip"
    path.write_bytes(data)
    return open_path(path, opened, "the file")


def open_folder(path: Path, fps: float) -> FrameFolder:
    """Open a folder of pictures; ValueError if there is none."""
    found, left_out = [], []
    for entry in listed(path):
        kind = kind_of(entry)
        if kind is Kind.unreadable:
            left_out.append(entry.name)
        elif kind is Kind.picture and entry.suffix.lower() not in ANIMATIONS:
            found.append(entry)
    if not found:
        kinds = ", ".join(sorted(suffix[1:] for suffix in STILLS))
        raise ValueError(f"there is no picture ({kinds}) in the folder {shortened(str(path))}")
    note = f"left out, as they cannot be read: {', '.join(left_out)}" if left_out else ""
    return FrameFolder(found, fps, path.name or str(path), shortened(note))
