"""The disentangled block in its authors' own code (yinmh17/DNL-Semantic-Segmentation).

Its attributes say which whitening and which temperature it has. It is built again as the block of
this package that its tensors are for, which must give the module's own output.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from analysis.adapters.adapter import (
    TOLERANCE,
    Call,
    Heads,
    UnreadableBlockError,
    has,
    register,
)
from analysis.adapters.non_local import ROUNDING
from models.blocks import AttentionBlock

if TYPE_CHECKING:  # with one layout of checkpoints come all, and torchvision with them
    from models.checkpoints.block_layout import BlockPlan

WITHOUT_DECAY = ("in", "in_nostd", "ln", "ln_nostd", "fln", "fln_nostd")
OTHERS = ("channel", "spatial", "ln_nostd")
"""What `whiten_type` the code looks at: in the block without weight decay, and in the other one. It
leaves unknown ones out without a word, and so do configurations of its own."""


def _is_released(module: nn.Module) -> bool:
    if has(module, "conv_query", "conv_key"):
        return has(module, "conv_value", "gamma")
    return has(module, "conv_mask", "conv_value")


@register(_is_released)
def released_disentangled(module: nn.Module, call: Call) -> Heads:
    """Read a block, proved by its own output.

    Raises:
        UnreadableBlockError: The block computes something else.
    """
    call.refuse_windows()
    x, output = call.x, call.own
    block = _rebuilt(module).to(x)
    error, added = (block(x) - output)[0].norm(), (output - x)[0].norm()
    if error > TOLERANCE * added + ROUNDING * output[0].norm():
        raise UnreadableBlockError("what its attributes say does not lead to its own output")
    projections = block.project(x)
    return Heads(
        query=projections.query[:1],
        key=projections.key[:1],
        scale=block.scale,
        query_shape=projections.query_shape,
        key_shape=projections.key_shape,
        unary=None if projections.unary is None else projections.unary[0],
        form=block.form,
        coupling=block.coupling,
        pairwise_gain=block.pairwise_gain,
        whitened=block.whitened,
    )


def _rebuilt(module: nn.Module) -> AttentionBlock:
    from models.checkpoints.layout import fill

    tensors = dict(module.state_dict())
    try:
        with torch.device("meta"):
            plan = _plan(module, tensors)
        fill(Path(type(module).__name__), plan.block, tensors, plan.rules, plan.unused)
    except ValueError as error:
        raise UnreadableBlockError(str(error)) from error
    return plan.block.eval()


def _plan(module: nn.Module, tensors: dict[str, Tensor]) -> "BlockPlan":
    from models.checkpoints import disentangled

    pooled = getattr(module, "downsample", None) is not None
    if not has(module, "conv_query"):
        return disentangled.plan_unary(tensors, subsample=pooled)
    without_decay = getattr(module, "nowd", None)
    known = OTHERS if without_decay is None else WITHOUT_DECAY
    given = getattr(module, "whiten_type", ())
    names = [given] if isinstance(given, str) else list(given)
    batched = any(name.startswith(("query_bn.", "query_bn_affine.")) for name in tensors)
    whiten = next((name for name in known if name in names), "none")
    return disentangled.plan(
        tensors,
        whiten=None if batched else whiten,
        temperature=float(getattr(module, "temperature", 1.0)),
        use_scale="nl" not in (without_decay or ()),
        subsample=pooled,
        with_unary=bool(getattr(module, "with_unary", False)),
    )
