"""Where frames come from: videos (OpenCV), animations (Pillow), folders, the street renderer."""

import re
import tempfile
import warnings
from contextlib import ExitStack
from hashlib import file_digest, sha256
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8
from PIL import Image, UnidentifiedImageError

from analysis.images import check_size, read_image
from models.file_hash import file_sha256

FORMATS = ("GIF", "PNG", "JPEG", "WEBP", "BMP", "TIFF")  # Pillow's MPEG does not decode

PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"}


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
    note: str

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
        from models.rendered import render_clip
        from models.rendered.story import DURATION

        seed = text.partition(":")[2]
        if not seed.isdecimal():
            raise ValueError(f"a rendered clip is rendered:SEED, got {text!r}")
        images = render_clip(int(seed), frames).images
        fps = max(frames - 1, 1) / DURATION
        digest = sha256(images.tobytes()).hexdigest()
        return cls(images, np.arange(frames) / fps, fps, text, digest)


class FrameFolder:
    """Pictures in the natural order of their names, evenly spaced in time."""

    note = ""

    def __init__(self, paths: list[Path], fps: float, name: str) -> None:
        self.name, self.fps = name, fps
        self.count = self.reached = len(paths)
        self._paths = paths

    def frame(self, index: int) -> Frame | None:
        """Return a frame; None beyond the last."""
        if index >= self.count:
            return None
        return Frame(read_image(self._paths[index]), index / self.fps)

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
        self._image = opened.enter_context(Image.open(path, formats=FORMATS))
        check_size(self._image.width, self._image.height)
        self.count = self.reached = getattr(self._image, "n_frames", 1)
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
                milliseconds = self._image.info.get("duration") or 100  # as browsers play a 0
                if len(self._ends) == self._at + 1:
                    self._ends.append(self._ends[-1] + milliseconds / 1000)
            return Frame(read_image(self._image.copy()), self._ends[index])
        except (EOFError, OSError, SyntaxError) as error:
            if self._at <= 0:
                raise ValueError(f"{self.name} is damaged or incomplete: {error}") from error
            self.reached = self._at
            return None

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


def open_path(path: Path, opened: ExitStack, name: str | None = None) -> FrameSource:
    """Open a file by its content; ValueError if it has no frames."""
    name = name or path.name
    if path.stat().st_size == 0:
        raise ValueError(f"{name} is empty (0 bytes)")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # our own limits are stricter
            return Animation(path, name, opened)
    except UnidentifiedImageError:
        from analysis.video_file import VideoFile  # here: importing OpenCV takes a while

        return VideoFile(path, name, opened)
    except Image.DecompressionBombError as error:
        raise ValueError(f"{name} has too many pixels: scale it down") from error


def open_bytes(data: bytes, opened: ExitStack) -> FrameSource:
    """Open the bytes of a file; the temporary one that OpenCV needs goes when `opened` closes."""
    folder = opened.enter_context(tempfile.TemporaryDirectory(prefix="nonlocal-lens-"))
    path = Path(folder) / "clip"
    path.write_bytes(data)
    return open_path(path, opened, "the file")


def open_folder(path: Path, fps: float) -> FrameFolder:
    """Open a folder of pictures; ValueError if there is none."""
    found = [entry for entry in path.iterdir() if entry.suffix.lower() in PICTURES]
    if not found:
        kinds = ", ".join(sorted(suffix[1:] for suffix in PICTURES))
        raise ValueError(f"there is no picture ({kinds}) in the folder {path}")
    return FrameFolder(sorted(found, key=_natural), fps, path.name or str(path))


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """Order frame2 before frame10."""
    parts = re.split(r"(\d+)", path.name)
    return [(1, int(part), "") if part.isdecimal() else (0, 0, part) for part in parts]
