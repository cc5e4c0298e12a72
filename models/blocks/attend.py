"""Softmax attention over positions that never builds the query x key matrix."""

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F


def attend(
    query: Float[Tensor, "batch query_pos channels"],
    key: Float[Tensor, "batch key_pos channels"],
    value: Float[Tensor, "batch key_pos value_channels"],
    *,
    scale: float,
) -> Float[Tensor, "batch query_pos value_channels"]:
    """Return softmax(scale * query . key) applied to value, row by row.

    The memory is O(query_pos + key_pos). On CPU the kernel keeps that promise only for equal widths
    and contiguous channels, otherwise it silently materializes the matrix. So the narrower side is
    padded with zero channels, which add nothing to a dot product and are cut off from the value.
    """
    width = max(query.shape[-1], value.shape[-1])

    def padded(x: Tensor) -> Tensor:
        return F.pad(x, (0, width - x.shape[-1])).unsqueeze(1).contiguous()

    attended = F.scaled_dot_product_attention(
        padded(query), padded(key), padded(value), scale=scale
    )
    return attended.squeeze(1)[..., : value.shape[-1]]
