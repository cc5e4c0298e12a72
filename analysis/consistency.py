"""Attention against pixel labels: does it stay in the query's category, does it seek boundaries?"""

from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Integer
from torch import Tensor

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.analysis.labels import NO_CLASS
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.streaming import query_chunks

BOUNDARY_WIDTH = 0.5
"""How far a boundary reaches to either side, in key cells: 4 pixels where the stride is 8."""


class Region(NamedTuple):
    """A part of the image, as the keys see it."""

    area: Float[Tensor, " key_pos"]  # share of a cell's pixels that are in it, 0 to 1
    cells: Bool[Tensor, " key_pos"]  # whether the cell as a whole is in it


@dataclass(frozen=True)
class Agreement:
    """How attention agrees with a region of the labels, averaged over queries.

    `chance` and `precision_chance` are what uniform attention has, and on average also attention
    whose keys are shuffled in every row.
    """

    mass: float  # share of a row's attention that lies on the region, 0 to 1
    chance: float  # the region's share of the area of the keys
    precision: float  # share of the K strongest keys that are in the region, K = its cells
    precision_chance: float  # K over all keys; NaN, like the precision, where no cell is in it
    queries: int  # how many were averaged

    @property
    def lift(self) -> float:
        """How many times more mass than chance; 1 means that attention ignores the region."""
        return self.mass / self.chance if self.chance > 0 else float("nan")


@dataclass(frozen=True)
class Consistency:
    """How one term of attention agrees with labels, of what falls on the picture.

    Tokens that are no places have no labels. Masses, chances and precisions are therefore those of
    rows among places, and `picture_share` says which share of the attention that is about.

    The two ideas are those of Yin et al. 2020 (pairwise attention against within-category regions,
    unary attention against boundaries); they do not say how they overlap maps and labels, so these
    numbers are not comparable with theirs.
    """

    own_category: Agreement  # with pixels of the query's own class; over labeled queries
    by_class: dict[int, Agreement]  # the same for the queries of every label value that has any
    boundary: Agreement  # with pixels near a change of label; over all queries
    boundary_pixels: float  # how far from a change still counts as near
    picture_share: float  # mean share of a row on places, 0 to 1; 1 where all keys are places


def measure(
    record: AttentionRecord,
    labels: Integer[np.ndarray, "height width"],
    classes: int | None = None,
    *,
    term: terms.Term = "whole",
    boundary_width: float = BOUNDARY_WIDTH,
) -> Consistency:
    """Return how much of a block's attention stays in the own category, and on boundaries.

    A cell belongs to the class that most of its labeled pixels have; cells mostly void belong to
    none, and queries there are left out of the own category. For masses, a key cell counts for a
    region by the share of its pixels, so nothing is rounded; for precisions it is in the region of
    its class, or near a boundary if most of its pixels are. A row's weights are taken without their
    sign and divided by their sum; queries that attend to nothing are left out, and where none is
    left there is NaN.

    Args:
        record: The block, captured on the image that `labels` belongs to.
        labels: Label values, each a class of its own whatever it is, in regions that need not
            hang together; negative ones are void. `analysis.labels` reads them from files.
        classes: If given, values from this number on are void, too.
        term: Which attention: the whole, or one term's own.
        boundary_width: How far boundaries reach to either side, in key cells; see `boundaries`.

    Raises:
        ValueError: The labels are not of the image's size, the record is of a clip, its queries or
            keys have no places, or no query cell is labeled.
    """
    query, key = record.query_axis, record.key_axis
    if not (query.placed and key.placed):
        side = "keys" if query.placed else "queries"
        raise ValueError(
            f"labels are of places, but the {side} of block {record.block!r} have none"
        )
    if labels.shape != record.query_grid.image_hw:
        raise ValueError(
            f"labels must have the image's size {record.query_grid.image_hw}, got {labels.shape}"
        )
    if record.query_grid.frames > 1:
        raise ValueError(
            f"labels are of one image, but the record is of {record.query_grid.frames} frames"
        )
    values, dense = _numbered(labels, classes)
    query_class = cell_class(class_share(dense, len(values), query))
    if (query_class == NO_CLASS).all():
        raise ValueError("no query cell is labeled: the labels are void nearly everywhere")

    cell_pixels = (record.key_grid.cell_height * record.key_grid.cell_width) ** 0.5
    near_pixels = boundaries(labels, boundary_width * cell_pixels).astype(np.uint8)
    near_share = class_share(near_pixels, 2, key)[:, 1]
    near = Region(near_share, near_share >= 0.5)
    key_share = class_share(dense, len(values), key)
    key_class = cell_class(key_share)

    on_own, on_near = torch.full((2, len(query_class), 4), torch.nan, dtype=torch.float64)
    on_picture = torch.full((len(query_class),), torch.nan, dtype=torch.float64)
    for index in query_class.unique().tolist():
        for chunk in query_chunks(record, (query_class == index).nonzero()[:, 0]):
            # the rows of the unary term are all the same
            rows = terms.attention(record, chunk[:1] if term == "unary" else chunk, term)
            weights = rows.abs()
            on_picture[chunk] = (weights[:, : key.placed].sum(1) / weights.sum(1)).double()
            rows = rows[:, : key.placed]
            on_near[chunk] = overlap(rows, near)
            if index != NO_CLASS:
                on_own[chunk] = overlap(rows, Region(key_share[:, index], key_class == index))

    return Consistency(
        own_category=_mean(on_own),
        by_class={
            value: _mean(on_own[query_class == index])
            for index, value in enumerate(values)
            if (query_class == index).any()
        },
        boundary=_mean(on_near),
        boundary_pixels=boundary_width * cell_pixels,
        picture_share=on_picture.nanmean().item(),
    )


def overlap(
    rows: Float[Tensor, "queries key_pos"], region: Region
) -> Float[Tensor, "queries agreement"]:
    """Return the mass, chance, precision and precision by chance of every row; see `Agreement`.

    Keys that tie at rank K count by the share of them that fits in. A row of zeros has NaN.
    """
    weights = rows.abs()
    agreement = torch.full((len(rows), 4), torch.nan, dtype=torch.float64)
    mass = (weights @ region.area.to(weights)) / weights.sum(dim=1)
    agreement[:, 0] = mass
    agreement[:, 1] = region.area.mean()
    count = int(region.cells.sum())
    if count:
        rank = weights.shape[1] - count
        weakest = torch.from_numpy(np.partition(weights.numpy(), rank, axis=1)[:, rank, None])
        cells = torch.stack([region.cells, torch.ones_like(region.cells)], dim=1).to(weights)
        above, above_anywhere = ((weights > weakest).to(weights) @ cells).T
        level, level_anywhere = ((weights == weakest).to(weights) @ cells).T
        inside = above + (count - above_anywhere) / level_anywhere * level
        agreement[:, 2] = (inside / count).where(~mass.isnan(), torch.nan)
        agreement[:, 3] = count / len(region.cells)
    return agreement


def boundaries(
    labels: Integer[np.ndarray, "height width"], width: float
) -> Bool[np.ndarray, "height width"]:
    """Return which pixels lie at most `width` pixels from one that touches another label.

    The two pixels on either side of a change touch it, so width 0 gives lines of two pixels. Void
    is a label like others here: some data sets draw the outlines of objects with it, in others it
    stands for objects of no class, whose outlines are boundaries too.
    """
    from skimage.segmentation import find_boundaries  # late: it takes most of a second

    touching: np.ndarray = find_boundaries(labels, mode="thick")
    if not touching.any():
        return touching
    distance = cv2.distanceTransform(
        (~touching).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE
    )
    near: np.ndarray = distance <= width
    return near


def _numbered(
    labels: Integer[np.ndarray, "height width"], classes: int | None
) -> tuple[list[int], Integer[np.ndarray, "height width"]]:
    """Return the label values that are classes, and labels that count them from 0, void below."""
    known = labels >= 0
    if classes is not None:
        known &= labels < classes
    values = np.unique(labels[known])
    dense = np.full(labels.shape, NO_CLASS)
    dense[known] = np.searchsorted(values, labels[known])
    return values.tolist(), dense


def class_share(
    labels: Integer[np.ndarray, "height width"], classes: int, axis: Axis
) -> Float[Tensor, "placed classes"]:
    """Return which share of every placed token's pixels each class has; void is the rest to 1.

    Values below 0, and `classes` and above, are void.
    """
    grid = axis.grid
    assert grid is not None  # there are places
    height, width = labels.shape
    rows, cols = grid.rows_at(np.arange(height) + 0.5), grid.columns_at(np.arange(width) + 0.5)
    cell = (
        rows[:, None] * (grid.width + 1) + cols
    )  # one column more, for pixels that no cell covers
    known = (labels >= 0) & (labels < classes)
    slots = (grid.height + 1) * (grid.width + 1)
    pixels = np.bincount(cell.ravel(), minlength=slots)
    counts = np.bincount(cell[known] * classes + labels[known], minlength=slots * classes)
    share = counts.reshape(slots, classes) / np.maximum(pixels, 1)[:, None]
    covered = share.reshape(grid.height + 1, grid.width + 1, classes)[: grid.height, : grid.width]
    return torch.from_numpy(covered.reshape(grid.height * grid.width, classes)[axis.all_cells])


def cell_class(share: Float[Tensor, "pos classes"]) -> Int[Tensor, " pos"]:
    """Return the class that most labeled pixels of a cell have; `NO_CLASS` where most are void."""
    if not share.shape[1]:
        return torch.full((len(share),), NO_CLASS)
    return share.argmax(dim=1).where(share.sum(dim=1) >= 0.5, NO_CLASS)


def _mean(found: Float[Tensor, "queries agreement"]) -> Agreement:
    """Average what `overlap` returns over the queries that attend to anything."""
    found = found[~found[:, 0].isnan()]
    mass, chance, precision, precision_chance = found.nanmean(dim=0).tolist()
    return Agreement(mass, chance, precision, precision_chance, len(found))
