"""Rendered streets of the app. The one that it opens with is kept: to draw it takes half a second.

`python -m nonlocal_lens.app.drawn_streets` keeps it anew.
"""

from pathlib import Path

import numpy as np
from PIL import Image

from nonlocal_lens.streets import render_scene
from nonlocal_lens.streets.scene import Scene

FIRST_STREETS = (2_000_030, 2_000_036, 2_000_021, 2_000_017)
"""Streets on offer at a glance, of the test split: by day, crowded, bright, at dusk."""

FIRST_STREET = FIRST_STREETS[0]
"""The street that the app opens with: a lamp post against the sky, cars, a road."""

FILES = tuple(Path(__file__).with_name(f"first_street_{part}.png") for part in Scene._fields)
"""Where it is kept, without loss: its picture and its labels."""


def drawn_street(seed: int) -> Scene:
    """Return the street of a seed with its labels, see `streets.render_scene`."""
    if seed != FIRST_STREET:
        return render_scene(seed)
    return Scene(*(np.array(Image.open(path)) for path in FILES))


def keep() -> None:
    """Draw the first street and keep it."""
    for path, pixels in zip(FILES, render_scene(FIRST_STREET), strict=True):
        Image.fromarray(pixels).save(path, optimize=True)


if __name__ == "__main__":
    keep()
