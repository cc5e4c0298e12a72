"""Operations of torch's own that hide attention, written as those that they stand for."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F


def multi_head_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim: int,
    num_head: int,
    qkv_weight: Tensor,
    qkv_bias: Tensor,
    proj_weight: Tensor,
    proj_bias: Tensor,
    mask: Tensor | None = None,
    need_weights: bool = True,
    average_attn_weights: bool = True,
    mask_type: int | None = None,
) -> tuple[Tensor, ...]:
    """Return the output of `aten._native_multi_head_attention`, and weights if they are asked for.

    A mask is True at keys that are not to be seen. Its type says whose it is: 0 of every pair of
    tokens, (query, key); 1 of the keys of every image, (batch, key); 2 of both,
    (batch, head, query, key).
    """
    sides = [(query, 0), (key, 1), (value, 2)]
    weights, biases = qkv_weight.chunk(3), qkv_bias.chunk(3)
    q, k, v = (
        F.linear(x, weights[i], biases[i]).unflatten(2, (num_head, -1)).transpose(1, 2)
        for x, i in sides
    )
    logits = (q * (embed_dim // num_head) ** -0.5) @ k.transpose(2, 3)
    if mask is not None:
        if mask_type == 1:
            mask = mask[:, None, None, :]
        logits = logits.masked_fill(mask.bool(), -torch.inf)
    attention = logits.softmax(dim=3)
    output = F.linear((attention @ v).transpose(1, 2).flatten(2), proj_weight, proj_bias)
    if not need_weights:
        return (output,)
    return output, attention.mean(dim=1) if average_attn_weights else attention


def transformer_encoder_layer(
    src: Tensor,
    embed_dim: int,
    num_heads: int,
    qkv_weight: Tensor,
    qkv_bias: Tensor,
    proj_weight: Tensor,
    proj_bias: Tensor,
    use_gelu: bool,
    norm_first: bool,
    eps: float,
    norm_weight_1: Tensor,
    norm_bias_1: Tensor,
    norm_weight_2: Tensor,
    norm_bias_2: Tensor,
    ffn_weight_1: Tensor,
    ffn_bias_1: Tensor,
    ffn_weight_2: Tensor,
    ffn_bias_2: Tensor,
    mask: Tensor | None = None,
    mask_type: int | None = None,
) -> Tensor:
    """Return the output of `aten._transformer_encoder_layer_fwd`."""

    def attended(x: Tensor) -> Tensor:
        (output,) = multi_head_attention(
            x, x, x, embed_dim, num_heads, qkv_weight, qkv_bias, proj_weight, proj_bias,
            mask, need_weights=False, mask_type=mask_type,
        )  # fmt: skip
        return output

    def transformed(x: Tensor) -> Tensor:
        hidden = F.linear(x, ffn_weight_1, ffn_bias_1)
        hidden = F.gelu(hidden) if use_gelu else F.relu(hidden)
        return F.linear(hidden, ffn_weight_2, ffn_bias_2)

    def first(x: Tensor) -> Tensor:
        return F.layer_norm(x, (embed_dim,), norm_weight_1, norm_bias_1, eps)

    def second(x: Tensor) -> Tensor:
        return F.layer_norm(x, (embed_dim,), norm_weight_2, norm_bias_2, eps)

    if norm_first:
        x = src + attended(first(src))
        return x + transformed(second(x))
    x = first(src + attended(src))
    return second(x + transformed(x))


WRITTEN_OUT: dict[str, tuple[int, Callable[..., Any]]] = {
    "_native_multi_head_attention": (5, multi_head_attention),
    "_transformer_encoder_layer_fwd": (3, transformer_encoder_layer),
}
"""Operation -> the operand that tells which module attends, and what the operation stands for."""


def agree(own: Tensor, rebuilt: Tensor) -> bool:
    """Return whether an operation's own output is the one of those that it stands for."""
    if own.shape != rebuilt.shape:
        return False
    tolerance = max(1e-5, 8 * torch.finfo(own.dtype).eps)
    own, rebuilt = own.float(), rebuilt.float()
    return bool((own - rebuilt).norm() <= tolerance * own.norm())
