"""What the layouts of video networks share: sizes from tensors, attention blocks at their places.

A layout first says what its names for the trunk are here (`models.networks.video_resnet`) and what
the names of its attention blocks begin with; everything else is read from the shapes.
"""

from collections.abc import Callable, Collection, Mapping, Sequence

from torch import Tensor, nn

from nonlocal_lens.models.checkpoints.block_layout import BlockPlan, moved, under
from nonlocal_lens.models.checkpoints.datasets import classes_by_count
from nonlocal_lens.models.checkpoints.layout import (
    Plan,
    Rules,
    assumed,
    count,
    normalization,
    renamed,
    sides,
)
from nonlocal_lens.models.networks.video_resnet import FrameGroups, Pacing, VideoResNet
from nonlocal_lens.models.preprocess import ClipPreprocess, Preprocess

IMAGENET = (Preprocess.mean, Preprocess.std)
GRAY = ((0.45,) * 3, (0.225,) * 3)
"""Mean and deviation in which Facebook's video networks were trained: 114.75 and 57.375 of 255."""

LONG_SIDE = (256, 320)  # pixels of a frame

Spans = Sequence[Sequence[int]]
"""For each stage, the frames that the first kernel of each residual block spans."""


def stage_rules(pattern: str, first_stage: int, convolutions: Mapping[str, str]) -> Rules:
    """Return rules for all residual blocks of the four stages.

    Args:
        pattern: A regular expression for what a residual block's names begin with, with a group for
            its number and `{stage}` for its stage's.
        first_stage: What the number of the first stage is there.
        convolutions: How the rest of a name begins there, and what it is here.
    """
    return [
        (pattern.format(stage=first_stage + stage) + rest, rf"layer{stage + 1}.\1.{here}")
        for stage in range(4)
        for rest, here in convolutions.items()
    ]


def plan_video(
    tensors: dict[str, Tensor],
    *,
    trunk: Rules,
    attention: Mapping[str, str],
    plan_block: Callable[[dict[str, Tensor]], BlockPlan],
    pacing: Callable[[int, Spans], Pacing],
    usual: tuple[tuple[tuple[float, ...], tuple[float, ...]], str],
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    frames: int | None,
    default_frames: int,
    classes: Sequence[str] | None,
    decisions: Sequence[str] = (),
    shifts: Collection[str] = (),
    group: Mapping[str, int] | None = None,
) -> Plan:
    """Return the network that the tensors are for.

    Args:
        tensors: By the names in the file.
        trunk: What those of everything but attention blocks are here.
        attention: How the names of each attention block begin, and the residual block it follows.
        plan_block: Says what block its tensors are for.
        pacing: Says where frames are left out, given how many frames the kernels span.
        usual: Mean and deviation of red, green and blue where they are not given, in [0, 1], and
            whose they are.
        mean: As a user gave it.
        std: As a user gave it.
        frames: How many frames the network was trained on, as a user gave it.
        default_frames: How many they are otherwise.
        classes: Names of the classes; those of the data set with as many if not given.
        decisions: What the layout has decided so far.
        shifts: Residual blocks that begin by shifting features along time.
        group: Stage, such as "layer2" -> frames that its attention blocks see at a time.

    Raises:
        ValueError: Tensors that tell a size are missing or malformed, or an option is impossible.
    """
    here = {renamed(name, trunk): tensor for name, tensor in tensors.items()}
    stem = _shape(here, "conv1.weight")
    if len(stem) < 4 or stem[1] != 3 or stem[-2:] != (7, 7):
        raise ValueError(f"the first convolution must be 7 x 7 on RGB, got shape {stem}")
    depths = [count(here, f"layer{stage}.{{}}.") for stage in range(1, 5)]
    if 0 in depths:
        raise ValueError(f"there must be four stages of residual blocks, got {depths} blocks")
    first = [
        [_shape(here, f"layer{stage}.{index}.conv1.weight") for index in range(depth)]
        for stage, depth in enumerate(depths, start=1)
    ]
    spans = [[_frames(shape) for shape in shapes] for shapes in first]
    paced = pacing(_frames(stem), spans)

    rules, told = list(trunk), list(decisions)
    blocks: dict[str, nn.Module] = {}
    for prefix, after in attention.items():
        block, block_rules, block_told, _ = plan_block(under(tensors, prefix))
        place = f"{after}_non_local."
        seen = (group or {}).get(after.partition(".")[0])
        blocks[after] = block if seen is None else FrameGroups(block, seen)
        rules = [*moved(block_rules, prefix, place + ("" if seen is None else "block.")), *rules]
        told += [decision for decision in block_told if decision not in told]

    class_count = _shape(here, "fc.weight")[0]
    if classes is None:
        classes, source = classes_by_count(class_count)
        told.append(source)
    elif len(classes) != class_count:
        raise ValueError(f"classes must be {class_count} names, got {len(classes)}")
    colors, deviation, said = normalization(mean, std, *usual)
    told += said
    if frames is None:
        frames = default_frames
        told.append(assumed(f"trained on clips of {frames} frames", "frames="))
    low, high = LONG_SIDE
    told.append(
        f"whole frames, with a long side of {low} to {high} pixels, where training saw square "
        "crops: network.preprocess sets another size"
    )
    network = VideoResNet(
        stem=(stem[0], _frames(stem)),
        widths=[shapes[0][0] for shapes in first],
        frames=spans,
        blocks=blocks,
        pacing=paced,
        classes=tuple(classes),
        preprocess=ClipPreprocess(
            Preprocess(colors, deviation, stride=32, long_side=LONG_SIDE), frames
        ),
        shifts=shifts,
    )
    return Plan(network, rules, decisions=tuple(told))


def _shape(tensors: dict[str, Tensor], name: str) -> tuple[int, ...]:
    """Return the shape of a tensor that must be there, with as many sides as it has."""
    return sides(tensors, name, tensors[name].ndim if name in tensors else 0)


def _frames(shape: tuple[int, ...]) -> int:
    """Return how many frames a kernel spans; that of an image network spans one."""
    return shape[2] if len(shape) == 5 else 1
