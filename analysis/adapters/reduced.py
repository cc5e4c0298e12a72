"""Self-attention to fewer keys than queries, per head: SegFormer, PVT, Twins.

A convolution makes one key of every square of patches (Wang et al., "Pyramid Vision Transformer",
ICCV 2021, arXiv 2102.12122; Xie et al., "SegFormer", NeurIPS 2021, arXiv 2105.15203). Such blocks
are told the rows and columns of their patches, which need not be inferred then. Read are those of
Hugging Face, timm, mmsegmentation and their first authors.
"""

from dataclasses import replace
from math import prod
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from analysis.adapters.adapter import (
    MAX_PREFIX_TOKENS,
    TOLERANCE,
    Call,
    Heads,
    UnreadableBlockError,
    has,
    register,
    split_heads,
)
from analysis.adapters.non_local import ROUNDING

# it reads layers of the same names and is registered first: the last registered is asked first
from analysis.adapters.transformers import HEADS, multihead_attention, proved, self_attention

LAYERS = (("q_proj", "k_proj", "v_proj"), ("query", "key", "value"), ("q", "kv"))
RATIOS = (
    "sr_ratio",
    "sequence_reduction_ratio",
    "sequences_reduction_ratio",
    "spatial_reduction_ratio",
)
CONVOLUTIONS = ("sr", "sequence_reduction", "spatial_reduction")
"""Attributes of blocks that may reduce their keys; where a ratio is 1 or there is no convolution
they do not."""


def _is_reduced(module: nn.Module) -> bool:
    return (
        any(has(module, *names) for names in LAYERS)
        and any(has(module, name) for name in HEADS)
        and any(hasattr(module, name) for name in (*RATIOS, *CONVOLUTIONS))
    )


@register(_is_reduced)
def reduced_attention(module: nn.Module, call: Call) -> Heads:
    """Read a block, per head, proved by its own output.

    Raises:
        UnreadableBlockError: It was not told its grid, or computes something else.
    """
    tokens = self_attention(module, call)
    shape = _told_grid(call, len(tokens))
    pooled, key_shape, keys_at = _reduced(module, tokens, shape)
    to_query, *to_others = next(names for names in LAYERS if has(module, *names))
    heads = int(getattr(module, next(name for name in HEADS if has(module, name))))
    query = module.get_submodule(to_query)(tokens)
    key, value = torch.cat([module.get_submodule(name)(pooled) for name in to_others], dim=1).chunk(
        2, dim=1
    )
    if query.shape[1] != key.shape[1]:
        raise UnreadableBlockError("its heads share keys, or are of several widths")
    query, key, value = (split_heads(part, heads) for part in (query, key, value))
    scale = getattr(module, "scaling", None) or getattr(module, "scale", None)
    scale = float(scale or query.shape[2] ** -0.5)
    read = Heads(query, key, scale, shape, key_shape, keys_at=keys_at)
    return proved(module, read, value, ("o_proj", "proj"), call)


@register(
    lambda module: (
        isinstance(getattr(module, "attn", None), nn.MultiheadAttention)
        and hasattr(module, "sr_ratio")
    )
)
def reduced_multihead_attention(module: nn.Module, call: Call) -> Heads:
    """Read mmsegmentation's block around torch's attention, which adds its input, or another.

    Raises:
        UnreadableBlockError: It was not told its grid, or computes something else.
    """
    call.refuse_windows()
    attention, tokens = module.get_submodule("attn"), call.x[0]
    shape = _told_grid(call, len(tokens))
    keys, key_shape, keys_at = _reduced(module, tokens, shape)
    given = dict(zip(("x", "hw_shape", "identity"), call.args, strict=False)) | call.kwargs
    identity = given.get("identity")
    output = attention(tokens, keys, keys, need_weights=False)[0]
    own = call.own[0] - (tokens if identity is None else identity[0])
    if not (own - output).norm() <= TOLERANCE * output.norm() + ROUNDING * call.own[0].norm():
        raise UnreadableBlockError("what its attributes say does not lead to its own output")
    read = multihead_attention(attention, Call((tokens, keys), {}, output))
    return replace(read, query_shape=shape, key_shape=key_shape, keys_at=keys_at)


def _told_grid(call: Call, tokens: int) -> tuple[int, int]:
    """Return the first two whole numbers of a call, rows and columns of all but a few tokens."""
    given = (*call.args, *(call.kwargs.get(name) for name in ("height", "width", "hw_shape")))
    flat = (each for one in given for each in (one if isinstance(one, tuple | list) else [one]))
    sides = [each for each in flat if isinstance(each, int)][:2]
    if len(sides) < 2 or not 0 <= tokens - prod(sides) <= MAX_PREFIX_TOKENS:
        raise UnreadableBlockError(
            f"it was not told of how many rows and columns its {tokens} tokens are"
        )
    return sides[0], sides[1]


class Reduced(NamedTuple):
    """What keys and values are made of, and where it lies; see `Heads`."""

    tokens: Float[Tensor, "key_pos width"]
    shape: tuple[int, ...]
    keys_at: tuple[float, float] | None


def _reduced(
    module: nn.Module, tokens: Float[Tensor, "pos width"], shape: tuple[int, int]
) -> Reduced:
    holder = getattr(module, "sequence_reduction", None)
    if holder is None or isinstance(holder, nn.Conv2d):
        holder = module
    convolution = next((getattr(holder, name) for name in CONVOLUTIONS if has(holder, name)), None)
    pooled = has(holder, "pool")
    unused = not pooled and any(getattr(module, ratio, 0) == 1 for ratio in RATIOS)
    if convolution is None or unused:
        return Reduced(tokens, shape, None)
    layer = holder.get_submodule
    patches = tokens.T.unflatten(1, shape)[None]
    keys = convolution(layer("pool")(patches) if pooled else patches)[0]
    key_shape = tuple(keys.shape[1:])
    if pooled and any(side % count for side, count in zip(shape, key_shape, strict=True)):
        raise UnreadableBlockError(
            f"its {shape[0]} x {shape[1]} patches are pooled to {key_shape[0]} x {key_shape[1]} "
            "keys, which are not equally large"
        )
    step, window, padding = (
        side[0] for side in (convolution.stride, convolution.kernel_size, convolution.padding)
    )
    norm = next(name for name in ("layer_norm", "norm") if has(holder, name))
    keys = layer(norm)(keys.flatten(1).T)
    if has(holder, "act"):
        keys = layer("act")(keys)
    return Reduced(keys, key_shape, None if pooled else (step, (window - 1) / 2 - padding))
