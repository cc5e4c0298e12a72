"""From what the user names to inputs: files, folders, globs, samples, rendered streets."""

import glob
import re
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from analysis.clip_sources import PICTURES
from analysis.clips import VIDEO_SUFFIXES
from analysis.images import read_image
from app.pictures import SAMPLES, sample_picture

IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"}
MOST_NAME_BYTES = 100  # file systems allow 255, and layouts, queries and networks are added


class Source(NamedTuple):
    """One input, found but not read."""

    name: str  # what its figures are called: safe as a file name and unlike those of all others
    location: str  # a path, or samples:NAME or rendered:SEED


class Picture(NamedTuple):
    """One input, read."""

    image: UInt8[np.ndarray, "height width 3"]
    labels: UInt8[np.ndarray, "height width"] | None
    sha256: str  # of the file, or of the pixels where there is no file


def find_sources(inputs: Sequence[str], *, clips: bool = False) -> list[Source]:
    """Return every input once, in the order named; folders and globs in natural order.

    Args:
        inputs: What the user names.
        clips: Read them as clips: a folder of pictures is the frames of one, and in a folder
            without pictures every video and GIF is one.

    Raises:
        ValueError: Nothing is there under a name.
    """
    locations = dict.fromkeys(
        location
        for text in inputs
        for location in (_clip_locations(text) if clips else _locations(text))
    )
    taken: set[str] = set()
    sources = []
    for location in locations:
        stem = safe_name(Path(location.removeprefix("samples:")).stem)
        name, number = stem, 1
        while name.casefold() in taken:  # some file systems do not tell A from a
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.casefold())
        sources.append(Source(name, location))
    return sources


def safe_name(text: str) -> str:
    """Return a text as part of a file name: letters, digits, dots, dashes, underlines."""
    text = text.encode("utf-8", "replace").decode("utf-8")
    kept = re.sub(r"[^\w.-]+", "_", text).strip("._-")
    while len(kept.encode()) > MOST_NAME_BYTES:
        kept = kept[:-1]
    return kept or "input"


def read_source(location: str, labels: str | None = None) -> Picture:
    """Read an input and, where a folder of labels is given or it has its own, its labels.

    Raises:
        OSError: A file is not there or cannot be read.
        ValueError: A file is no image that can be used, or labels do not fit.
    """
    if location.startswith("samples:"):
        image = sample_picture(location.partition(":")[2]).image
        return Picture(image, _labels(labels, location, image), _pixels_sha256(image))
    if location.startswith("rendered:"):
        from models.rendered import render_scene

        scene = render_scene(int(location.partition(":")[2]))
        return Picture(scene.image, scene.labels, _pixels_sha256(scene.image))
    data = Path(location).read_bytes()
    image = read_image(data)
    return Picture(image, _labels(labels, location, image), sha256(data).hexdigest())


def moves(text: str) -> bool:
    """Return whether an input can be nothing but clips: a video, or a folder of nothing else."""
    path = Path(text)
    if path.suffix.lower() in VIDEO_SUFFIXES:
        return True
    return path.is_dir() and not _files(path, IMAGE_SUFFIXES) and bool(_files(path, VIDEO_SUFFIXES))


def is_file(location: str) -> bool:
    """Return whether a location is a path, not a word for what needs no file."""
    return not location.startswith(("samples:", "rendered:"))


def _clip_locations(text: str) -> list[str]:
    path = Path(text)
    if path.is_dir():
        return ([] if _files(path, PICTURES) else _files(path, VIDEO_SUFFIXES | {".gif"})) or [text]
    found = [Path(entry) for entry in glob.glob(text, recursive=True)]  # noqa: PTH207
    folders = [entry for entry in found if entry.is_dir()]
    if not folders:
        return _locations(text)
    files = [str(entry) for entry in found if entry.is_file()]
    nested = [location for folder in folders for location in _clip_locations(str(folder))]
    return sorted([*files, *nested], key=_natural)


def _locations(text: str) -> list[str]:
    if text == "samples":
        return [f"samples:{name}" for name in SAMPLES]
    if text.startswith("samples:"):
        name = text.partition(":")[2]
        if name not in SAMPLES:
            raise ValueError(f"unknown sample {name!r}; available: {', '.join(SAMPLES)}")
        return [text]
    if text.startswith("rendered:"):
        return _seeds(text)
    path = Path(text)
    if path.is_dir():
        files = _files(path, IMAGE_SUFFIXES)
        if not files:
            kinds = ", ".join(sorted(suffix[1:] for suffix in IMAGE_SUFFIXES))
            raise ValueError(f"there is no image ({kinds}) in the folder {text}")
        return files
    if path.is_file():
        return [text]
    found = [Path(entry) for entry in glob.glob(text, recursive=True)]  # noqa: PTH207
    found = [entry for entry in found if entry.is_file()]
    if not found:
        raise ValueError(
            f"there is no input {text!r}: it must be a file, a folder, a glob, samples, "
            "samples:NAME or rendered:SEED"
        )
    return sorted(map(str, found), key=_natural)


def _files(folder: Path, suffixes: set[str]) -> list[str]:
    """Return the files of some kinds in a folder, in natural order."""
    found = (str(entry) for entry in folder.iterdir() if entry.suffix.lower() in suffixes)
    return sorted((entry for entry in found if Path(entry).is_file()), key=_natural)


def _seeds(text: str) -> list[str]:
    first, _, last = text.partition(":")[2].partition("-")
    if not first.isdecimal() or (last and not last.isdecimal()) or int(last or first) < int(first):
        raise ValueError(f"rendered inputs are rendered:SEED or rendered:FIRST-LAST, got {text!r}")
    return [f"rendered:{seed}" for seed in range(int(first), int(last or first) + 1)]


def _natural(path: str) -> list[tuple[int, int | str]]:
    """Order img2 before img10."""
    parts = re.split(r"(\d+)", path)
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts]


def _labels(
    folder: str | None, location: str, image: UInt8[np.ndarray, "height width 3"]
) -> UInt8[np.ndarray, "height width"] | None:
    if folder is None:
        return None
    path = Path(folder) / f"{Path(location.removeprefix('samples:')).stem}.png"
    try:
        with Image.open(path) as picture:
            labels = np.asarray(picture)
    except FileNotFoundError as error:
        raise ValueError(f"there are no labels {path}") from error
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError(f"the labels {path} cannot be read: {error}") from error
    if labels.dtype != np.uint8 or labels.shape != image.shape[:2]:
        raise ValueError(
            f"the labels {path} must be 8-bit class indices of the image's size "
            f"{image.shape[:2]}, got {labels.dtype} of shape {labels.shape}"
        )
    return labels


def _pixels_sha256(image: UInt8[np.ndarray, "height width 3"]) -> str:
    return sha256(image.tobytes()).hexdigest()
