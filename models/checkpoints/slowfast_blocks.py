"""Blocks as SlowFast names them, pytorchvideo after it, and Caffe2's files once they are read."""

from collections.abc import Collection

from torch import Tensor

from models.checkpoints.block_layout import BlockLayout, BlockPlan, build, possible_form
from models.checkpoints.layout import Rules, sides

RULES: Rules = (
    (r"conv_theta\.", "query."),
    (r"conv_phi\.", "key."),
    (r"conv_g\.", "value."),
    (r"conv_out\.", "out.0."),
    (r"(?:bn|norm)\.", "out.1."),
)


def plan(
    tensors: dict[str, Tensor], *, form: str | None = None, subsample: bool = True
) -> BlockPlan:
    """Return the block that the tensors are for; it pools before the convolutions.

    Args:
        tensors: By their names in the block.
        form: "dot_product" for that `INSTANTIATION`; "non_local", its softmax, if not given.
        subsample: Whether keys are pooled by 2 in space, as every released configuration does
            (`POOL` of [1, 2, 2]).

    Raises:
        ValueError: Tensors that tell a size are missing or malformed, or the form is impossible.
    """
    inner, channels = sides(tensors, "conv_g.weight", 5)[:2]
    decisions = () if form else ("softmax with scale, keys pooled, as in every released network",)
    block = build(
        possible_form(form, ("non_local", "dot_product")),
        out_bias="conv_out.bias" in tensors,
        channels=channels,
        inner_channels=inner,
        dimension=3,
        subsample=subsample,
        pool_order="before",
        batch_norm="bn.weight" in tensors or "norm.weight" in tensors,
    )
    return BlockPlan(block, RULES, decisions)


def recognizes(names: Collection[str]) -> bool:
    """Return whether a module with such children is a block of this layout."""
    return {"conv_theta", "conv_phi", "conv_g", "conv_out"} <= set(names)


LAYOUT = BlockLayout("SlowFast's Nonlocal", recognizes, plan)
