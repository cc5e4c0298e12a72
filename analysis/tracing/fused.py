"""Attention in one operation: torch's fused kernels, whose weights never exist.

What they compute is fixed, softmax(scale * query . key + mask) @ value. A few rows of it are
computed here from the operation's own operands, and must lead to the operation's own output.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nonlocal_lens.analysis.tracing.labelled import (
    Factor,
    Sides,
    Sum,
    Term,
    UnfollowedError,
    added,
    masked,
    new_sides,
    one,
)

FUSED = {
    "_scaled_dot_product_flash_attention",
    "_scaled_dot_product_flash_attention_for_cpu",
    "_scaled_dot_product_efficient_attention",
    "_scaled_dot_product_cudnn_attention",
    "_scaled_dot_product_fused_attention_overrideable",
    "_scaled_dot_product_attention_math_for_mps",
}


@dataclass(frozen=True, eq=False)
class FusedCall:
    """One call: queries of every head, keys and values of as many heads or of fewer."""

    query: Float[Tensor, "batch heads queries channels"]
    key: Float[Tensor, "batch key_heads keys channels"]
    value: Float[Tensor, "batch key_heads keys value_channels"]
    scale: float
    mask: Tensor | None  # added, or True where a key is seen
    causal: bool


def call(func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> FusedCall:
    """Return the operands of a call by their meaning."""
    names = [argument.name for argument in func._schema.arguments]
    given = {a.name: a.default_value for a in func._schema.arguments if a.has_default_value()}
    given |= dict(zip(names, args, strict=False)) | dict(kwargs)
    mask = given.get("attn_mask", given.get("attn_bias"))
    scale = given.get("scale")
    if given.get("dropout_p"):
        raise UnfollowedError("dropout drops some of its weights")
    query = given["query"]
    return FusedCall(
        query,
        given["key"],
        given["value"],
        query.shape[-1] ** -0.5 if scale is None else float(scale),
        mask,
        bool(given.get("is_causal")),
    )


def sums(call: FusedCall) -> tuple[Sum, Factor, Sides]:
    """Return the logits as a sum of products, the values, and the sides of the output."""
    batch, key_heads, rows, inner = new_sides((*call.key.shape[:2], *call.query.shape[2:]))
    (more,) = new_sides((call.query.shape[1] // call.key.shape[1],))
    columns, outer = new_sides(call.value.shape[2:])
    heads = key_heads + more
    term = Term(
        call.scale,
        (
            Factor(call.query, (batch, heads, rows, inner)),
            Factor(call.key, (batch, key_heads, columns, inner)),
        ),
        is_product=True,
    )
    logits = Sum((batch, heads, rows, columns), (term,))
    if call.mask is not None:
        is_seen = call.mask.dtype == torch.bool
        logits = masked(logits, ~call.mask) if is_seen else added(logits, one(call.mask))
    if call.causal:
        shape = call.query.shape[2], call.key.shape[2]
        seen = torch.ones(shape, dtype=torch.bool, device=call.query.device).tril()
        logits = masked(logits, ~seen)
    return (
        logits,
        Factor(call.value, (batch, key_heads, columns, outer)),
        (batch, heads, rows, outer),
    )


def rows(
    call: FusedCall, probes: Int[Tensor, " probes"], out: Tensor
) -> tuple[Float[Tensor, "groups probes keys"], float]:
    """Return a few rows of weights, and how far what they lead to is from the output.

    The distance is relative to what the values could add up to: their lengths, weighted.
    """
    more = call.query.shape[1] // call.key.shape[1]
    shared = (call.key, call.value)
    key, value = (x if more == 1 else x.repeat_interleave(more, dim=1) for x in shared)
    key, lengths, value = key.double(), value.abs().float(), value.double()
    logits = call.scale * call.query[:, :, probes].double() @ key.mT
    if call.mask is not None:
        mask = call.mask.expand(*call.mask.shape[:-2], call.query.shape[2], key.shape[2])
        mask = mask[..., probes, :]
        if mask.dtype == torch.bool:
            logits = logits.masked_fill(~mask, -torch.inf)
        else:
            logits = logits + mask
    if call.causal:
        position = torch.arange(key.shape[2], device=key.device)
        logits = logits.masked_fill(position > probes[:, None], -torch.inf)
    weights = logits.softmax(dim=-1)
    own = out[:, :, probes].double()
    # which tells how large an error is, and needs no digits
    most = (weights.float() @ lengths).amax(dim=-1, keepdim=True).clamp_min(1e-30)
    error = ((weights @ value - own).abs() / most).max()
    return weights.flatten(0, 1), float(error)
