"""Put attention blocks into torchvision's residual networks, for images and for clips."""

from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.nn.modules.conv import _ConvNd

from nonlocal_lens.models.networks.architecture import BLOCKS

STAGES = {"res2": "layer1", "res3": "layer2", "res4": "layer3", "res5": "layer4"}
"""What papers call the stages of a residual network -> what torchvision does."""

SPREAD = {5: {"res3": 2, "res4": 3}, 10: {"res3": 4, "res4": 6}}
"""Number of blocks -> how many Wang et al. 2018 put in which stage (section 4.1)."""


def insert_blocks(
    network: nn.Module, where: int | Sequence[str], block: str = "non_local", **options: Any
) -> tuple[str, ...]:
    """Insert attention blocks into a residual network, in place, and return their names.

    A block follows its residual block, after the last ReLU, as in the code of Wang et al. 2018. It
    is a module of its own in the same stage: `layer3.4_non_local` runs between `layer3.4` and
    `layer3.5`. No other module changes its name, so that weights for the plain network still load
    (`strict=False`). With `init="identity"`, the default, the output stays the same bit for bit.

    Args:
        network: A `torchvision.models.resnet` or `torchvision.models.video` network, or any that is
            laid out like these: stages `layer1` to `layer4`, each a sequence of residual blocks.
        where: Residual blocks ("layer3.4") to insert after; stages ("res2" to "res5"), where the
            block goes right before the last residual block; or one of the paper's numbers: 1 is
            "res4", and 5 and 10 are spread evenly over res3 and res4, which in a ResNet-50 is every
            other residual block and every one.
        block: A key of `BLOCKS`.
        **options: The block's own, such as `subsample=True`; the paper sub-samples.

    Raises:
        ValueError: The block is unknown; there is no such place; or it is taken by such a block.
    """
    if block not in BLOCKS:
        raise ValueError(f"unknown block {block!r}; available: {', '.join(BLOCKS)}")
    if isinstance(where, int):
        after = spread(network, where)
    else:
        places = [where] if isinstance(where, str) else where
        after = [before_last(network, place) if place in STAGES else place for place in places]
    residuals = residual_blocks(network)
    for name in after:
        if name not in residuals:
            raise ValueError(
                f"there is no residual block {name!r}; available: {', '.join(residuals)}, "
                f"and the stages {', '.join(STAGES)}"
            )
    inserted = tuple(f"{name}_{block}" for name in after)
    taken = [name for name in inserted if name in dict(network.named_modules())]
    taken += [name for name in set(inserted) if inserted.count(name) > 1]
    if taken:
        raise ValueError(f"there can be but one {block!r} block at a place, got another {taken[0]}")
    for name in after:
        _insert_after(network, name, block, options)
    return inserted


def residual_blocks(network: nn.Module) -> dict[str, nn.Module]:
    """Return the residual blocks of all stages by name, in the order in which they run."""
    stages = {name: module for name, module in network.named_children() if name in STAGES.values()}
    return {
        f"{stage}.{name}": residual
        for stage, module in stages.items()
        for name, residual in module.named_children()
        if name.isdecimal()
    }


def before_last(network: nn.Module, stage: str) -> str:
    """Return the residual block that precedes the last one of a stage ("res2" to "res5")."""
    return _of_stage(network, stage, at_least=2)[-2]


def spread(network: nn.Module, count: int) -> list[str]:
    """Return where the paper puts 1, 5 or 10 blocks."""
    if count == 1:
        return [before_last(network, "res4")]
    if count not in SPREAD:
        raise ValueError(f"the number of blocks must be one of 1, 5, 10, got {count}")
    places = []
    for stage, blocks in SPREAD[count].items():
        names = _of_stage(network, stage, at_least=blocks)
        step = len(names) // blocks
        places += names[step - 1 : step * blocks : step]
    return places


def _of_stage(network: nn.Module, stage: str, *, at_least: int) -> list[str]:
    prefix = STAGES[stage] + "."
    names = [name for name in residual_blocks(network) if name.startswith(prefix)]
    if len(names) < at_least:
        raise ValueError(
            f"{stage} ({STAGES[stage]}) must have at least {at_least} residual blocks for this, "
            f"got {len(names)}"
        )
    return names


def _insert_after(network: nn.Module, name: str, block: str, options: dict[str, Any]) -> None:
    residual = network.get_submodule(name)
    convolutions = [
        module
        for path, module in residual.named_modules()
        if isinstance(module, _ConvNd) and not path.startswith("downsample")
    ]
    channels, dimension = convolutions[-1].out_channels, convolutions[-1].weight.ndim - 2
    attention = BLOCKS[block](channels, dimension=dimension, **options)
    attention.to(convolutions[-1].weight).train(residual.training)

    stage_name, _, index = name.partition(".")
    stage = network.get_submodule(stage_name)
    children = dict(stage.named_children())
    for child in children:
        delattr(stage, child)
    for child, module in children.items():  # a module runs where it stands in the order
        stage.add_module(child, module)
        if child == index:
            stage.add_module(f"{index}_{block}", attention)
