"""Means of a map of pixels over the cells of a grid, by area."""

import torch
from jaxtyping import Float
from torch import Tensor

from nonlocal_lens.analysis.grid import Cell, Grid


def cell_means(pixels: Float[Tensor, "height width"], grid: Grid) -> Float[Tensor, "rows columns"]:
    """Return the mean over each cell of a grid, of the part of it that lies on the image.

    A pixel that a cell covers in part counts by that part. Cells beyond the image have 0.

    Args:
        pixels: A map of all of the image, in any resolution.
        grid: The grid of one frame.
    """
    left, top, width, height = grid.box(Cell(0, 0))
    image_height, image_width = grid.image_hw
    rows = _covered(top, height, grid.height, image_height, pixels.shape[0]).to(pixels)
    columns = _covered(left, width, grid.width, image_width, pixels.shape[1]).to(pixels)
    return rows @ pixels @ columns.mT


def _covered(
    first: float, size: float, count: int, image: int, pixels: int
) -> Float[Tensor, "cells pixels"]:
    """Return how much of each cell each pixel covers: rows that add up to 1, or to 0."""
    scale = pixels / image
    starts = (first + size * torch.arange(count, dtype=torch.float64))[:, None] * scale
    at = torch.arange(pixels, dtype=torch.float64)
    covered = torch.minimum(starts + size * scale, at + 1) - torch.maximum(starts, at)
    covered = covered.clamp_min(0)
    return covered / covered.sum(dim=1, keepdim=True).clamp_min(1e-12)
