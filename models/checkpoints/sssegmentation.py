"""sssegmentation's `NonLocalNet`, `DNLNet` and `GCNet`: mmsegmentation's networks by other names.

The same backbone, the same head around the same blocks; every name is first turned into the one
that mmsegmentation has for it.
"""

import re
from collections.abc import Sequence

from torch import Tensor

from models.checkpoints import mmsegmentation
from models.checkpoints.layout import Layout, Plan, Rules, renamed

PARTS: Rules = (
    (r"backbone_net\.", "backbone."),
    (r"conv_before_(?:nl|dnl|cb)\.0\.", "decode_head.convs.0.conv."),
    (r"conv_before_(?:nl|dnl|cb)\.1\.", "decode_head.convs.0.bn."),
    (r"conv_after_(?:nl|dnl|cb)\.0\.", "decode_head.convs.1.conv."),
    (r"conv_after_(?:nl|dnl|cb)\.1\.", "decode_head.convs.1.bn."),
    (r"(nl|dnl)_block\.(theta|phi|g|concat_project)\.0\.", r"decode_head.\1_block.\2.conv."),
    (r"(nl|dnl)_block\.conv_out\.0\.", r"decode_head.\1_block.conv_out.conv."),
    (r"(nl|dnl)_block\.conv_out\.1\.", r"decode_head.\1_block.conv_out.bn."),
    (r"dnl_block\.conv_mask\.", "decode_head.dnl_block.conv_mask."),
    (r"contextblock_net\.", "decode_head.gc_block."),
    (r"decoder\.0\.", "decode_head.conv_cat.conv."),
    (r"decoder\.1\.", "decode_head.conv_cat.bn."),
    (r"decoder\.4\.", "decode_head.conv_seg."),
    (r"auxiliary_decoder\.", mmsegmentation.AUXILIARY),
)
BLOCKS = ("nl_block.", "dnl_block.", "contextblock_net.")


def recognizes(names: Sequence[str]) -> bool:
    """Return whether there are a backbone and an attention block beside it."""
    return all(any(name.startswith(start) for name in names) for start in (BLOCKS, "backbone_net."))


def plan(
    tensors: dict[str, Tensor],
    *,
    classes: Sequence[str] | None = None,
    temperature: float | None = None,
    form: str | None = None,
    use_scale: bool | None = None,
    output_stride: int = 8,
    align_corners: bool = False,
    long_side: int | None = None,
) -> Plan:
    """Return the network that the tensors are for; arguments are mmsegmentation's.

    Args:
        tensors: By the names in the file.
        classes: Names of the classes; those of the data set with as many if not given.
        temperature: Of a disentangled block's pairwise term, 0.05 if not given.
        form: "dot_product" for a head trained with that mode, whose tensors do not tell it.
        use_scale: False for a head whose logits are not divided by the root of their channels.
        output_stride: 16 for the networks named "os16".
        align_corners: Whether scores are enlarged with the outer centers of both grids aligned.
        long_side: Pixels to which the long side of larger images is reduced; 1024 if not given.

    Raises:
        ValueError: Tensors that tell a size are missing or malformed, or an option is impossible.
    """
    there = {renamed(name, PARTS): tensor for name, tensor in tensors.items()}
    found = mmsegmentation.plan(
        there,
        classes=classes,
        temperature=temperature,
        form=form,
        use_scale=use_scale,
        output_stride=output_stride,
        align_corners=align_corners,
        long_side=long_side,
    )
    rules = [
        (f"{re.escape(name)}$", renamed(renamed(name, PARTS), found.rules)) for name in tensors
    ]
    return found._replace(rules=rules, unused="auxiliary_decoder.")


LAYOUT = Layout("sssegmentation", recognizes, plan)
