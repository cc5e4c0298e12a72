"""Blocks as the authors of the disentangled block name them: yinmh17/DNL-Semantic-Segmentation.

Their gain `gamma` multiplies the pairwise term alone, and their values are as wide as the input,
with no convolution after them. What whitening there is, and at which temperature, no tensor tells.
"""

from collections.abc import Collection
from typing import Any, Literal

from torch import Tensor, nn

from models.blocks import NonLocalBlock, PairwiseNonLocalBlock
from models.blocks.self_attention_gan import Gain
from models.checkpoints.block_layout import BlockLayout, BlockPlan
from models.checkpoints.layout import Rules, sides

RULES: Rules = (
    (r"conv_query\.", "query."),
    (r"conv_key\.", "key."),
    (r"conv_value\.", "value."),
    (r"gamma$", "out.0.gain"),
)


def plan(
    tensors: dict[str, Tensor],
    *,
    whiten: Literal["none", "channel"] = "none",
    temperature: float = 1.0,
) -> BlockPlan:
    """Return the block that the tensors are for, of those without a unary term of its own.

    Args:
        tensors: By their names in the block.
        whiten: "channel" is the paper's whitening (`in_nostd` in the block without weight decay).
        temperature: Divides logits, beside the root of the number of channels; their
            configurations have 1.0, 0.1, 0.06 and 0.05.

    Raises:
        ValueError: Tensors that tell a size are missing or malformed, an option is unknown, or the
            block has parts that are not built.
    """
    inner, channels = sides(tensors, "conv_query.weight", 4)[:2]
    if "conv_mask.weight" in tensors:
        raise ValueError(
            "its gain gamma weighs the pairwise term against the unary one (conv_mask); a record "
            "has no place for such a weight, so that only blocks without a mask can be loaded"
        )
    if "conv_out.weight" in tensors:
        raise ValueError("blocks with conv_out (use_out) are not built")
    if whiten not in ("none", "channel"):
        raise ValueError(f"whiten must be 'none' or 'channel', got {whiten!r}")
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    sizes: dict[str, Any] = {"inner_channels": inner, "batch_norm": False}
    if whiten == "channel":
        block: NonLocalBlock | PairwiseNonLocalBlock = PairwiseNonLocalBlock(
            channels, temperature=temperature, **sizes
        )
    else:
        block = NonLocalBlock(channels, scale=inner**-0.5 / temperature, **sizes)
    block.value = nn.Conv2d(channels, channels, 1, bias="conv_value.bias" in tensors)
    block.out = nn.Sequential(Gain())
    return BlockPlan(block, RULES, (f"whitening {whiten}, temperature {temperature}",))


def recognizes(names: Collection[str]) -> bool:
    """Return whether a module with such children is a block of this layout."""
    return {"conv_query", "conv_key", "conv_value", "gamma"} <= set(names)


LAYOUT = BlockLayout("DNL-Semantic-Segmentation", recognizes, plan)
