"""Values of this package's blocks on their way out: lengths and angles, in as few channels."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nonlocal_lens.analysis.tracing.squares import squares_of
from nonlocal_lens.models.blocks import AttentionBlock


def on_their_way_out(
    block: AttentionBlock, vectors: Float[Tensor, "pos value_channels"]
) -> Float[Tensor, "pos fewer"] | None:
    """Return what the layer behind a block's attention makes of values, but for a rotation.

    It is what tracing finds in a network of any code: lengths and angles are those of the values
    after the convolution that follows the attention, without its bias, which goes to every query
    alike. Neither a normalization nor a gain behind that convolution has a part in them. Where
    nothing but those follows, they are the values themselves; None where something else does.

    All terms of a block weight the same values, so that the layer may as well be applied to what
    they were added up to.

    Args:
        block: The block.
        vectors: Values, or sums of values weighted by rows, on the processor and in single
            precision at least.
    """
    layer = block.out[0] if isinstance(block.out, nn.Sequential) else block.out
    if isinstance(layer, nn.Identity):
        return vectors
    if not isinstance(layer, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return None
    if layer.weight.shape[2:].numel() != 1 or layer.groups != 1:  # it mixes values of several keys
        return None
    squares = squares_of(block.out)
    squares.begin()
    with torch.no_grad(), torch.autocast("cpu", enabled=False):
        matrix = layer.weight.detach().cpu().flatten(1).T
        way_out: Tensor = vectors @ squares.of(matrix[None])[0].to(vectors)
    return way_out
