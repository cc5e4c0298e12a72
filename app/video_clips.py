"""Clips to look at: rendered streets, and what users bring."""

from collections.abc import Callable, Hashable, Sequence
from functools import partial
from typing import NamedTuple, Protocol

from analysis.clips import Clip, read_clip
from app.uploads import in_users_words, keep, keep_folder
from models.rendered import split_seeds

STREETS = 1000
"""How many rendered clips there are to look at; no network was trained on any of them."""

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
        return in_users_words(self.location)


def rendered_reel(number: int) -> Reel:
    """Return a rendered clip; ValueError if there is none of that number."""
    if not 0 <= number < STREETS:
        raise ValueError(f"unknown clip {number}; available: 0 to {STREETS - 1}")
    location = f"rendered:{split_seeds('test', STREETS)[number]}"
    return Reel(location, f"Rendered street clip {number}", location, partial(read_clip, location))


def uploaded_reel(file: Uploaded) -> Reel:
    """Return an uploaded video."""
    location = str(keep(file.getvalue(), file.name))
    return Reel(
        file.file_id,
        "The uploaded video",
        location,
        partial(read_clip, location, name=file.name),
    )


def uploaded_frames(files: Sequence[Uploaded]) -> Reel:
    """Return uploaded pictures as a moving one, in the natural order of their names."""
    location = str(keep_folder([(file.getvalue(), file.name) for file in files], FRAMES))
    return Reel(
        tuple(file.file_id for file in files),
        f"{len(files)} uploaded frames",
        location,
        partial(read_clip, location),
    )
