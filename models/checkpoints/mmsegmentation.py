"""mmsegmentation's non-local, disentangled and global-context heads on dilated ResNets.

The heads `NLHead`, `DNLHead` and `GCHead` on `ResNetV1c` with output stride 8, as trained with
mmsegmentation 0.x and 1.x and by others with its code (BDD100K's model zoo).
"""

from collections.abc import Sequence

from torch import Tensor

from nonlocal_lens.models.checkpoints import mmcv_blocks
from nonlocal_lens.models.checkpoints.block_layout import moved, under
from nonlocal_lens.models.checkpoints.datasets import classes_by_count
from nonlocal_lens.models.checkpoints.layout import (
    Layout,
    Plan,
    Rules,
    assumed,
    count,
    normalization,
    sides,
)
from nonlocal_lens.models.networks.fcn_head import FCNHead
from nonlocal_lens.models.networks.resnet_v1c import ResNetV1c
from nonlocal_lens.models.networks.segmentation import SegmentationNetwork
from nonlocal_lens.models.preprocess import Preprocess

IMAGENET = (Preprocess.mean, Preprocess.std)
BLOCKS = ("nl_block", "dnl_block", "gc_block")
HEAD: Rules = (
    (r"decode_head\.convs\.0\.conv\.", "head.conv_in.0."),
    (r"decode_head\.convs\.0\.bn\.", "head.conv_in.1."),
    (r"decode_head\.convs\.1\.conv\.", "head.conv_out.0."),
    (r"decode_head\.convs\.1\.bn\.", "head.conv_out.1."),
    (r"decode_head\.conv_cat\.conv\.", "head.fuse.0."),
    (r"decode_head\.conv_cat\.bn\.", "head.fuse.1."),
    (r"decode_head\.conv_seg\.", "head.classify."),
)
AUXILIARY = "auxiliary_head."  # a second classifier for training alone


def recognizes(names: Sequence[str]) -> bool:
    """Return whether there is a decoding head with an attention block."""
    return any(name.startswith(f"decode_head.{block}.") for name in names for block in BLOCKS)


def plan(
    tensors: dict[str, Tensor],
    *,
    classes: Sequence[str] | None = None,
    temperature: float | None = None,
    form: str | None = None,
    use_scale: bool | None = None,
    output_stride: int | None = None,
    align_corners: bool | None = None,
    long_side: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Plan:
    """Return the network that the tensors are for.

    Args:
        tensors: By the names in the file.
        classes: Names of the classes; those of the data set with as many if not given.
        temperature: Of a disentangled block's pairwise term, 0.05 if not given.
        form: "dot_product" for a head trained with that mode, whose tensors do not tell it.
        use_scale: False for a head whose logits are not divided by the root of their channels.
        output_stride: 16 for networks whose backbone strides once more, and dilates less; 8 if not
            given.
        align_corners: True for networks trained on crops of 769 x 769 pixels; False if not given.
        long_side: Pixels to which the long side of larger images is reduced; 1024 if not given.
        mean: Of red, green and blue in [0, 1]; ImageNet's if not given.
        std: Deviation of red, green and blue; ImageNet's if not given.

    Raises:
        ValueError: Tensors that tell a size are missing or malformed, or an option is impossible.
    """
    decisions = []
    if output_stride is None:
        decisions.append(assumed("cells of 8 pixels, as in every head there", "output_stride=16"))
    backbone = _backbone(tensors, output_stride or 8)
    channels, features = sides(tensors, "decode_head.convs.0.conv.weight", 4)[:2]
    if features != backbone.channels:
        raise ValueError(
            f"the head is for features of {features} channels, but the backbone's have "
            f"{backbone.channels}"
        )
    class_count = sides(tensors, "decode_head.conv_seg.weight", 4)[0]
    if classes is None:
        classes, source = classes_by_count(class_count)
        decisions.append(source)
    elif len(classes) != class_count:
        raise ValueError(f"classes must be {class_count} names, got {len(classes)}")

    kind = next(block for block in BLOCKS if any(f".{block}." in name for name in tensors))
    prefix = f"decode_head.{kind}."
    own = under(tensors, prefix)
    if kind == "gc_block":
        given = {"form": form, "temperature": temperature, "use_scale": use_scale}
        asked = [name for name, value in given.items() if value is not None]
        if asked:
            raise ValueError(f"{asked[0]} belongs to non-local blocks; the file has a {kind}")
        block, rules, told, _ = mmcv_blocks.plan_global_context(own)
    else:
        block, rules, told, _ = mmcv_blocks.plan_non_local(
            own, form=form, temperature=temperature, use_scale=use_scale
        )
    decisions += told
    if any(name.startswith(AUXILIARY) for name in tensors):
        decisions.append("without the auxiliary head, which takes part in training alone")

    colors, deviation, said = normalization(mean, std, IMAGENET, "ImageNet's")
    decisions += said
    if align_corners is None:
        said_of_corners = "scores enlarged edge to edge, as for crops of even sides"
        decisions.append(assumed(said_of_corners, "align_corners=True"))
    if long_side is None:
        decisions.append(assumed("long sides reduced to 1024 pixels at most", "long_side="))
    network = SegmentationNetwork(
        backbone,
        FCNHead(features, channels, class_count, block),
        tuple(classes),
        Preprocess(colors, deviation, stride=backbone.stride, long_side=(256, long_side or 1024)),
        align_corners=bool(align_corners),
    )
    return Plan(network, (*HEAD, *moved(rules, prefix, "head.block.")), AUXILIARY, tuple(decisions))


def _backbone(tensors: dict[str, Tensor], output_stride: int) -> ResNetV1c:
    stem = [sides(tensors, f"backbone.stem.{index}.weight", 4)[0] for index in (0, 3, 6)]
    stages = range(1, 5)
    depths = [count(tensors, f"backbone.layer{stage}.{{}}.") for stage in stages]
    widths = [sides(tensors, f"backbone.layer{stage}.0.conv1.weight", 4)[0] for stage in stages]
    bottleneck = "backbone.layer1.0.conv3.weight" in tensors
    return ResNetV1c(stem, widths, depths, bottleneck=bottleneck, stride=output_stride)


LAYOUT = Layout("mmsegmentation", recognizes, plan)
