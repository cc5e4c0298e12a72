"""Inputs that are read as clips: how much of them, and reading one."""

from collections.abc import Iterable
from pathlib import Path

from torch import nn

from nonlocal_lens.analysis.clips import Clip, is_clip, read_clip
from nonlocal_lens.app.pictures import sample_picture

USUAL_FRAMES = 8
"""How many frames are looked at where neither the options nor a network say so."""


def default_frames(networks: Iterable[nn.Module]) -> int:
    """Return how many frames the first network that says so looks at."""
    counts = (getattr(getattr(one, "preprocess", None), "frames", None) for one in networks)
    return next((count for count in counts if count), USUAL_FRAMES)


def read_source_clip(location: str, start: int, stride: int | None, frames: int) -> Clip:
    """Read an input as a clip; a picture is a clip of one frame.

    Raises:
        OSError: The clip cannot be read.
        ValueError: The clip cannot be used.
    """
    if location.startswith("samples:"):
        image = sample_picture(location.partition(":")[2]).image
        return read_clip(image[None], start=start, stride=stride, frames=frames, name=location)
    if not is_clip(location) and not Path(location).exists():
        raise FileNotFoundError(f"there is no video or picture {location}")
    return read_clip(location, start=start, stride=stride, frames=frames)
