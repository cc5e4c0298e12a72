"""mmaction2's networks with non-local blocks: I3D, SlowOnly and TSM on ResNets."""

import re
from collections.abc import Sequence
from functools import partial

from torch import Tensor

from nonlocal_lens.models.checkpoints import mmcv_blocks
from nonlocal_lens.models.checkpoints.layout import Layout, Plan, Rules, assumed
from nonlocal_lens.models.checkpoints.video import IMAGENET, Spans, plan_video, stage_rules
from nonlocal_lens.models.networks.video_resnet import Pacing

# a residual block lies in `block` where an attention block is wrapped around it, and a convolution
# in `net` where features are shifted before it: twice in `layer1.0` of early files
TRUNK: Rules = (
    (r"backbone\.conv1\.conv\.", "conv1."),
    (r"backbone\.conv1\.bn\.", "bn1."),
    *stage_rules(
        r"backbone\.layer{stage}\.(\d+)\.(?:block\.)?",
        1,
        {
            **{rf"conv{index}\.conv\.(?:net\.)*": f"conv{index}." for index in (1, 2, 3)},
            **{rf"conv{index}\.bn\.": f"bn{index}." for index in (1, 2, 3)},
            r"downsample\.conv\.": "downsample.0.",
            r"downsample\.bn\.": "downsample.1.",
        },
    ),
    (r"cls_head\.fc_cls\.", "fc."),
)
BLOCK = re.compile(r"backbone\.(layer\d\.\d+)\.non_local_block\.")
SHIFT = re.compile(r"backbone\.(layer\d\.\d+)\.(?:block\.)?conv1\.conv\.net\.")


def recognizes(names: Sequence[str]) -> bool:
    """Return whether there are a ResNet of mmaction2 and its classifier."""
    starts = ("backbone.layer1.0.", "cls_head.fc_cls.")
    return all(any(name.startswith(start) for name in names) for start in starts)


def plan(
    tensors: dict[str, Tensor],
    *,
    classes: Sequence[str] | None = None,
    form: str | None = None,
    use_scale: bool | None = None,
    frames: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Plan:
    """Return the network that the tensors are for.

    Args:
        tensors: By the names in the file.
        classes: Names of the classes; those of the data set with as many if not given.
        form: "dot_product" for blocks of that mode, which have the tensors of an embedded Gaussian.
        use_scale: Whether logits are divided by the root of the number of channels; if not given,
            they are in SlowOnly networks alone, as in every released configuration.
        frames: How many frames the network was trained on; 32 (I3D) or 8 if not given.
        mean: Of red, green and blue in [0, 1]; ImageNet's if not given.
        std: Deviation of red, green and blue; ImageNet's if not given.

    Raises:
        ValueError: Tensors that tell a size are missing or malformed, or an option is impossible.
    """
    shifts = {match[1] for name in tensors if (match := SHIFT.match(name))}
    stem = tensors.get("backbone.conv1.conv.weight")
    inflated = stem is not None and stem.ndim == 5 and stem.shape[2] > 1
    kind = "TSM" if shifts else "I3D" if inflated else "SlowOnly"
    scaled = kind == "SlowOnly" if use_scale is None else use_scale
    places = {match[0]: match[1] for name in tensors if (match := BLOCK.match(name))}
    decisions = [f"{kind}, by the kernels of its convolutions"]
    if places and use_scale is None:
        said = f"logits with{'' if scaled else 'out'} a scale, as in every {kind} there"
        decisions.append(assumed(said, f"use_scale={not scaled}"))
    return plan_video(
        tensors,
        trunk=TRUNK,
        attention=places,
        plan_block=partial(mmcv_blocks.plan_non_local, form=form, use_scale=scaled),
        pacing=partial(_pacing, kind),
        usual=(IMAGENET, "ImageNet's"),
        mean=mean,
        std=std,
        frames=frames,
        default_frames=32 if kind == "I3D" else 8,
        classes=classes,
        decisions=decisions,
        shifts=shifts,
    )


def _pacing(kind: str, stem: int, spans: Spans) -> Pacing:
    if kind == "I3D":
        return Pacing(stem_stride=2, stem_pool=(1, 2), stage_pool=2)
    return Pacing()


LAYOUT = Layout("mmaction2", recognizes, plan)
