"""Rendered streets of the app. The one that it opens with is kept: to draw it takes half a second.

`python -m nonlocal_lens.app.drawn_streets` keeps it anew.
"""

from functools import lru_cache
from pathlib import Path

import cv2

from nonlocal_lens.streets import render_scene
from nonlocal_lens.streets.scene import Scene

FIRST_STREETS = (2_000_030, 2_000_036, 2_000_021, 2_000_017)
"""Streets on offer at a glance, of the test split: by day, crowded, bright, at dusk."""

FIRST_STREET = FIRST_STREETS[0]
"""The street that the app opens with: a lamp post against the sky, cars, a road."""

FILES = tuple(Path(__file__).with_name(f"first_street_{part}.png") for part in Scene._fields)
"""Where it is kept, without loss: its picture and its labels."""


@lru_cache(maxsize=32)
def drawn_street(seed: int) -> Scene:
    """Return the street of a seed with its labels, see `streets.render_scene`."""
    if seed != FIRST_STREET:
        return render_scene(seed)
    image, labels = (cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in FILES)
    return Scene(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), labels)


def keep() -> None:
    """Draw the first street and keep it."""
    image, labels = render_scene(FIRST_STREET)
    for path, pixels in zip(FILES, (cv2.cvtColor(image, cv2.COLOR_RGB2BGR), labels), strict=True):
        cv2.imwrite(str(path), pixels, [cv2.IMWRITE_PNG_COMPRESSION, 9])


if __name__ == "__main__":
    keep()
