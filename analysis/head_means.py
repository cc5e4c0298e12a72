"""All heads of a network over several pictures: mean numbers and maps, a picture at a time."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from nonlocal_lens.analysis import degeneracy, terms
from nonlocal_lens.analysis.atlas import HEAD_STATISTICS, MeasuredHead, head_title, layers
from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.analysis.intervals import Interval, mean_interval
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.redundancy import mean_row, twin

Numbers = Float[np.ndarray, " statistics"]
"""One for each of `HEAD_STATISTICS`, NaN where it is undefined."""


@dataclass(eq=False)
class _Sums:
    """What is known of one head: sums over the pictures so far."""

    axis: Axis | None  # of the keys of all pictures; None once one has others
    numbers: Numbers = field(default_factory=lambda: np.zeros(len(HEAD_STATISTICS)))
    known: Numbers = field(default_factory=lambda: np.zeros(len(HEAD_STATISTICS)))  # how many
    row: Tensor | None = None
    rows: int = 0  # pictures that have a mean row
    unary: Tensor | None = None
    unaries: int = 0  # pictures whose unary map is one for all queries


class HeadMeans:
    """The numbers, mean rows and unary maps of every head, averaged over pictures.

    Of a picture no record is kept: its mean rows and unary maps go into sums, and of its numbers
    remain the means over the heads of every layer, which intervals are made of.

    Attributes:
        pictures: How many were added.
    """

    def __init__(self) -> None:
        self.pictures = 0
        self._heads: dict[str, _Sums] = {}
        self._layers: dict[int, list[Numbers]] = {}  # a layer's means over heads, by picture

    def add(self, records: Sequence[AttentionRecord]) -> None:
        """Take one more picture.

        Args:
            records: What a network did on it, see `analysis.atlas.placed`.

        Raises:
            ValueError: There is no record.
        """
        if not records:
            raise ValueError("the network has no attention with places in the picture")
        of_layers: dict[int, list[Numbers]] = {}
        reports = degeneracy.measure_heads(records, shuffles=False)
        for record, layer, report in zip(records, layers(records), reports, strict=True):
            numbers = _numbers_of(report)
            axis = record.key_axis
            sums = self._heads.setdefault(head_title(record), _Sums(axis))
            sums.numbers += np.nan_to_num(numbers)
            sums.known += np.isfinite(numbers)
            if sums.axis is not None and sums.axis != axis:
                sums.axis = sums.row = sums.unary = None  # other places have no mean
            if sums.axis is not None:
                _add_maps(sums, record)
            of_layers.setdefault(layer, []).append(numbers)
        for layer, several in of_layers.items():
            self._layers.setdefault(layer, []).append(_mean_of_known(np.stack(several)))
        self.pictures += 1

    def over(self, heads: Sequence[MeasuredHead]) -> list[MeasuredHead]:
        """Return the heads of one picture with the numbers and maps of all pictures.

        A head's mean row and unary map are those of all pictures where these, and the one picture,
        have the same keys; else they stay the one picture's. Redundant is what is so by the rows
        that are returned.

        Args:
            heads: What was measured of one picture, all heads of the network.
        """
        averaged: list[MeasuredHead] = []
        rows: list[tuple[AttentionRecord, Tensor]] = []
        for head in heads:
            sums = self._heads.get(head.title, _Sums(None))
            means = np.divide(sums.numbers, sums.known, where=sums.known > 0, out=_undefined())
            numbers: dict[str, Any] = dict(zip(HEAD_STATISTICS, map(float, means), strict=True))
            same_keys = sums.axis is not None and sums.axis == head.record.key_axis
            row = sums.row / sums.rows if same_keys and sums.row is not None else head.mean
            unary = sums.unary / sums.unaries if same_keys and sums.unary is not None else None
            found = twin(head.record, row, rows)
            averaged.append(
                MeasuredHead(
                    head.record,
                    head.layer,
                    replace(head.report, **numbers),
                    row,
                    found,
                    unary,
                    self.pictures if same_keys else 1,
                )
            )
            rows.append((head.record, row))
        return averaged

    def by_depth(self, statistic: str, *, seed: int = 0) -> dict[int, Interval]:
        """Return the mean over heads of every layer, with its interval over pictures.

        Args:
            statistic: A name of `analysis.atlas.HEAD_STATISTICS`.
            seed: Of the resamples, see `analysis.intervals.mean_interval`.
        """
        at = HEAD_STATISTICS.index(statistic)
        return {
            layer: mean_interval([float(numbers[at]) for numbers in of_pictures], seed=seed)
            for layer, of_pictures in sorted(self._layers.items())
        }


def counted(pictures: int) -> str:
    """Return how many pictures, in words."""
    return "1 picture" if pictures == 1 else f"{pictures} pictures"


def sentence_of_means(pictures: int, heads: Sequence[MeasuredHead], shown: str) -> str:
    """Return what of a wall is a mean over pictures, and what is of the one that is shown.

    Args:
        pictures: How many the means are over.
        heads: Of the wall, as `HeadMeans.over` returns them.
        shown: What the picture is called whose rows are computed.
    """
    over = counted(pictures)
    averaged = [head for head in heads if head.maps_of == pictures]
    if len(averaged) < len(heads):
        which = "maps" if not averaged else f"the maps of {len(heads) - len(averaged)} heads"
        return (
            f"Numbers are means over {over}. Their grids differ, so that {which} have no mean: "
            f"those that you see are of {shown}."
        )
    without = sum(head.unary is None for head in heads)
    words = f"Numbers, mean rows and unary maps are means over {over}"
    if without == len(heads):
        return f"Numbers and mean rows are means over {over}; all other maps are of {shown}."
    if without:
        words += f", but for the unary maps of {without} heads, of which queries see different keys"
    return f"{words}; whole and pairwise maps are of {shown}."


def _numbers_of(report: degeneracy.DegeneracyReport) -> Numbers:
    values = [float(getattr(report, name)) for name in HEAD_STATISTICS]
    return np.array([value if isfinite(value) else np.nan for value in values])


def _add_maps(sums: _Sums, record: AttentionRecord) -> None:
    row = mean_row(record)
    if not row.isnan().any():
        sums.row = row if sums.row is None else sums.row + row
        sums.rows += 1
    if record.reach is None:
        (unary,) = terms.attention(record, torch.tensor([0]), "unary").double()
        sums.unary = unary if sums.unary is None else sums.unary + unary
        sums.unaries += 1


def _mean_of_known(numbers: Float[np.ndarray, "heads statistics"]) -> Numbers:
    """Return means over heads of what is defined."""
    known = np.isfinite(numbers).sum(axis=0)
    total = np.nan_to_num(numbers).sum(axis=0)
    means: Numbers = np.divide(total, known, where=known > 0, out=_undefined())
    return means


def _undefined() -> Numbers:
    return np.full(len(HEAD_STATISTICS), np.nan)
