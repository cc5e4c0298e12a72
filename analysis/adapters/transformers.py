"""Multi-head self-attention of vision transformers: torch, torchvision, timm, Hugging Face.

Recognized by attributes; none of these libraries is imported but torch. Positions are tokens. What
a record holds are the patches among them: softmax over the record's keys is the module's attention
among patches, divided by what of it falls on patches (the rest falls on the class token and
registers, which are nowhere on the image).

Attributes cannot tell of a causal mask or a bias that only `forward` knows. So what a module's own
layers would give is compared with what it gave.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from analysis.adapters.adapter import (
    Call,
    Heads,
    UnreadableBlockError,
    has,
    proved_by,
    register,
    split_heads,
)

UNSUPPORTED = (
    "relative_position_bias_table",
    "relative_position_bias",
    "rel_pos",
    "rel_pos_bias",
    "logit_scale",
    "attention_biases",
    "pos_embed",
)
"""Attributes of modules that add to logits, or change them, in a way unknown here.

Biases inside windows are read by `analysis.adapters.windows`, from the module that makes these.
"""


def self_attention(module: nn.Module, call: Call) -> Tensor:
    """Return the tokens (pos, width) of the one image that a module attends to itself in."""
    added = [name for name in UNSUPPORTED if has(module, name)]
    if added:
        raise UnreadableBlockError(f"its {added[0]} takes part in the logits")
    if call.more_tensors:
        raise UnreadableBlockError("it was called with more than its tokens: a mask or positions")
    if call.x.ndim != 3:
        raise UnreadableBlockError(
            f"its input has {call.x.ndim} sides, not (batch, tokens, channels)"
        )
    call.refuse_windows()
    return call.x[0]


def proved(
    module: nn.Module,
    heads: Heads,
    value: Float[Tensor, "head pos channels"],
    after: Sequence[str],
    call: Call,
) -> Heads:
    """Return what was read if it leads, by the layers of some names, to the module's own output."""
    layers = nn.Sequential(*(module.get_submodule(name) for name in after if has(module, name)))
    return proved_by(heads, value, lambda attended, _: layers(attended), call.own[0])


@register(lambda module: isinstance(module, nn.MultiheadAttention))
def multihead_attention(module: nn.Module, call: Call) -> Heads:
    """Read `nn.MultiheadAttention`, whichever path its forward takes (torchvision's ViT)."""
    assert isinstance(module, nn.MultiheadAttention)  # or it would not have been recognized
    names = ("query", "key", "value", "key_padding_mask", "need_weights", "attn_mask")
    given = dict(zip(names, call.args, strict=False)) | call.kwargs
    if given.get("attn_mask") is not None or given.get("key_padding_mask") is not None:
        raise UnreadableBlockError("it was called with a mask")
    if module.bias_k is not None or module.add_zero_attn:
        raise UnreadableBlockError("it adds keys that are nowhere on the image")
    batch = 0 if module.batch_first or given["query"].ndim == 2 else 1
    query, key = (
        given[name] if given[name].ndim == 2 else given[name].select(batch, 0)
        for name in ("query", "key")
    )
    weights = (
        module.in_proj_weight.chunk(3)[:2]
        if module.in_proj_weight is not None
        else (module.q_proj_weight, module.k_proj_weight)
    )
    biases = (None, None) if module.in_proj_bias is None else module.in_proj_bias.chunk(3)[:2]
    query, key = (
        split_heads(F.linear(x, weight, bias), module.num_heads)
        for x, weight, bias in zip((query, key), weights, biases, strict=True)
    )
    return Heads(query, key, scale=query.shape[2] ** -0.5)


@register(
    lambda module: has(module, "qkv", "num_heads", "scale") and not has(module, "dim_head_qk")
)
def timm_attention(module: nn.Module, call: Call) -> Heads:
    """Read timm's `Attention`, fused or not: one layer for all three, perhaps normalized heads."""
    packed = module.get_submodule("qkv")(self_attention(module, call))
    if packed.shape[1] % 3:
        raise UnreadableBlockError("its queries, keys and values are not equally wide")
    heads = int(getattr(module, "num_heads"))  # noqa: B009, a module's attributes have no type
    query, key, value = (split_heads(part, heads) for part in packed.chunk(3, dim=1))
    if has(module, "q_norm", "k_norm"):
        query = module.get_submodule("q_norm")(query.unsqueeze(0))[0]
        key = module.get_submodule("k_norm")(key.unsqueeze(0))[0]
    read = Heads(query, key, scale=float(getattr(module, "scale")))  # noqa: B009
    return proved(module, read, value, ("norm", "proj"), call)


HEADS = ("num_attention_heads", "num_heads")
TRIPLES = (("q_proj", "k_proj", "v_proj"), ("query", "key", "value"))


def _is_hugging_face(module: nn.Module) -> bool:
    return any(has(module, name) for name in HEADS) and any(
        has(module, *names) for names in TRIPLES
    )


@register(_is_hugging_face)
def hugging_face_attention(module: nn.Module, call: Call) -> Heads:
    """Read the attention of Hugging Face's ViT, DeiT, DINO, CLIP and SigLIP, of version 4 and 5."""
    tokens = self_attention(module, call)
    names = next(names for names in TRIPLES if has(module, *names))
    heads = int(getattr(module, next(name for name in HEADS if has(module, name))))
    query, key, value = (module.get_submodule(name)(tokens) for name in names)
    if query.shape != key.shape or query.shape != value.shape:
        raise UnreadableBlockError("its heads share keys, or are of several widths")
    query, key, value = (split_heads(part, heads) for part in (query, key, value))
    positions = call.kwargs.get("position_embeddings")
    if positions is not None:
        if any(angles.ndim != 2 or angles.shape[1] != query.shape[2] for angles in positions):
            raise UnreadableBlockError("its positions turn queries and keys in an unknown way")
        query, key = (_rotated(side, *positions) for side in (query, key))
    scale = getattr(module, "scaling", None) or getattr(module, "scale", None)
    read = Heads(query, key, scale=float(scale or query.shape[2] ** -0.5))
    return proved(module, read, value, ("o_proj", "out_proj"), call)


def _rotated(
    x: Float[Tensor, "head pos channels"],
    cosine: Float[Tensor, "patches channels"],
    sine: Float[Tensor, "patches channels"],
) -> Float[Tensor, "head pos channels"]:
    """Turn the channels of each patch by angles of its place, as DINOv3 does; patches come last."""
    others = x.shape[1] - sine.shape[-2]
    first, second = x[:, others:].chunk(2, dim=2)
    turned = x[:, others:] * cosine + torch.cat((-second, first), dim=2) * sine
    return torch.cat((x[:, :others], turned), dim=1)
