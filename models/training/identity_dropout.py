"""Identity dropout: the block's own contribution has to stand by itself now and then.

A residual block returns its input plus what attention gathered, and a network that can do with the
input alone learns to: its attention becomes decoration. So, in training, the input is left out of
the block's output for a share of the views. What attention gathers must then say by itself what is
where, which takes attention that differs from query to query; in use both parts are there.

This is stochastic depth (Huang et al., ECCV 2016) the other way round: there the branch is dropped
and the identity stays.
"""

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle


def drop_identity(block: nn.Module, share: float) -> RemovableHandle:
    """Leave the input of a residual block out of its output for a share of a training batch.

    Args:
        block: Any module that returns its input (B, ...) plus something.
        share: Probability for each item of a batch, 0 to 1. In evaluation nothing is dropped.
    """
    if not 0 <= share <= 1:
        raise ValueError(f"share must be from 0 to 1, got {share}")

    def without_identity(module: nn.Module, inputs: tuple[Tensor], output: Tensor) -> Tensor:
        if not module.training or share == 0:
            return output
        (x,) = inputs
        dropped = torch.rand(len(x), *[1] * (x.ndim - 1), device=x.device) < share
        return output - x * dropped

    return block.register_forward_hook(without_identity)
