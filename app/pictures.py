"""Pictures to look at: sample photographs, rendered streets, and what users bring."""

import hashlib
from functools import cache, lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8

from analysis.images import read_image
from models.rendered import render_scene, split_seeds
from models.rendered.seeds import SEEDS_PER_SPLIT
from models.streets import STREET_CLASSES


class Picture(NamedTuple):
    """One picture on a page."""

    id: str  # equal for equal pixels: what is computed from the picture is kept under this name
    image: UInt8[np.ndarray, "height width 3"]
    alt: str  # what it shows, in words
    labels: UInt8[np.ndarray, "height width"] | None = None  # values of models.streets, if known


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
    return Picture(f"sample-{name}", image, SAMPLES[name].alt)


STREETS = SEEDS_PER_SPLIT
"""How many rendered streets there are to look at; no network was trained on any of them."""


@lru_cache(maxsize=32)
def rendered_picture(number: int) -> Picture:
    """Return a rendered street with its labels; ValueError if there is none of that number."""
    if not 0 <= number < STREETS:
        raise ValueError(f"unknown street {number}; available: 0 to {STREETS - 1}")
    image, labels = render_scene(split_seeds("test", STREETS)[number])
    shares = np.bincount(labels.ravel(), minlength=len(STREET_CLASSES))
    seen = [name for name, share in zip(STREET_CLASSES, shares, strict=False) if share > 200]
    alt = f"Rendered street {number}, with {', '.join(seen[:-1])} and {seen[-1]}"
    return Picture(f"street-{number}", image, alt, labels)


def uploaded_picture(data: bytes) -> Picture:
    """Return the picture in a file's bytes; ValueError if there is none that can be used."""
    return Picture(hashlib.sha256(data).hexdigest(), read_image(data), "The uploaded picture")
