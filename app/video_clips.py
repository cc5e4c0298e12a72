"""Clips to look at: rendered streets, and what users bring."""

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple, Protocol

from nonlocal_lens.analysis.clips import Clip, read_clip
from nonlocal_lens.app.pictures import STREETS
from nonlocal_lens.app.uploads import keep, keep_folder, user_message

FRAMES = "frames"  # what the folder of uploaded pictures is called, whose name no browser tells


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
    location: str  # where a command finds it: rendered:SEED or a path
    read: Callable[..., Clip]  # takes the options of `analysis.clips.read_clip`

    @property
    def name(self) -> str:
        """What the user calls it."""
        return user_message(self.location)


def rendered_reel(seed: int) -> Reel:
    """Return a rendered clip; ValueError if there is none of that seed."""
    if not 0 <= seed < STREETS:
        raise ValueError(f"unknown clip {seed}; available: 0 to {STREETS - 1}")
    location = f"rendered:{seed}"
    return Reel(location, f"Rendered street clip {seed}", location, partial(read_clip, location))


def uploaded_reel(file: Uploaded) -> Reel:
    """Return an uploaded video."""
    return kept_reel(keep(file.getvalue(), file.name), file.name)


def kept_reel(path: Path, name: str | None = None) -> Reel:
    """Return the moving picture in a kept file or folder.

    Args:
        path: Where it is.
        name: What the user calls it; of a folder nobody does.
    """
    location = str(path)
    if path.is_dir():
        alt = f"{sum(1 for _ in path.iterdir())} uploaded frames"
        return Reel(location, alt, location, partial(read_clip, location))
    reader = partial(read_clip, location, name=name or path.name)
    return Reel(location, "The uploaded video", location, reader)


def uploaded_frames(files: Sequence[Uploaded]) -> Reel:
    """Return uploaded pictures as a moving one, in the natural order of their names."""
    return kept_reel(keep_folder([(file.getvalue(), file.name) for file in files], FRAMES))
