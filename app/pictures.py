"""Pictures to look at: sample photographs, rendered streets, and what users bring."""

import base64
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, lru_cache, partial
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from jaxtyping import Integer, UInt8

from nonlocal_lens.analysis.images import read_with_note
from nonlocal_lens.analysis.labels import Void, read_labels
from nonlocal_lens.analysis.render import jpeg
from nonlocal_lens.app.byte_cache import ByteCache
from nonlocal_lens.app.drawn_streets import drawn_street
from nonlocal_lens.app.settings import MEGABYTE, settings
from nonlocal_lens.app.uploads import keep, kept_file
from nonlocal_lens.streets.classes import STREET_CLASSES
from nonlocal_lens.streets.seeds import SEEDS_PER_SPLIT, SPLITS

Pixels = UInt8[np.ndarray, "height width 3"]


@dataclass(frozen=True, eq=False)
class Picture:
    """One picture on a page."""

    id: str  # equal for equal pixels: what is computed from the picture is kept under this name
    pixels: Pixels | Callable[[], Pixels]  # or how they are read again: many are open at once
    alt: str  # what it shows, in words
    location: str  # where a command finds it: samples:NAME, rendered:SEED or a path
    labels: Integer[np.ndarray, "height width"] | None = None  # if known; negative where void
    note: str = ""  # how deep values and labels were read, a sentence

    @property
    def image(self) -> Pixels:
        """The pixels."""
        return self.pixels() if callable(self.pixels) else self.pixels

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


STREETS = len(SPLITS) * SEEDS_PER_SPLIT
"""How many seeds of rendered streets there are; a seed is the same street everywhere."""

SEED_HELP = (
    "The seed of `rendered:SEED` on the command line and of `render_scene(SEED)`. Bundled networks "
    f"were trained on some below {SPLITS['val']:,}, and on none from {SPLITS['test']:,} on."
)


@lru_cache(maxsize=32)
def rendered_picture(seed: int) -> Picture:
    """Return a rendered street with its labels; ValueError if there is none of that seed."""
    if not 0 <= seed < STREETS:
        raise ValueError(f"unknown street {seed}; available: 0 to {STREETS - 1}")
    image, labels = drawn_street(seed)
    shares = np.bincount(labels.ravel(), minlength=len(STREET_CLASSES))
    seen = [name for name, share in zip(STREET_CLASSES, shares, strict=False) if share > 200]
    alt = f"Rendered street {seed}, with {', '.join(seen[:-1])} and {seen[-1]}"
    return Picture(f"street-{seed}", image, alt, f"rendered:{seed}", labels)


THUMBNAIL_HEIGHT = 96  # pixels: twice of what is shown, for dense screens


def thumbnail(image: UInt8[np.ndarray, "height width 3"]) -> str:
    """Return a small JPEG of a picture as a data URL."""
    height, width = image.shape[:2]
    size = (max(1, round(width * THUMBNAIL_HEIGHT / height)), THUMBNAIL_HEIGHT)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return "data:image/jpeg;base64," + base64.b64encode(jpeg(small)).decode()


def known_picture(picture: str) -> Picture | None:
    """Return the picture of an id; None if it is that of an upload which is gone.

    Args:
        picture: As `Picture.id`.
    """
    kind, _, name = picture.partition("-")
    if kind == "sample":
        return sample_picture(name)
    if kind == "street":
        return rendered_picture(int(name))
    path = kept_file(picture)
    return None if path is None else kept_picture(path)


def uploaded_picture(
    data: bytes, name: str, labels: bytes | None = None, void: str | None = None
) -> Picture:
    """Return the picture in a file's bytes, which are kept, and its labels in those of another.

    Args:
        data: Of the picture's file.
        name: What the user calls it.
        labels: Of an image whose values or colors are classes of the picture's pixels.
        void: Which of them are of no class, see `analysis.labels.Void.parse`.

    Raises:
        ValueError: There is no picture that can be used, or the labels do not fit it; or there is
            no room for it, see `app.uploads.keep`.
    """
    sha256 = hashlib.sha256(data).hexdigest()
    DECODED.get(sha256, lambda: read_with_note(data))  # what is no picture is not kept
    return kept_picture(keep(data, name), labels, void)


def kept_picture(path: Path, labels: bytes | None = None, void: str | None = None) -> Picture:
    """Return the picture in a kept file, see `uploaded_picture`."""
    data = path.read_bytes()
    digest = hashlib.sha256(data)
    read = partial(_read_once, path, digest.hexdigest())
    image, note = read()
    classes = None
    if labels is not None:
        found = read_labels(labels, image.shape[:2], Void.parse(void), name="the labels")
        classes, note = found.values, "; ".join(one for one in (note, found.note) if one)
    digest.update(labels or b"")
    digest.update((void or "").encode())
    return Picture(
        digest.hexdigest(), lambda: read()[0], "The uploaded picture", str(path), classes, note
    )


DECODED = ByteCache(settings().pictures_mb * MEGABYTE)
"""Pictures that were brought."""


def _read_once(path: Path, sha256: str) -> tuple[Pixels, str]:
    return DECODED.get(sha256, lambda: read_with_note(path.read_bytes()))
