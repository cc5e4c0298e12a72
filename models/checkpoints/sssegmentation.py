"""sssegmentation's `NonLocalNet`, `DNLNet` and `GCNet`: mmsegmentation's networks by other names.

The same backbone, the same head around the same blocks; every name is first turned into the one
that mmsegmentation has for it.
"""

import re
from collections.abc import Sequence
from functools import wraps
from typing import Any

from torch import Tensor

from nonlocal_lens.models.checkpoints import mmsegmentation
from nonlocal_lens.models.checkpoints.layout import Layout, Plan, Rules, renamed

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


@wraps(mmsegmentation.plan)  # the options are the same, too
def plan(tensors: dict[str, Tensor], **options: Any) -> Plan:
    """Return the network that the tensors are for; arguments are mmsegmentation's."""
    there = {renamed(name, PARTS): tensor for name, tensor in tensors.items()}
    found = mmsegmentation.plan(there, **options)
    rules = [
        (f"{re.escape(name)}$", renamed(renamed(name, PARTS), found.rules)) for name in tensors
    ]
    return found._replace(rules=rules, unused="auxiliary_decoder.")


LAYOUT = Layout("sssegmentation", recognizes, plan)
