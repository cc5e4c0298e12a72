"""Any moving picture a user may bring -> some of its frames, or one sentence that says why not."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor

from nonlocal_lens.analysis.clip_sources import (
    FrameArray,
    FrameSource,
    RenderedFrames,
    open_bytes,
    open_folder,
    open_path,
)
from nonlocal_lens.analysis.file_kinds import VIDEOS, Kind, kind_of
from nonlocal_lens.models.limits import LONGEST_NAME, shortened

FRAMES = 32
"""How many frames are read where nothing else is said."""

MOST_FRAMES = 512
MOST_PIXELS = 270_000_000
"""Of all frames together: 810 MB, 130 frames of 1920 x 1080."""

USUAL_FPS = 10.0
"""Frames per second where the frames do not say when they were taken: arrays and folders."""


@dataclass(frozen=True, eq=False)
class Clip:
    """Some frames of a moving picture, upright, and when they were shown."""

    frames: UInt8[np.ndarray, "frames height width 3"]
    times: Float[np.ndarray, " frames"]  # seconds from the beginning of the source
    indices: tuple[int, ...]  # which frames of the source, counted from 0
    fps: float  # at which these frames play as long as the source took
    name: str
    sha256: str  # of the file, of the files of a folder, or of the pixels where there is no file
    note: str = ""  # what the user should know, a sentence; empty for nothing

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.frames)


def frames_of(clip: Clip, frames: int) -> list[int]:
    """Return, for each frame of a grid, the frame in the middle of those of the clip it stands for.

    A network that pools over time has fewer frames than its clip.
    """
    return [int((frame + 0.5) * len(clip) / frames) for frame in range(frames)]


ClipSource = str | Path | bytes | Clip | Shaped[np.ndarray, "..."] | Shaped[Tensor, "..."]

Progress = Callable[[int, int], Any]


def _no_progress(done: int, total: int) -> None:
    """Tell nobody."""


def is_clip(source: Any) -> bool:
    """Return whether a source moves by its kind: no more than its first bytes are looked at.

    GIFs count as pictures.
    """
    if isinstance(source, Clip):
        return True
    if isinstance(source, np.ndarray | Tensor):
        return source.ndim == 4
    if isinstance(source, str | Path):
        if str(source).startswith("rendered:"):
            return True
        path = Path(source)
        return path.suffix.lower() in VIDEOS or path.is_dir() or kind_of(path) is Kind.video
    return False


def check_choice(start: int, stride: int | None, frames: int | None) -> None:
    """Raise ValueError unless frames can be chosen so; see `read_clip`."""
    if frames is not None and not 1 <= frames <= MOST_FRAMES:
        raise ValueError(f"frames must be from 1 to {MOST_FRAMES}, got {frames}")
    if start < 0:
        raise ValueError(f"start must be at least 0, got {start}")
    if stride is not None and stride < 1:
        raise ValueError(f"stride must be at least 1, got {stride}")


def read_clip(
    source: ClipSource,
    *,
    start: int = 0,
    stride: int | None = None,
    frames: int | None = None,
    fps: float | None = None,
    name: str | None = None,
    progress: Progress = _no_progress,
) -> Clip:
    """Return frames `start`, `start + stride`, ... of a moving picture, as 8-bit RGB.

    Takes the path or the bytes of a video (mp4, avi, mov, webm, mkv, ts, 3gp and what else PyAV's
    FFmpeg decodes) or of a GIF, a folder of pictures (in natural order of their names),
    `rendered:SEED`, a (frames, H, W, 3) uint8 array, or a (frames, 3, H, W) tensor. A camera's
    rotation is applied; frames are shown at their own time stamps, in seconds from the first frame;
    of a long video the frames between are skipped, never held.

    Args:
        source: What to read; a `Clip` is returned with the frames chosen of it.
        start: The first frame, counted from 0.
        stride: From one frame to the next. If None, as many as spread the frames evenly from
            `start` to the end.
        frames: How many at most; `FRAMES` if None.
        fps: Frames per second of arrays and folders, `USUAL_FPS` if None; others know theirs.
        name: What to call it; the file's name, or what it is, if None.
        progress: Called after each frame with how many of how many are read. What it raises ends
            the reading, with every file closed and no temporary one left.

    Raises:
        FileNotFoundError: The path does not exist.
        ValueError: This is no moving picture, it is damaged, or the choice is out of range.
    """
    check_choice(start, stride, frames)
    wanted = FRAMES if frames is None else frames
    if fps is not None and not 0 < fps <= 1000:
        raise ValueError(f"fps must be above 0 and at most 1000, got {fps}")
    with ExitStack() as opened:
        found = _open(source, wanted, stride, fps or USUAL_FPS, opened)
        return _select(found, start, stride, wanted, name or found.name, progress)


def _open(
    source: ClipSource, wanted: int, stride: int | None, fps: float, opened: ExitStack
) -> FrameSource:
    if isinstance(source, Clip):
        return FrameArray(source.frames, source.times, source.fps, source.name, source.sha256)
    if isinstance(source, bytes):
        return open_bytes(source, opened)
    if isinstance(source, str) and source.startswith("rendered:"):
        return RenderedFrames.of(source, FRAMES if stride else wanted)
    if isinstance(source, str | Path):
        path = Path(source)
        if path.is_dir():
            return open_folder(path, fps)
        if not path.is_file():
            raise FileNotFoundError(
                f"there is no video or folder of frames {shortened(str(path), 200)}"
            )
        return open_path(path, opened)
    array = _array(source)
    times = np.arange(len(array)) / fps
    return FrameArray(array, times, fps, "the frames", sha256(array.tobytes()).hexdigest())


def _array(source: Any) -> UInt8[np.ndarray, "frames height width 3"]:
    if isinstance(source, Tensor):
        if source.ndim != 4 or source.shape[1] != 3:
            raise ValueError(
                f"a clip tensor must have shape (frames, 3, height, width), got "
                f"{tuple(source.shape)}"
            )
        if source.is_floating_point():
            low, high = source.min().item(), source.max().item()
            if not 0 <= low <= high <= 1:
                raise ValueError(
                    f"a float clip must hold values in [0, 1], got {low:.3g} to {high:.3g}"
                )
            source = (source * 255).round().to(torch.uint8)
        source = source.detach().permute(0, 2, 3, 1).cpu().numpy()
    array = np.asarray(source)
    if array.dtype != np.uint8 or array.ndim != 4 or array.shape[3] != 3 or not len(array):
        raise ValueError(
            "a clip array must be uint8 of shape (frames, height, width, 3), "
            f"got {array.dtype} of shape {array.shape}"
        )
    return array


def _select(
    found: FrameSource,
    start: int,
    stride: int | None,
    wanted: int,
    name: str,
    progress: Progress,
) -> Clip:
    """Read the chosen frames into one array that is as large as they are."""
    there = found.count
    if there is None and stride is None:
        there = found.counted()
    if there is not None and start >= there:
        raise ValueError(f"start must be below the {there} frames of {name}, got {start}")
    step = stride
    if step is None:
        assert there is not None
        step = max(1, -(-(there - start) // wanted))
    total = wanted if there is None else min(wanted, -(-(there - start) // step))
    pixels: UInt8[np.ndarray, "frames height width 3"] | None = None
    times: list[float] = []
    indices: list[int] = []
    name = shortened(name, LONGEST_NAME)
    for number in range(total):
        index = start + number * step
        frame = found.frame(index)
        if frame is None:
            break
        if pixels is None:
            _check_pixels(total, frame.image.shape, name)
            pixels = np.empty((total, *frame.image.shape), np.uint8)
        if frame.image.shape != pixels.shape[1:]:
            raise ValueError(
                f"all frames must have one size; frame {index} of {name} is "
                f"{_size(frame.image.shape)} pixels, those before {_size(pixels.shape[1:])}"
            )
        pixels[number] = frame.image
        times.append(frame.time)
        indices.append(index)
        progress(number + 1, total)
    if pixels is None:
        reached = found.reached
        if reached:
            raise ValueError(f"start must be below the {reached} frames of {name}, got {start}")
        raise ValueError(f"{name} is damaged or incomplete: no frame of it can be decoded")
    note = ""
    if len(times) < total and there is not None:
        if stride is None and found.reached > start:  # the header was wrong: spread them again
            return _select(found.again(), start, None, wanted, name, progress)
        note = (
            f"{name} ends after {found.reached} of the {there} frames that it announces: it is cut "
            "off, damaged, or its frames are unevenly spaced"
        )
    return Clip(
        frames=pixels[: len(times)],
        times=np.array(times, np.float64),
        indices=tuple(indices),
        fps=_rate(times, found.fps / step),
        name=name,
        sha256=found.sha256(),
        note=note or found.note,
    )


def _rate(times: list[float], nominal: float) -> float:
    """Return frames per second, from the times where they tell."""
    lasts = times[-1] - times[0]
    return (len(times) - 1) / lasts if len(times) > 1 and lasts > 0 else nominal


def _check_pixels(count: int, shape: tuple[int, ...], name: str) -> None:
    one = shape[0] * shape[1]
    if count * one > MOST_PIXELS:
        raise ValueError(
            f"{count} frames of {name}, {_size(shape)} pixels each, are more than can be held: at "
            f"most {MOST_PIXELS // one} at this size"
        )


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]}"
