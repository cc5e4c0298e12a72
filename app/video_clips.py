"""Clips to look at: rendered streets, and what users bring."""

import tempfile
from collections.abc import Callable, Hashable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

from analysis.clips import Clip, Progress, read_clip
from models.rendered import split_seeds

STREETS = 1000
"""How many rendered clips there are to look at; no network was trained on any of them."""


class Uploaded(Protocol):
    """A file as Streamlit gives it."""

    file_id: str
    name: str

    def getvalue(self) -> bytes:
        """Return its bytes."""


class Reel(NamedTuple):
    """One moving picture on a page, not read yet."""

    id: Hashable  # unlike that of all others: what is computed of it is kept under this name
    alt: str  # what it shows, in words
    location: str  # what the command line would call it
    read: Callable[..., Clip]  # takes the options of `analysis.clips.read_clip`


def rendered_reel(number: int) -> Reel:
    """Return a rendered clip; ValueError if there is none of that number."""
    if not 0 <= number < STREETS:
        raise ValueError(f"unknown clip {number}; available: 0 to {STREETS - 1}")
    location = f"rendered:{split_seeds('test', STREETS)[number]}"
    return Reel(location, f"Rendered street clip {number}", location, partial(read_clip, location))


def uploaded_reel(file: Uploaded) -> Reel:
    """Return an uploaded video."""

    def read(**options: object) -> Clip:
        return read_clip(file.getvalue(), name=file.name, **options)  # type: ignore[arg-type]

    return Reel(file.file_id, "The uploaded video", file.name, read)


def uploaded_frames(files: Sequence[Uploaded]) -> Reel:
    """Return uploaded pictures as a moving one, in the natural order of their names."""

    def read(progress: Progress, **options: object) -> Clip:
        with tempfile.TemporaryDirectory(prefix="nonlocal-lens-") as folder:
            for file in files:
                (Path(folder) / Path(file.name).name).write_bytes(file.getvalue())
            return read_clip(folder, name="the frames", progress=progress, **options)  # type: ignore[arg-type]

    key = tuple(file.file_id for file in files)
    return Reel(key, f"{len(files)} uploaded frames", "FOLDER", read)
