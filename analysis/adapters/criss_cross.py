"""Criss-cross attention: a query looks at the keys of its row and of its column.

Huang et al., "CCNet: Criss-Cross Attention for Semantic Segmentation", ICCV 2019 (arXiv
1811.11721). There is one softmax over row and column together, in which the query's own place,
where they meet, counts once. The layers have the names that other non-local blocks have, so that
the block's own output tells which it is; see `analysis.adapters.non_local`.
"""

import re

import torch
from torch import nn

from models.blocks import Reach

NAMED = re.compile("criss_?cross|^CC_?(module|attention)$|^Pixel_?wise_?attention$", re.IGNORECASE)
"""Class names of criss-cross attention, the last one of it in the first code of its authors."""


def is_called_criss_cross(module: nn.Module) -> bool:
    """Return whether a module's class, or the layers only CCNet's first code has, say so."""
    return bool(NAMED.search(type(module).__name__)) or hasattr(module, "t_func")


def row_and_column(shape: tuple[int, ...]) -> Reach:
    """Return what the queries of a grid of some rows and columns look at, which are its keys."""
    place = torch.cartesian_prod(*(torch.arange(side) for side in shape))
    return Reach("row and column", place, place)
