"""Blocks as SlowFast names them, pytorchvideo after it, and Caffe2's files once they are read."""

from collections.abc import Collection
from typing import Any

from torch import Tensor

from nonlocal_lens.models.checkpoints.block_layout import (
    BlockLayout,
    BlockPlan,
    build,
    possible_form,
)
from nonlocal_lens.models.checkpoints.layout import Rules, assumed, sides

RULES: Rules = (
    (r"conv_theta\.", "query."),
    (r"conv_phi\.", "key."),
    (r"conv_g\.", "value."),
    (r"conv_out\.", "out.0."),
    (r"(?:bn|norm)\.", "out.1."),
)


def plan(
    tensors: dict[str, Tensor],
    *,
    form: str | None = None,
    use_scale: bool | None = None,
    subsample: bool | None = None,
) -> BlockPlan:
    """Return the block that the tensors are for; it pools before the convolutions.

    Args:
        tensors: By their names in the block.
        form: "dot_product" for that `INSTANTIATION`; "non_local", its softmax, if not given.
        use_scale: Whether logits before a softmax are divided by the root of the number of
            channels, as SlowFast's code does; True if not given.
        subsample: Whether keys are pooled by 2 in space, as every released configuration does
            (`POOL` of [1, 2, 2]); True if not given.

    Raises:
        ValueError: Tensors that tell a size are missing or malformed, or the form is impossible.
    """
    inner, channels = sides(tensors, "conv_g.weight", 5)[:2]
    decisions = []
    if form is None:
        said = "softmax of dot products, as in every released network"
        decisions.append(assumed(said, "form='dot_product'"))
    form = possible_form(form, ("non_local", "dot_product"))
    more: dict[str, Any] = {}
    if form == "non_local":
        more["scale"] = 1.0 if use_scale is False else inner**-0.5
        if use_scale is None:
            said = f"logits with scale 1 / sqrt({inner}), as in its code"
            decisions.append(assumed(said, "use_scale=False"))
    elif use_scale is not None:
        raise ValueError(f"use_scale belongs to blocks of the form 'non_local', not {form!r}")
    if subsample is None:
        said = "keys pooled by 2 in space, as in every released network"
        decisions.append(assumed(said, "subsample=False"))
    block = build(
        form,
        out_bias="conv_out.bias" in tensors,
        channels=channels,
        inner_channels=inner,
        dimension=3,
        subsample=subsample is not False,
        pool_order="before",
        batch_norm="bn.weight" in tensors or "norm.weight" in tensors,
        **more,
    )
    return BlockPlan(block, RULES, tuple(decisions))


def recognizes(names: Collection[str]) -> bool:
    """Return whether a module with such children is a block of this layout."""
    return {"conv_theta", "conv_phi", "conv_g", "conv_out"} <= set(names)


LAYOUT = BlockLayout("SlowFast's Nonlocal", recognizes, plan)
