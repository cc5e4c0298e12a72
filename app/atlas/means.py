"""What a wall says of several pictures: how many, what is a mean over them, and by depth."""

from collections.abc import Sequence
from math import isfinite
from typing import Any, NamedTuple

from nonlocal_lens.analysis.atlas import HEAD_STATISTICS, MeasuredHead
from nonlocal_lens.analysis.head_means import HeadMeans, counted, sentence_of_means

Depth = dict[str, list[list[float | None]]]
"""By statistic, for each layer: its number, the mean, and the two ends of its interval."""


class Means(NamedTuple):
    """The pictures that a wall's numbers are means over."""

    pictures: int
    named: str  # which they are, in words
    said: str  # what is a mean, and what is of the picture that is shown: a sentence
    depth: Depth

    @property
    def counted(self) -> str:
        """How many pictures, in words."""
        return counted(self.pictures)

    def note(self) -> dict[str, Any]:
        """Return what files say of it."""
        return {"count": self.pictures, "which": self.named, "said": self.said}


def means_of(found: HeadMeans, heads: Sequence[MeasuredHead], named: str, shown: str) -> Means:
    """Return what a wall says of several pictures.

    Args:
        found: What was measured on them.
        heads: The heads of the wall, as `HeadMeans.over` returns them.
        named: Which pictures they are, in words.
        shown: What the picture is called that is shown.
    """
    depth: Depth = {}
    for statistic in HEAD_STATISTICS:
        intervals = found.by_depth(statistic)
        depth[statistic] = [
            [layer, *(end if isfinite(end) else None for end in (one.mean, one.low, one.high))]
            for layer, one in intervals.items()
        ]
    said = sentence_of_means(found.pictures, heads, shown)
    return Means(found.pictures, named, said, depth)
