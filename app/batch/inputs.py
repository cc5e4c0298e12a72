"""From what the user names to inputs: files, folders, globs, samples, rendered streets."""

import glob
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int, UInt8

from nonlocal_lens.analysis.file_kinds import (
    ANIMATIONS,
    PICTURES,
    Kind,
    folders_below,
    is_junk,
    kind_of,
    listed,
    natural,
)
from nonlocal_lens.analysis.images import read_file, read_with_note
from nonlocal_lens.analysis.labels import (
    NO_CLASS,
    ReadLabels,
    Void,
    label_files,
    labels_beside,
    read_labels,
)
from nonlocal_lens.app.pictures import SAMPLES, sample_picture
from nonlocal_lens.models.limits import LONGEST_NAME, MOST_INPUTS, MOST_RENDERED, shortened
from nonlocal_lens.models.local_files import is_regular
from nonlocal_lens.streets.classes import VOID

MOST_PATH = 4096  # characters: systems allow no more, and fewer for each name in it
MOST_NAME_BYTES = 100  # file systems allow 255, and layouts, queries and networks are added


class Source(NamedTuple):
    """One input, found but not read."""

    name: str  # what its figures are called: safe as a file name and unlike those of all others
    location: str  # a path, or samples:NAME or rendered:SEED
    another: str = ""  # where the other image of interventions is; empty for a rendered street


class Picture(NamedTuple):
    """One input, read."""

    image: UInt8[np.ndarray, "height width 3"]
    labels: Int[np.ndarray, "height width"] | None  # negative where void
    sha256: str  # of the file, or of the pixels where there is no file
    note: str = ""  # how its values and its labels were read, where something had to be decided


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
    if len(locations) > MOST_INPUTS:
        raise ValueError(f"{len(locations)} inputs are too many; at most {MOST_INPUTS} at once")
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


def read_source(location: str, labels: str | None = None, void: str | None = None) -> Picture:
    """Read an input and, where a folder of labels is given or it has its own, its labels.

    Args:
        location: See `Source`.
        labels: A folder of labels, named like the inputs.
        void: Which of their values are of no class, see `analysis.labels.Void.parse`.

    Raises:
        OSError: A file is not there or cannot be read.
        ValueError: A file is no image that can be used, or labels do not fit.
    """
    if location.startswith("samples:"):
        image = sample_picture(location.partition(":")[2]).image
        digest, note = _pixels_sha256(image), ""
    elif location.startswith("rendered:"):
        from nonlocal_lens.app.drawn_streets import drawn_street

        scene = drawn_street(int(location.partition(":")[2]))
        own = np.where(scene.labels >= VOID, NO_CLASS, scene.labels).astype(np.int32)
        return Picture(scene.image, own, _pixels_sha256(scene.image))
    else:
        if not Path(location).exists():
            raise FileNotFoundError(f"No such file: {shortened(location)}")
        data = read_file(Path(location))
        image, note = read_with_note(data)
        digest = sha256(data).hexdigest()
    if labels is None:
        return Picture(image, None, digest, note)
    found = _labels(labels, location, image, void)
    notes = "; ".join(one for one in (note, found.note) if one)
    return Picture(image, found.values, digest, notes)


def is_video(text: str) -> bool:
    """Return whether an input can be nothing but clips: a video, or a folder of nothing else."""
    path = Path(text)
    if is_regular(path):
        return kind_of(path) is Kind.video
    if len(text) > MOST_PATH or not path.is_dir():
        return False
    kinds = {kind_of(entry) for entry in listed(path)}
    return Kind.video in kinds and not kinds & {Kind.picture, Kind.unreadable}


def passed_by(inputs: Sequence[str], *, clips: bool = False) -> list[str]:
    """Return a sentence for every folder named in which files are no inputs; see `find_sources`.

    What computers leave by themselves is not worth a word.
    """
    sentences = []
    for text in inputs:
        folder = Path(text)
        if (
            len(text) > MOST_PATH
            or text == "samples"
            or text.startswith(("samples:", "rendered:"))
            or not folder.is_dir()
        ):
            continue
        taken = {Path(location).name for location in _inside(folder, clips=clips)}
        others = [path.name for path in listed(folder) if path.name not in taken]
        if others:
            names = ", ".join(shortened(name, LONGEST_NAME) for name in others[:3])
            more = f" and {len(others) - 3} more" if len(others) > 3 else ""
            what = "clips" if clips else "pictures"
            sentences.append(f"passed by in {shortened(text, 100)}, no {what}: {names}{more}")
    return sentences


def is_file(location: str) -> bool:
    """Return whether a location is a path, not a word for what needs no file."""
    return not location.startswith(("samples:", "rendered:"))


def _clip_locations(text: str) -> list[str]:
    path = Path(text)
    if len(text) <= MOST_PATH and path.is_dir():
        return _inside(path, clips=True) if not _stills(path) else [text]
    found = [Path(entry) for entry in _matching(text)]
    folders = [entry for entry in found if entry.is_dir()]
    if not folders:
        return _locations(text)
    files = [str(entry) for entry in found if entry.is_file()]
    nested = [location for folder in folders for location in _clip_locations(str(folder))]
    return sorted([*files, *nested], key=natural)


def _stills(folder: Path) -> bool:
    """Return whether a folder holds pictures that can be the frames of a clip."""
    return any(
        kind_of(entry) is Kind.picture and entry.suffix.lower() not in ANIMATIONS
        for entry in listed(folder)
    )


def _inside(folder: Path, *, clips: bool) -> list[str]:
    """Return the inputs in a folder: what can be read, and pictures that cannot, to be named."""
    if clips:
        if _stills(folder):  # they are the frames of one
            return [str(entry) for entry in listed(folder) if kind_of(entry) is not Kind.video]
        videos = [
            str(entry)
            for entry in listed(folder)
            if kind_of(entry) is Kind.video or entry.suffix.lower() in ANIMATIONS
        ]
        return videos or [str(folder)]
    wanted = (Kind.picture, Kind.unreadable)
    return [str(entry) for entry in listed(folder) if kind_of(entry) in wanted]


def _matching(pattern: str) -> Iterator[str]:
    """Yield what a glob finds; `**` goes once into every folder, also where links lead round.

    What computers leave by themselves is found only by its whole name.
    """
    if pattern == "**" or pattern.endswith("/**"):
        pattern += "/*"
    while "**/**/" in pattern:  # a folder is below another once
        pattern = pattern.replace("**/**/", "**/")
    head, deep, tail = pattern.partition("**/")
    if not deep or not (head == "" or head.endswith("/")):
        named = not glob.has_magic(pattern.rpartition("/")[2])
        for found in glob.glob(pattern):  # noqa: PTH207
            if named or not is_junk(Path(found)):
                yield found
        return
    for base in glob.glob(head) if head else ["."]:  # noqa: PTH207
        for folder in folders_below(Path(base)):
            inside = "" if str(folder) == "." else glob.escape(str(folder)) + "/"
            yield from _matching(inside + tail)


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
    if len(text) > MOST_PATH:
        raise ValueError(f"there is no input {shortened(text, 60)!r}: no name is so long")
    if path.is_dir():
        files = _inside(path, clips=False)
        if not files:
            kinds = ", ".join(sorted(suffix[1:] for suffix in PICTURES))
            raise ValueError(
                f"there is no image in the folder {shortened(text, 100)}; images are {kinds}"
            )
        return files
    if is_regular(path):
        return [text]
    found = {str(entry): None for entry in _matching(text) if Path(entry).is_file()}
    if not found:
        raise ValueError(
            f"there is no input {shortened(text, 100)!r}: it must be a file, a folder, a glob, "
            "samples, samples:NAME or rendered:SEED"
        )
    return sorted(found, key=natural)


def _seeds(text: str) -> list[str]:
    found = re.fullmatch(r"rendered:(\d{1,18})(?:-(\d{1,18}))?", text)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, -1)
    if last < first:
        raise ValueError(
            f"rendered inputs are rendered:SEED or rendered:FIRST-LAST, got {shortened(text, 60)!r}"
        )
    if last - first >= MOST_RENDERED:
        raise ValueError(
            f"{shortened(text, 60)} are {last - first + 1} inputs; at most {MOST_RENDERED} at once"
        )
    return [f"rendered:{seed}" for seed in range(first, last + 1)]


def _labels(
    folder: str, location: str, image: UInt8[np.ndarray, "height width 3"], void: str | None
) -> ReadLabels:
    stem = Path(location.removeprefix("samples:"))
    try:
        path = labels_beside(Path(folder), stem)
    except FileNotFoundError as error:
        raise ValueError(str(error)) from error
    return read_labels(path, image.shape[:2], Void.parse(void), beside=_beside(folder))


@lru_cache(maxsize=4)
def _beside(folder: str) -> tuple[Path, ...]:
    return tuple(label_files(Path(folder)))


def _pixels_sha256(image: UInt8[np.ndarray, "height width 3"]) -> str:
    return sha256(image.tobytes()).hexdigest()
