"""Blocks as AlexHex7/Non-local_pytorch names them, which many repositories copied (TSM, too)."""

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
    (r"theta\.", "query."),
    (r"phi\.(?:0\.)?", "key."),
    (r"g\.(?:0\.)?", "value."),
    (r"W\.([01])\.", r"out.\1."),
    (r"W\.", "out.0."),
    (r"concat_project\.0\.", "compare."),
)


def plan(
    tensors: dict[str, Tensor], *, form: str | None = None, use_scale: bool | None = None
) -> BlockPlan:
    """Return the block that the tensors are for.

    Args:
        tensors: By their names in the block.
        form: "dot_product" for that file of the repository, whose tensors are those of the embedded
            Gaussian.
        use_scale: Whether logits are divided by the root of the number of channels, as some copies
            do; not if not given, as in the repository and in the paper.

    Raises:
        ValueError: Tensors that tell a size are missing or malformed, or the form is impossible.
    """
    subsample = "g.0.weight" in tensors
    value = "g.0.weight" if subsample else "g.weight"
    dimension = tensors[value].ndim - 2 if value in tensors else 2
    inner, channels = sides(tensors, value, 2 + dimension)[:2]
    if "theta.weight" not in tensors:
        possible: Collection[str] = ("gaussian",)
    elif "concat_project.0.weight" in tensors:
        possible = ("concatenation",)
    else:
        possible = ("non_local", "dot_product")
    decisions = []
    if form is None and len(possible) > 1:
        decisions.append(assumed("embedded Gaussian, the usual form", "form='dot_product'"))
    form = possible_form(form, possible)
    if use_scale is not None and form != "non_local":
        raise ValueError(f"use_scale belongs to blocks of the form 'non_local', not {form!r}")
    scaled: dict[str, Any] = {}
    if form == "non_local":
        scaled["scale"] = inner**-0.5 if use_scale else 1.0
        if use_scale is None:
            decisions.append(assumed("logits without a scale, as there", "use_scale=True"))
    if form in ("non_local", "gaussian"):
        decisions.append("softmax over keys: a copy that normalizes over queries is not built")
    block = build(
        form,
        out_bias="W.0.bias" in tensors,
        channels=channels,
        inner_channels=inner,
        dimension=dimension,
        subsample=subsample,
        batch_norm="W.1.weight" in tensors,
        **scaled,
    )
    return BlockPlan(block, RULES, tuple(decisions))


def recognizes(names: Collection[str]) -> bool:
    """Return whether a module with such children is a block of this layout."""
    return {"g", "W"} <= set(names)


LAYOUT = BlockLayout("AlexHex7/Non-local_pytorch", recognizes, plan)
