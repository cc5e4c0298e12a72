"""The disentangled block in its authors' own code (yinmh17/DNL-Semantic-Segmentation).

Its attributes say which whitening and which temperature it has. It is built again as the block of
this package that its tensors are for, which must give the module's own output.
"""

from pathlib import Path

import torch
from torch import nn

from analysis.adapters.adapter import Call, Heads, UnreadableBlockError, has, register
from analysis.adapters.non_local import ROUNDING, TOLERANCE
from models.blocks.released_disentangled import ReleasedDisentangledBlock

WITHOUT_DECAY = ("in", "in_nostd", "ln", "ln_nostd", "fln", "fln_nostd")
OTHERS = ("channel", "spatial", "ln_nostd")
"""What `whiten_type` the code looks at: in the block without weight decay, and in the other one. It
leaves unknown ones out without a word, and so do configurations of its own."""


@register(lambda module: has(module, "conv_query", "conv_key", "conv_value", "gamma"))
def released_disentangled(module: nn.Module, call: Call) -> Heads:
    """Read a block, proved by its own output.

    Raises:
        UnreadableBlockError: The block computes something else.
    """
    x = call.x
    block = _rebuilt(module).to(x)
    output = call.output[0] if isinstance(call.output, tuple) else call.output
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
        coupling=block.coupling,
        pairwise_gain=block.pairwise_gain,
        whitened=block.whitened,
    )


def _rebuilt(module: nn.Module) -> ReleasedDisentangledBlock:
    # here, because with one layout of checkpoints come all, and torchvision with them
    from models.checkpoints import disentangled
    from models.checkpoints.layout import fill

    without_decay = getattr(module, "nowd", None)
    known = OTHERS if without_decay is None else WITHOUT_DECAY
    given = getattr(module, "whiten_type", ())
    names = [given] if isinstance(given, str) else list(given)
    tensors = dict(module.state_dict())
    batched = any(name.startswith(("query_bn.", "query_bn_affine.")) for name in tensors)
    whiten = next((name for name in known if name in names), "none")
    try:
        with torch.device("meta"):
            plan = disentangled.plan(
                tensors,
                whiten=None if batched else whiten,
                temperature=float(getattr(module, "temperature", 1.0)),
                use_scale="nl" not in (without_decay or ()),
                subsample=getattr(module, "downsample", None) is not None,
                with_unary=bool(getattr(module, "with_unary", False)),
            )
        fill(Path(type(module).__name__), plan.block, tensors, plan.rules)
    except ValueError as error:
        raise UnreadableBlockError(str(error)) from error
    assert isinstance(plan.block, ReleasedDisentangledBlock)  # all that the layout plans
    return plan.block.eval()
