"""The blocks of this package, each behind cells of 8 x 8 pixels."""

from copy import deepcopy
from functools import partial
from typing import Any

from torch import Tensor, nn

from nonlocal_lens.analysis.verify.family import Family, Member, awake, noise
from nonlocal_lens.models.blocks import Projections
from nonlocal_lens.models.networks.architecture import BLOCKS

CHANNELS = 12
OF_CLIPS = ("space_only", "time_only")


def dot_products(projections: Projections, scale: float) -> Tensor:
    """Return what equation 4 of Wang et al. 2018 says, the matrix written out."""
    weights = scale * projections.query @ projections.key.mT / projections.key.shape[1]
    return weights @ projections.value


def rectified_sums(projections: Projections, scale: float) -> Tensor:
    """Return what equation 5 of Wang et al. 2018 says, the matrix written out."""
    del scale  # there is no product
    weights = (projections.query + projections.key.mT).relu() / projections.key.shape[1]
    return weights @ projections.value


WRITTEN_OUT = {"dot_product": dot_products, "concatenation": rectified_sums}
"""Of blocks that never build the matrix: the formula, for the reference."""


def build(name: str) -> Member:
    """Return a network with a block, and a picture or clip for it."""
    of_clips = name in OF_CLIPS
    convolution: Any = nn.Conv3d if of_clips else nn.Conv2d
    sides = (1, 8, 8) if of_clips else (8, 8)
    cells = convolution(3, CHANNELS, sides, stride=sides)
    block = BLOCKS[name](CHANNELS, dimension=len(sides))
    network = awake(nn.Sequential(cells, nn.GroupNorm(1, CHANNELS), block))
    picture = noise(1, 3, 3, 56, 88) if of_clips else noise(1, 3, 88, 104)
    reference: Any = None
    if name in WRITTEN_OUT:
        reference = deepcopy(network)
        reference[2].aggregate = partial(WRITTEN_OUT[name], scale=block.scale)
    return Member(network, {"0": picture}, 2 if of_clips else None, reference)


FAMILIES = tuple(
    Family(f"own:{block}", partial(build, block), "video" if block in OF_CLIPS else "image")
    for block in BLOCKS
)
