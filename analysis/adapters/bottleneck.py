"""Attention inside convolutional networks of timm: bottleneck attention, and what only looks alike.

Bottleneck attention (Srinivas et al., CVPR 2021, arXiv 2101.11605) adds logits for the relative
position of a key: one for the rows between query and key, one for the columns. A record holds them
as channels: each query brings its logit for every row and every column, and each key has a 1 for
its own row and its own column.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional as F

from analysis.adapters.adapter import Call, Heads, UnreadableBlockError, has, register


@register(lambda module: has(module, "qkv", "pos_embed", "dim_head_qk", "scale_pos_embed"))
def bottleneck_attention(module: nn.Module, call: Call) -> Heads:
    """Read timm's `BottleneckAttn`, with its logits for positions, per head."""
    x = call.x[:1]
    height, width = x.shape[2:]
    heads, channels = (int(getattr(module, name)) for name in ("num_heads", "dim_head_qk"))
    scale = float(getattr(module, "scale"))  # noqa: B009, a module's attributes have no type
    packed = module.get_submodule("qkv")(x)[0, : 2 * heads * channels].flatten(1)
    query, key = packed.unflatten(0, (2, heads, channels)).transpose(2, 3)
    rows, columns = _along_sides(module.get_submodule("pos_embed")(query), height, width)
    if not getattr(module, "scale_pos_embed"):  # noqa: B009
        rows, columns = rows / scale, columns / scale
    place = one_hot_places(height, width).to(key).expand(heads, -1, -1)
    return Heads(
        query=torch.cat((query, rows, columns), dim=2),
        key=torch.cat((key, place), dim=2),
        scale=scale,
        query_shape=(height, width),
        key_shape=(height, width),
    )


def one_hot_places(height: int, width: int) -> Int[Tensor, "pos rows_and_columns"]:
    """Return channels that are 1 for the row and for the column of a place, 0 for others."""
    row, column = torch.cartesian_prod(torch.arange(height), torch.arange(width)).T
    return torch.cat((F.one_hot(row, height), F.one_hot(column, width)), dim=1)


def _along_sides(
    logits: Float[Tensor, "head query_pos key_pos"], height: int, width: int
) -> tuple[Float[Tensor, "head query_pos rows"], Float[Tensor, "head query_pos columns"]]:
    """Part logits that are a sum of one for the key's row and one for its column."""
    table = logits.unflatten(2, (height, width))
    rows = table.mean(dim=3)
    return rows, table.mean(dim=2) - rows.mean(dim=2, keepdim=True)


@register(lambda module: has(module, "conv_p", "conv_q", "block_size"))
def bilinear_attention(module: nn.Module, call: Call) -> Heads:
    """Say why the transform inside timm's `BatNonLocalAttn` gives no record.

    Raises:
        UnreadableBlockError: Always.
    """
    raise UnreadableBlockError(
        "its maps are predicted by convolutions, one for rows and one for columns: there are no "
        "queries and keys"
    )
