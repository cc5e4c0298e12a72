"""Pictures to look at: sample photographs, rendered streets, and what users bring."""

import hashlib
import io
from functools import cache, lru_cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image, UnidentifiedImageError

from analysis.images import read_image
from app.uploads import keep
from models.rendered import render_scene, split_seeds
from models.rendered.seeds import SEEDS_PER_SPLIT
from models.streets import STREET_CLASSES


class Picture(NamedTuple):
    """One picture on a page."""

    id: str  # equal for equal pixels: what is computed from the picture is kept under this name
    image: UInt8[np.ndarray, "height width 3"]
    alt: str  # what it shows, in words
    location: str  # where a command finds it: samples:NAME, rendered:SEED or a path
    labels: UInt8[np.ndarray, "height width"] | None = None  # values of models.streets, if known

    @property
    def name(self) -> str:
        """What the picture is called in a table."""
        kind, _, name = self.location.partition(":")
        if kind in ("samples", "rendered"):
            return name if kind == "samples" else self.id.replace("-", " ")
        return Path(self.location).name


class Sample(NamedTuple):
    """A photograph on offer."""

    title: str
    alt: str


SAMPLES = {
    "motorcycle": Sample("Motorcycle", "A motorcycle in a garage"),
    "rocket": Sample("Rocket", "A rocket on its launch pad by the sea"),
    "coffee": Sample("Coffee", "A cup of coffee on a wooden table"),
    "astronaut": Sample("Astronaut", "An astronaut in front of a flag and a model shuttle"),
    "chelsea": Sample("Chelsea", "The face of a tabby cat"),
}
"""Sample name -> what it shows; the first is what the app opens with."""


@cache
def sample_picture(name: str) -> Picture:
    """Return a sample photograph; ValueError if there is none of that name."""
    from skimage import data

    if name not in SAMPLES:
        raise ValueError(f"unknown sample {name!r}; available: {', '.join(SAMPLES)}")
    image = data.stereo_motorcycle()[0] if name == "motorcycle" else getattr(data, name)()
    return Picture(f"sample-{name}", image, SAMPLES[name].alt, f"samples:{name}")


STREETS = SEEDS_PER_SPLIT
"""How many rendered streets there are to look at; no network was trained on any of them."""


@lru_cache(maxsize=32)
def rendered_picture(number: int) -> Picture:
    """Return a rendered street with its labels; ValueError if there is none of that number."""
    if not 0 <= number < STREETS:
        raise ValueError(f"unknown street {number}; available: 0 to {STREETS - 1}")
    seed = split_seeds("test", STREETS)[number]
    image, labels = render_scene(seed)
    shares = np.bincount(labels.ravel(), minlength=len(STREET_CLASSES))
    seen = [name for name, share in zip(STREET_CLASSES, shares, strict=False) if share > 200]
    alt = f"Rendered street {number}, with {', '.join(seen[:-1])} and {seen[-1]}"
    return Picture(f"street-{number}", image, alt, f"rendered:{seed}", labels)


def uploaded_picture(data: bytes, name: str, labels: bytes | None = None) -> Picture:
    """Return the picture in a file's bytes, and its labels in those of another.

    Args:
        data: Of the picture's file.
        name: What the user calls it.
        labels: Of a PNG whose 8-bit values are classes of the picture's pixels.

    Raises:
        ValueError: There is no picture that can be used, or the labels do not fit it.
    """
    image = read_image(data)
    classes = None if labels is None else read_labels(labels, image.shape[:2])
    digest = hashlib.sha256(data)
    digest.update(labels or b"")
    path = keep(data, name)
    return Picture(digest.hexdigest(), image, "The uploaded picture", str(path), classes)


def read_labels(data: bytes, image_hw: tuple[int, ...]) -> UInt8[np.ndarray, "height width"]:
    """Return the class indices in a label image's bytes.

    Raises:
        ValueError: It is no image of 8-bit indices, or not of the picture's size.
    """
    try:
        with Image.open(io.BytesIO(data)) as picture:
            labels = np.array(picture)
    except (UnidentifiedImageError, OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError("the labels are no image that can be read") from error
    if labels.dtype != np.uint8 or labels.shape != tuple(image_hw):
        raise ValueError(
            f"the labels must be 8-bit class indices of the picture's size {tuple(image_hw)}, got "
            f"{labels.dtype} of shape {labels.shape}"
        )
    return labels
