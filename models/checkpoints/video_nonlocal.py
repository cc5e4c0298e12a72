"""The networks of facebookresearch/video-nonlocal-net, and SlowFast's conversions of such.

Caffe2's pickles, once `models.checkpoints.caffe2` has read them. ResNets of the first release for 8
frames (or 32) differ from the paper's for 32 (or 128) in their pace alone, and SlowFast's in the
padding of one pooling: no tensor tells which one a file is for.
"""

import re
from collections.abc import Sequence
from functools import partial
from typing import Literal, get_args

from torch import Tensor, nn

from nonlocal_lens.models.checkpoints import slowfast_blocks
from nonlocal_lens.models.checkpoints.caffe2 import ENDINGS
from nonlocal_lens.models.checkpoints.layout import Layout, Plan, Rules
from nonlocal_lens.models.checkpoints.video import GRAY, plan_video, stage_rules
from nonlocal_lens.models.networks.video_resnet import Affine, Pacing

Code = Literal["sparse", "paper", "slowfast"]
PACING: dict[Code, Pacing] = {
    "sparse": Pacing(stem_padding=0, stage_pool=2),
    "paper": Pacing(stem_stride=2, stem_pool=(2, 2), stem_padding=0, stage_pool=2),
    "slowfast": Pacing(stage_pool=2),
}
GROUP = 4  # frames that a network for long clips attends to at a time in its stage res3


def _convolution(there: str, here: str, norm: str) -> dict[str, str]:
    normal = {rf"{there}{end}$": norm + name.removeprefix(".bn") for end, name in ENDINGS.items()}
    return {rf"{there}_w$": f"{here}.weight", **normal}


TRUNK: Rules = (
    (r"conv1_w$", "conv1.weight"),
    *((rf"res_conv1{end}$", "bn1" + name.removeprefix(".bn")) for end, name in ENDINGS.items()),
    *stage_rules(
        r"res{stage}_(\d+)_",
        2,
        {
            **_convolution("branch1", "downsample.0", "downsample.1"),
            **_convolution("branch2a", "conv1", "bn1"),
            **_convolution("branch2b", "conv2", "bn2"),
            **_convolution("branch2c", "conv3", "bn3"),
        },
    ),
    (r"pred_w$", "fc.weight"),
    (r"pred_b$", "fc.bias"),
)
BLOCK = re.compile(r"nonlocal_conv(\d)_(\d+)\.")


def recognizes(names: Sequence[str]) -> bool:
    """Return whether there are Caffe2's names of a classifier and of residual blocks."""
    return {"pred_w", "res2_0_branch2a_w"} <= set(names)


def plan(
    tensors: dict[str, Tensor],
    *,
    classes: Sequence[str] | None = None,
    code: Code | None = None,
    form: str | None = None,
    use_scale: bool | None = None,
    subsample: bool | None = None,
    frames: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Plan:
    """Return the network that the tensors are for.

    Args:
        tensors: As `read_blobs` names them.
        classes: Names of the classes; those of the data set with as many if not given.
        code: "paper" for its networks (32x2 and 128x1), "sparse" for those of fewer frames that
            the authors recommend (8x8 and 32x4) and if not given, "slowfast" for SlowFast's.
        form: "dot_product" for blocks without a softmax.
        use_scale: Whether logits before a softmax have a scale; True if not given.
        subsample: Whether keys are pooled by 2 in space; True if not given.
        frames: How many frames the network was trained on; 8 or 32 if not given.
        mean: Of red, green and blue in [0, 1]; 0.45 and 0.225 if not given.
        std: Deviation of red, green and blue; 0.45 and 0.225 if not given.

    Raises:
        ValueError: Tensors that tell a size are missing or malformed, or an option is impossible.
    """
    decisions = [f"time runs as in the networks of the code {code or 'sparse'!r}"]
    if code is None:
        decisions.append("no tensor tells the code: code='paper' and code='slowfast' are others")
        code = "sparse"
    if code not in PACING:
        raise ValueError(f"code must be one of {', '.join(get_args(Code))}, got {code!r}")
    places = {
        match[0]: f"layer{int(match[1]) - 1}.{match[2]}"
        for name in tensors
        if (match := BLOCK.match(name))
    }
    long_clips = "res_conv1_bn_rm" not in tensors
    found = plan_video(
        tensors,
        trunk=TRUNK,
        attention=places,
        plan_block=partial(
            slowfast_blocks.plan, form=form, use_scale=use_scale, subsample=subsample
        ),
        pacing=lambda stem, spans: PACING[code],
        usual=(GRAY, "the code's"),
        mean=mean,
        std=std,
        frames=frames,
        default_frames=32 if code == "paper" or long_clips else 8,
        classes=classes,
        decisions=decisions,
        group={"layer2": GROUP} if long_clips else None,
    )
    if not long_clips:
        return found
    for name, module in list(found.network.named_modules()):
        if isinstance(module, nn.BatchNorm3d):
            found.network.set_submodule(name, Affine(module.num_features))
    frozen = (
        "no statistics to normalize with: a network for long clips, whose normalizations were made "
        f"affine and whose first attention blocks see {GROUP} frames at a time"
    )
    return found._replace(decisions=(*found.decisions, frozen))


LAYOUT = Layout("video-nonlocal-net", recognizes, plan)
