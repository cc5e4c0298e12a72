"""How large a figure and its maps are on paper, before anything is drawn."""

from collections.abc import Sequence
from typing import NamedTuple

from nonlocal_lens.analysis.figures.layout import Furniture, grid_layout
from nonlocal_lens.app.export.options import Options

MILLIMETERS = 25.4  # in an inch
SCREEN_INCH = 96
"""Pixels of a web page that are an inch of paper, by definition of CSS."""

LEAST_MAP_MM = 12.0
"""Narrower maps tell little in print: of 60 cells each is less than 0.2 mm wide."""

OF_THE_PICTURE = ("input", "labels")


class Sizes(NamedTuple):
    """Of one figure, on paper."""

    width_mm: float
    map_mm: float  # the width of one map


def sizes_of(options: Options, networks: Sequence[str]) -> Sizes | None:
    """Return the sizes of an export's figures; None where the layout has none in common.

    Args:
        options: What is asked for.
        networks: Titles of the networks that have maps.

    Raises:
        ValueError: The figure is too small for its panels.
    """
    if options.layout not in ("grid", "stacked", "queries", "panels"):
        return None
    shared = [("", name) for name in options.terms if name in OF_THE_PICTURE]
    maps = [name for name in options.terms if name not in OF_THE_PICTURE]
    groups = [""] if options.layout == "stacked" else list(networks)
    columns = [*shared, *((group, name) for group in groups for name in maps)]
    width = options.look.width
    if options.layout == "panels":
        map_width = width / len(columns)
    else:
        em = options.look.sheet.font_size / 72
        layout = grid_layout(columns, [0.75], Furniture(em=em), width)
        map_width = layout.panels[0][0].width
    return Sizes(width * MILLIMETERS, map_width * MILLIMETERS)
