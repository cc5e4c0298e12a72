"""Blocks as AlexHex7/Non-local_pytorch names them, which many repositories copied (TSM, too)."""

from collections.abc import Collection
from typing import Any

from torch import Tensor

from models.checkpoints.block_layout import BlockLayout, BlockPlan, build, possible_form
from models.checkpoints.layout import Rules, sides

RULES: Rules = (
    (r"theta\.", "query."),
    (r"phi\.(?:0\.)?", "key."),
    (r"g\.(?:0\.)?", "value."),
    (r"W\.([01])\.", r"out.\1."),
    (r"W\.", "out.0."),
    (r"concat_project\.0\.", "compare."),
)


def plan(tensors: dict[str, Tensor], *, form: str | None = None) -> BlockPlan:
    """Return the block that the tensors are for; logits have no scale, as in the paper.

    Args:
        tensors: By their names in the block.
        form: "dot_product" for that file of the repository, whose tensors are those of the embedded
            Gaussian.

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
    decisions = () if form or len(possible) == 1 else ("embedded Gaussian, the usual form",)
    form = possible_form(form, possible)
    unscaled: dict[str, Any] = {"scale": 1.0} if form == "non_local" else {}
    block = build(
        form,
        out_bias="W.0.bias" in tensors,
        channels=channels,
        inner_channels=inner,
        dimension=dimension,
        subsample=subsample,
        batch_norm="W.1.weight" in tensors,
        **unscaled,
    )
    return BlockPlan(block, RULES, decisions)


def recognizes(names: Collection[str]) -> bool:
    """Return whether a module with such children is a block of this layout."""
    return {"g", "W"} <= set(names)


LAYOUT = BlockLayout("AlexHex7/Non-local_pytorch", recognizes, plan)
