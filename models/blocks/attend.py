"""Weighted sums over all positions that never build the query x key matrix, a function per form."""

import torch
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


def attend_alike(
    unary: Float[Tensor, "batch key_pos"], value: Float[Tensor, "batch key_pos value_channels"]
) -> Float[Tensor, "batch 1 value_channels"]:
    """Return softmax(unary) applied to value: one row, which holds for every query."""
    return unary.softmax(dim=1).unsqueeze(1) @ value


def average_by_dot_product(
    query: Float[Tensor, "batch query_pos channels"],
    key: Float[Tensor, "batch key_pos channels"],
    value: Float[Tensor, "batch key_pos value_channels"],
    *,
    scale: float,
) -> Float[Tensor, "batch query_pos value_channels"]:
    """Return the mean over keys of `scale * query . key` times value.

    Without a softmax the product is associative, query (key' value): time and memory are linear in
    the number of positions.
    """
    return scale * query @ (key.transpose(1, 2) @ (value / key.shape[1]))


def average_by_rectified_sum(
    query: Float[Tensor, "batch query_pos 1"],
    key: Float[Tensor, "batch key_pos 1"],
    value: Float[Tensor, "batch key_pos value_channels"],
) -> Float[Tensor, "batch query_pos value_channels"]:
    """Return the mean over keys of ReLU(query + key) times value.

    A query sees exactly the keys above its negative. With the keys in descending order these are a
    prefix, so that two running sums answer every query: time O(n log n), memory O(n). The sums are
    kept in single precision at least, whatever autocast says.
    """
    precise = torch.promote_types(value.dtype, torch.float32)
    query, key, value = query.to(precise), key.to(precise), value.to(precise)
    offset = key.mean(dim=1, keepdim=True)  # what cancels in query + key must not cost digits
    query, key = query + offset, key - offset
    key, order = key.sort(dim=1, descending=True)
    value = value.take_along_dim(order, dim=1) / key.shape[1]
    running = torch.cat((value, key * value), dim=2).cumsum(dim=1)
    running = F.pad(running, (0, 0, 1, 0))  # the sum over no key at all
    ascending, wanted = (x.detach().squeeze(2).contiguous() for x in (-key, query))
    seen = torch.searchsorted(ascending, wanted)
    weight, weighted = running.take_along_dim(seen.unsqueeze(2), dim=1).chunk(2, dim=2)
    return query * weight + weighted
