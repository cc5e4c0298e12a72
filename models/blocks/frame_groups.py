"""An attention block that is shown a clip a few frames at a time."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nonlocal_lens.models.blocks.attention_block import AttentionBlock


class FrameGroups(nn.Module):
    """An attention block that sees a few frames at a time, so that it runs once for each group.

    Wang et al. 2018 so saved memory in the third stage of their networks for long clips.
    """

    def __init__(self, block: AttentionBlock, frames: int) -> None:
        super().__init__()
        self.block = block
        self.frames = frames

    def forward(
        self, x: Float[Tensor, "batch channels frames height width"]
    ) -> Float[Tensor, "batch channels frames height width"]:
        """Return what the block makes of each group, in order; the last may have fewer frames."""
        return torch.cat([self.block(group) for group in x.split(self.frames, dim=2)], dim=2)
