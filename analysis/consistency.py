"""Does attention stay inside the query's own category? Attention against pixel labels."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from analysis import terms
from analysis.degeneracy import query_chunks
from analysis.grid import Grid
from analysis.record import ROW_SUM, AttentionRecord


@dataclass(frozen=True)
class CategoryMass:
    """How much attention falls on the query's own category, averaged over labeled queries.

    The idea is Yin et al. 2020's (pairwise attention against within-category regions); they do not
    say how they overlap the two, so these numbers are not comparable with theirs.
    """

    mass: float  # share of the row's attention on pixels of the query's own class, 0 to 1
    chance: float  # the same for uniform attention: the class's share of the image
    queries: int  # labeled queries that were averaged

    @property
    def lift(self) -> float:
        """How many times more than chance; 1 means that attention ignores the category."""
        return self.mass / self.chance


def own_category_mass(
    record: AttentionRecord,
    labels: UInt8[np.ndarray, "height width"],
    classes: int,
    *,
    term: terms.Term = "whole",
) -> CategoryMass:
    """Return the mean share of attention that stays inside the query's own category.

    A query belongs to the class that most of its cell's pixels have; cells mostly void are left
    out. A key cell counts for a class by the share of its pixels, so nothing is rounded. Rows are
    divided by what they sum to.

    Args:
        record: The block, captured on the image that `labels` belongs to.
        labels: Label values; `classes` and above are void.
        classes: Number of classes.
        term: Which attention: the whole, or one term's own softmax.

    Raises:
        ValueError: The labels are not of the image's size, or no query cell is labeled.
    """
    if labels.shape != record.query_grid.image_hw:
        raise ValueError(
            f"labels must have the image's size {record.query_grid.image_hw}, got {labels.shape}"
        )
    key_share = class_share(labels, classes, record.key_grid)
    query_share = class_share(labels, classes, record.query_grid)
    labeled: Bool[Tensor, " query_pos"] = query_share.sum(dim=1) >= 0.5
    if not labeled.any():
        raise ValueError("no query cell is labeled: the labels are void nearly everywhere")
    own = query_share.argmax(dim=1)
    row_sum = ROW_SUM[record.coupling] if term == "whole" else 1

    mass = torch.zeros((), dtype=torch.float64)
    for chunk in query_chunks(record):
        chunk = chunk[labeled[chunk]]
        per_class = (
            terms.attention(record, chunk, term) @ key_share.to(record.query.dtype) / row_sum
        )
        mass += per_class.gather(1, own[chunk, None]).sum(dtype=torch.float64)
    count = int(labeled.sum())
    chance = key_share.mean(dim=0)[own[labeled]].mean().item()
    return CategoryMass(mass.item() / count, chance, count)


def class_share(
    labels: UInt8[np.ndarray, "height width"], classes: int, grid: Grid
) -> Float[Tensor, "pos classes"]:
    """Return which share of every cell's pixels belongs to each class; void is the rest to 1."""
    height, width = labels.shape
    rows = np.minimum((np.arange(height) + 0.5) // grid.cell_height, grid.height).astype(int)
    cols = np.minimum((np.arange(width) + 0.5) // grid.cell_width, grid.width).astype(int)
    cell = (
        rows[:, None] * (grid.width + 1) + cols
    )  # one column more, for pixels that no cell covers
    known = labels < classes
    slots = (grid.height + 1) * (grid.width + 1)
    pixels = np.bincount(cell.ravel(), minlength=slots)
    counts = np.bincount(cell[known] * classes + labels[known], minlength=slots * classes)
    share = counts.reshape(slots, classes) / np.maximum(pixels, 1)[:, None]
    covered = share.reshape(grid.height + 1, grid.width + 1, classes)[: grid.height, : grid.width]
    return torch.from_numpy(covered.reshape(-1, classes))
