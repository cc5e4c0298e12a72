"""Multi-head self-attention of vision transformers: torch, torchvision, timm, Hugging Face.

Recognized by attributes; none of these libraries is imported but torch. Positions are tokens. What
a record holds are the patches among them: softmax over the record's keys is the module's attention
among patches, divided by what of it falls on patches (the rest falls on the class token and
registers, which are nowhere on the image).
"""

from torch import Tensor, nn
from torch.nn import functional as F

from analysis.adapters.adapter import Call, Heads, UnreadableBlockError, has, register, split_heads

UNSUPPORTED = (
    "relative_position_bias_table",
    "rel_pos",
    "rel_pos_bias",
    "logit_scale",
    "attention_biases",
    "pos_embed",
)
"""Attributes of modules that add to logits, or change them, in a way that a record cannot hold."""


def _self_attention(module: nn.Module, call: Call) -> Tensor:
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
    return call.x[0]


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
    packed = module.get_submodule("qkv")(_self_attention(module, call))
    query, key, _ = packed.chunk(3, dim=1)
    heads = int(getattr(module, "num_heads"))  # noqa: B009, a module's attributes have no type
    query, key = split_heads(query, heads), split_heads(key, heads)
    if has(module, "q_norm", "k_norm"):
        query = module.get_submodule("q_norm")(query.unsqueeze(0))[0]
        key = module.get_submodule("k_norm")(key.unsqueeze(0))[0]
    return Heads(query, key, scale=float(getattr(module, "scale")))  # noqa: B009


def _is_hugging_face(module: nn.Module) -> bool:
    return has(module, "num_attention_heads") and (
        has(module, "q_proj", "k_proj", "v_proj") or has(module, "query", "key", "value")
    )


@register(_is_hugging_face)
def hugging_face_attention(module: nn.Module, call: Call) -> Heads:
    """Read the attention of Hugging Face's ViT, DeiT and DINOv2, of version 4 and 5."""
    tokens = _self_attention(module, call)
    names = ("q_proj", "k_proj") if has(module, "q_proj") else ("query", "key")
    heads = int(getattr(module, "num_attention_heads"))  # noqa: B009
    query, key = (split_heads(module.get_submodule(name)(tokens), heads) for name in names)
    scale = getattr(module, "scaling", None) or query.shape[2] ** -0.5
    return Heads(query, key, scale=float(scale))
