"""Blocks as the authors of the disentangled block name them: yinmh17/DNL-Semantic-Segmentation.

Both `_NonLocalNd_bn` and `_NonLocalNd_nowd`, and the detection code's, which has the same names.
What whitening there is, and at which temperature, no tensor tells. Blocks with the unary term alone
are `_Unary`, and `_NonLocalNd_nowd` told to go without queries and keys (`with_nl`).
"""

from collections.abc import Collection

from torch import Tensor

from nonlocal_lens.models.blocks.released_disentangled import (
    ReleasedDisentangledBlock,
    ReleasedUnaryBlock,
    Whitening,
)
from nonlocal_lens.models.checkpoints.block_layout import BlockLayout, BlockPlan
from nonlocal_lens.models.checkpoints.layout import Rules, assumed, sides

RULES: Rules = (
    (r"conv_query\.", "query."),
    (r"conv_key\.", "key."),
    (r"conv_value\.", "value."),
    (r"conv_mask\.", "mask."),
    (r"conv_out\.", "out.0."),
    (r"out_bn\.", "out.1."),
    (r"gamma$", "gain"),
    (r"query_bn(?:_affine)?\.", "normalize_query."),
    (r"key_bn(?:_affine)?\.", "normalize_key."),
)

WHITENINGS: dict[str, Whitening] = {
    "none": "none",
    "channel": "channel",
    "in_nostd": "channel",
    "in": "channel_std",
    "spatial": "spatial",
    "ln_nostd": "layer",
    "fln_nostd": "layer",
    "ln": "layer_std",
    "fln": "layer_std",
}
"""Their `whiten_type` -> what it does to a single image."""


def plan(
    tensors: dict[str, Tensor],
    *,
    whiten: str | None = None,
    temperature: float | None = None,
    use_scale: bool | None = None,
    subsample: bool | None = None,
    with_unary: bool | None = None,
) -> BlockPlan:
    """Return the block that the tensors are for.

    Args:
        tensors: By their names in the block.
        whiten: Their `whiten_type`, such as "channel" (the paper's) or "ln_nostd"; if not given,
            "channel" with a mask (`with_gc`) and "none" without. Batch normalization ("bn") is told
            by its tensors.
        temperature: Divides logits, beside the root of the number of channels; their
            configurations have 1.0 (if not given), 0.1, 0.06 and 0.05.
        use_scale: Whether logits are divided at all, as they are if not given; False for the block
            without weight decay (`nowd`), which has no temperature either.
        subsample: Whether the input of keys and values is pooled (`downsample`); not if not given.
        with_unary: Whether there is a unary term of the mean query and the same keys; not if not
            given.

    Raises:
        ValueError: Tensors that tell a size are missing or malformed, or an option is impossible.
    """
    weight = tensors.get("conv_query.weight")
    dimension = weight.ndim - 2 if weight is not None else 2
    inner, channels = sides(tensors, "conv_query.weight", 2 + dimension)[:2]
    masked, normalized = "conv_mask.weight" in tensors, "query_bn.running_mean" in tensors
    affine = "query_bn_affine.weight" in tensors
    if masked and with_unary:
        raise ValueError("with_unary belongs to blocks without a mask; the file has a conv_mask")
    if (normalized or affine) and whiten is not None:
        raise ValueError(f"the tensors say that whitening is by batches, so not {whiten!r}")
    chosen = whiten or ("channel" if masked or with_unary else "none")
    if chosen not in WHITENINGS:
        raise ValueError(f"whiten must be one of {', '.join(WHITENINGS)}, got {whiten!r}")
    decisions = _assumptions(
        None if normalized or affine else whiten, chosen, temperature, use_scale, subsample
    )
    if not masked and with_unary is None:
        decisions.append(assumed("no unary term", "with_unary=True"))
    if normalized or affine:
        decisions = [each for each in decisions if not each.startswith("whitening")]
    temperature = 1.0 if temperature is None else temperature
    if not temperature > 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    block = ReleasedDisentangledBlock(
        channels,
        inner_channels=inner,
        dimension=dimension,
        subsample=bool(subsample),
        whitening="batch" if normalized or affine else WHITENINGS[chosen],
        unary="mask" if masked else "shared" if with_unary else "none",
        projects_out="conv_out.weight" in tensors,
        batch_norm="out_bn.weight" in tensors,
        scale=inner**-0.5 / temperature if use_scale is not False else 1.0,
        affine=affine,
    )
    said = "by batches" if normalized or affine else chosen
    scaled = (
        f"temperature {temperature}" if use_scale is not False else "no scale and no temperature"
    )
    return BlockPlan(block, RULES, (f"whitening {said}, {scaled}", *decisions))


def _assumptions(
    whiten: str | None,
    chosen: str,
    temperature: float | None,
    use_scale: bool | None,
    subsample: bool | None,
) -> list[str]:
    """Return the sentences on what was not given."""
    return [
        assumed(what, option)
        for given, what, option in (
            (whiten, f"whitening {chosen!r}, as usual", "whiten="),
            (temperature, "temperature 1.0", "temperature="),
            (use_scale, "logits with a scale", "use_scale=False"),
            (subsample, "keys of all positions", "subsample=True"),
        )
        if given is None and not (option == "temperature=" and use_scale is False)
    ]


def plan_unary(tensors: dict[str, Tensor], *, subsample: bool | None = None) -> BlockPlan:
    """Return the block that the tensors are for; a gain among them weighs nothing there.

    Args:
        tensors: By their names in the block.
        subsample: Whether the input of values and mask is pooled (`downsample`).

    Raises:
        ValueError: Tensors that tell a size are missing or malformed.
    """
    weight = tensors.get("conv_mask.weight")
    dimension = weight.ndim - 2 if weight is not None else 2
    channels = sides(tensors, "conv_mask.weight", 2 + dimension)[1]
    block = ReleasedUnaryBlock(
        channels,
        inner_channels=sides(tensors, "conv_value.weight", 2 + dimension)[0],
        dimension=dimension,
        subsample=bool(subsample),
        projects_out="conv_out.weight" in tensors,
        batch_norm="out_bn.weight" in tensors,
    )
    decisions = ["the unary term alone"]
    if subsample is None:
        decisions.append(assumed("keys of all positions", "subsample=True"))
    return BlockPlan(block, RULES, tuple(decisions), unused="gamma")


def recognizes(names: Collection[str]) -> bool:
    """Return whether a module with such children is a block of this layout."""
    return {"conv_query", "conv_key", "conv_value", "gamma"} <= set(names)


def recognizes_unary(names: Collection[str]) -> bool:
    """Return whether a module with such children is one of its blocks without queries and keys."""
    return {"conv_mask", "conv_value"} <= set(names) and not {"conv_query", "conv_key"} & set(names)


LAYOUT = BlockLayout("DNL-Semantic-Segmentation", recognizes, plan)
UNARY = BlockLayout("DNL-Semantic-Segmentation's unary term", recognizes_unary, plan_unary)
