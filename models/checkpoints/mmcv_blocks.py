"""Attention blocks as OpenMMLab's libraries name them.

The non-local blocks of mmcv, with or without a mask of their own (mmsegmentation's disentangled
one), and the context block of GCNet. They stand in mmsegmentation's heads, mmaction2's backbones
(`non_local_block`), mmdetection's backbones (`context_block`) and Libra R-CNN's neck (`refine`).
"""

from collections.abc import Collection

from torch import Tensor

from nonlocal_lens.models.checkpoints.block_layout import (
    BlockLayout,
    BlockPlan,
    build,
    possible_form,
)
from nonlocal_lens.models.checkpoints.layout import Rules, assumed, sides

NON_LOCAL: Rules = (
    (r"theta\.conv\.", "query."),
    (r"phi\.(?:0\.)?conv\.", "key."),
    (r"g\.(?:0\.)?conv\.", "value."),
    (r"conv_out\.conv\.", "out.0."),
    (r"conv_out\.bn\.", "out.1."),
    (r"conv_mask\.", "mask."),
    (r"concat_project\.conv\.", "compare."),
)
GLOBAL_CONTEXT: Rules = ((r"conv_mask\.", "mask."), (r"channel_add_conv\.", "out."))
PUBLISHED_TEMPERATURE = 0.05


def plan_non_local(
    tensors: dict[str, Tensor],
    *,
    form: str | None = None,
    temperature: float | None = None,
    use_scale: bool | None = None,
) -> BlockPlan:
    """Return the block that the tensors are for.

    Args:
        tensors: By their names in the block.
        form: "dot_product" for a block of that mode, which has the tensors of an embedded Gaussian.
        temperature: Of a disentangled block's pairwise term, 0.05 if not given.
        use_scale: Whether logits are divided by the root of the number of channels, as
            mmsegmentation's are and those of mmaction2's I3D and of Libra R-CNN are not; True if
            not given.

    Raises:
        ValueError: Tensors that tell a size are missing or malformed, or an option is impossible.
    """
    subsample = "g.0.conv.weight" in tensors
    value = "g.0.conv.weight" if subsample else "g.conv.weight"
    dimension = tensors[value].ndim - 2 if value in tensors else 2
    inner, channels = sides(tensors, value, 2 + dimension)[:2]
    learned = "conv_mask.weight" in tensors
    if temperature is not None and not learned:
        raise ValueError("temperature belongs to disentangled blocks; the file has no conv_mask")
    if learned:
        possible: Collection[str] = ("disentangled",)
    elif "concat_project.conv.weight" in tensors:
        possible = ("concatenation",)
    elif "theta.conv.weight" not in tensors:
        possible = ("gaussian",)
    else:
        possible = ("non_local", "dot_product")
    decisions: list[str] = []
    more = {}
    if form is None and len(possible) > 1:
        decisions.append(assumed("embedded Gaussian, as in every head", "form='dot_product'"))
    form = possible_form(form, possible)
    if form == "disentangled":
        given = PUBLISHED_TEMPERATURE if temperature is None else temperature
        more["temperature"] = given * inner**-0.5 if use_scale is False else given
        if temperature is None:
            said = f"temperature {PUBLISHED_TEMPERATURE}, as in every released network"
            decisions.append(assumed(said, "temperature="))
        if use_scale is None:
            said = f"the pairwise term with scale 1 / sqrt({inner}), as in every released head"
            decisions.append(assumed(said, "use_scale=False"))
    elif form == "non_local":
        more["scale"] = 1.0 if use_scale is False else inner**-0.5
        if use_scale is None:
            said = f"logits with scale 1 / sqrt({inner}), as in every released head"
            decisions.append(assumed(said, "use_scale=False"))
    block = build(
        form,
        out_bias="conv_out.conv.bias" in tensors,
        channels=channels,
        inner_channels=inner,
        dimension=dimension,
        subsample=subsample,
        batch_norm="conv_out.bn.weight" in tensors,
        **more,
    )
    return BlockPlan(block, NON_LOCAL, tuple(decisions))


def plan_global_context(tensors: dict[str, Tensor]) -> BlockPlan:
    """Return the block that the tensors are for; those that scale their input are not built.

    Raises:
        ValueError: A tensor that tells a size is missing or malformed.
    """
    bottleneck, channels = sides(tensors, "channel_add_conv.0.weight", 4)[:2]
    return BlockPlan(
        build("global_context", channels=channels, ratio=bottleneck / channels), GLOBAL_CONTEXT
    )


def _non_local(names: Collection[str]) -> bool:
    return {"g", "conv_out"} <= set(names)


def _global_context(names: Collection[str]) -> bool:
    return {"conv_mask", "channel_add_conv"} <= set(names)


LAYOUTS = (
    BlockLayout("mmcv's NonLocal", _non_local, plan_non_local),
    BlockLayout("mmcv's ContextBlock", _global_context, plan_global_context),
)
