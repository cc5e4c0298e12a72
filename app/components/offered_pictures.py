"""The pictures on the shelf: small, and in words, without drawing or reading one of them.

`python -m nonlocal_lens.app.components.offered_pictures` makes them anew.
"""

import json
from functools import cache
from pathlib import Path
from typing import NamedTuple

from nonlocal_lens.app.drawn_streets import FIRST_STREETS
from nonlocal_lens.app.pictures import known_picture, thumbnail
from nonlocal_lens.models.atomic_write import atomic_write

ON_THE_SHELF = (*(f"street-{seed}" for seed in FIRST_STREETS), "sample-coffee", "sample-chelsea")
"""Ids of `app.pictures.known_picture`: streets, which bundled networks know, and others, to see
what then."""

FILE = Path(__file__).with_name("offered_pictures.json")


class Offered(NamedTuple):
    """A picture on the shelf."""

    id: str
    alt: str  # what it shows, in words
    image: str  # a small JPEG as a data URL


@cache
def offered() -> tuple[Offered, ...]:
    """Return the pictures on the shelf, as they were made."""
    return tuple(Offered(**one) for one in json.loads(FILE.read_text(encoding="utf-8")))


def made() -> tuple[Offered, ...]:
    """Draw and read the pictures on the shelf, which takes seconds."""
    found = {picture: known_picture(picture) for picture in ON_THE_SHELF}
    return tuple(
        Offered(picture, one.alt, thumbnail(one.image))
        for picture, one in found.items()
        if one is not None
    )


if __name__ == "__main__":
    lines = json.dumps([one._asdict() for one in made()], indent=1)
    atomic_write(FILE, f"{lines}\n".encode())
