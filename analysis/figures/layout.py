"""Where everything of a grid of panels goes, in inches from the top left.

Computed, not solved for: a figure of fifty panels is laid out in microseconds, every panel has the
size it should, and equal questions get equal layouts, so that figures can be compared and reused.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import NamedTuple


class Box(NamedTuple):
    """A rectangle in inches; y runs down from the top of the figure."""

    x: float
    y: float
    width: float
    height: float

    def snapped(self, dpi: float) -> "Box":
        """Return the box with its edges on whole pixels, so that nothing inside is blurred."""
        left, top = round(self.x * dpi) / dpi, round(self.y * dpi) / dpi
        right = round((self.x + self.width) * dpi) / dpi
        bottom = round((self.y + self.height) * dpi) / dpi
        return Box(left, top, max(right - left, 1 / dpi), max(bottom - top, 1 / dpi))


class Group(NamedTuple):
    """Neighboring columns under one heading."""

    heading: str
    x: float
    width: float


@dataclass(frozen=True)
class Furniture:
    """What stands around the panels; heights follow from it and the font."""

    em: float  # font size in inches
    under_panels: bool = False  # a line of text under every panel
    token_height: float = 0.0  # inches under every panel for what lies off the picture
    bar_lines: int = 0  # color bars above one another
    legend_lines: int = 0
    caption_lines: int = 0


@dataclass(frozen=True)
class GridLayout:
    """Boxes of a grid of panels with its headings, color bars, legend and caption."""

    width: float
    height: float
    panels: list[list[Box]]  # by row and column
    groups: list[Group]
    heading_y: float  # middle of the groups' headings
    title_y: float  # middle of the columns' titles
    bars_y: list[float]  # top of each color bar
    legend_y: float
    caption_y: float


def grid_layout(
    columns: Sequence[tuple[str, str]],
    aspects: Sequence[float],
    furniture: Furniture,
    width: float,
    height: float | None = None,
) -> GridLayout:
    """Lay out a grid of panels.

    Args:
        columns: The heading that a column stands under (empty for none) and its title (or empty).
        aspects: Height over width of the panels of each row.
        furniture: What stands around the panels.
        width: Of the figure, inches.
        height: Of the figure, inches; as much as is needed if None. Panels shrink to fit into it.

    Raises:
        ValueError: The figure is too small for its panels.
    """
    em = furniture.em
    gap, group_gap = 0.4 * em, 1.1 * em
    headings = [heading for heading, _ in columns]
    gaps = [group_gap if a != b else gap for a, b in pairwise(headings)]
    heading_height = 1.55 * em if any(headings) else 0.0
    title_height = 1.4 * em if any(title for _, title in columns) else 0.0
    under = (1.25 * em if furniture.under_panels else 0.0) + furniture.token_height
    top = heading_height + title_height
    bar_height = 4.0 * em
    foot = (
        bar_height * furniture.bar_lines
        + (0.5 * em + 1.5 * em * furniture.legend_lines if furniture.legend_lines else 0)
        + (0.7 * em + 1.35 * em * furniture.caption_lines if furniture.caption_lines else 0.1 * em)
    )
    between = (len(aspects) - 1) * gap + len(aspects) * under
    panel_width = (width - sum(gaps)) / len(columns)
    if height is not None:
        panel_width = min(panel_width, (height - top - foot - between) / sum(aspects))
    if panel_width < 0.5 * em:
        size = f"{width:g} x {height:g}" if height is not None else f"{width:g}"
        raise ValueError(
            f"a figure of {size} inches is too small for {len(columns)} columns and "
            f"{len(aspects)} rows of panels"
        )
    left = (width - panel_width * len(columns) - sum(gaps)) / 2

    lefts = [left]
    for space in gaps:
        lefts.append(lefts[-1] + panel_width + space)
    panels, y = [], top
    for aspect in aspects:
        panels.append([Box(x, y, panel_width, panel_width * aspect) for x in lefts])
        y += panel_width * aspect + under + gap
    y -= gap
    groups = []
    for heading, members in groupby(zip(headings, lefts, strict=True), key=lambda pair: pair[0]):
        edges = [x for _, x in members]
        groups.append(Group(heading, edges[0], edges[-1] + panel_width - edges[0]))
    bars_y = [y + bar_height * line + 0.8 * em for line in range(furniture.bar_lines)]
    y += bar_height * furniture.bar_lines
    legend_y = y + 0.5 * em
    if furniture.legend_lines:
        y = legend_y + 1.5 * em * furniture.legend_lines
    last = panels[-1][0]
    return GridLayout(
        width=width,
        height=height if height is not None else last.y + last.height + under + foot,
        panels=panels,
        groups=groups,
        heading_y=0.65 * em,
        title_y=heading_height + 0.6 * em,
        bars_y=bars_y,
        legend_y=legend_y,
        caption_y=y + 0.7 * em,
    )
