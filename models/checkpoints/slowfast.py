"""SlowFast's single-pathway networks with non-local blocks: I3D, C2D and Slow, as it saves them.

The networks of `configs/Kinetics/*_NLN_*` of facebookresearch/SlowFast with one pathway, trained by
its PyTorch code (`.pyth`). Those that it converted from Caffe2 are in the layout of
`models.checkpoints.video_nonlocal`.
"""

import re
from collections.abc import Sequence
from functools import partial

from torch import Tensor

from nonlocal_lens.models.checkpoints import slowfast_blocks
from nonlocal_lens.models.checkpoints.layout import Layout, Plan, Rules
from nonlocal_lens.models.checkpoints.video import GRAY, Spans, plan_video, stage_rules
from nonlocal_lens.models.networks.video_resnet import Pacing

TRUNK: Rules = (
    (r"s1\.pathway0_stem\.conv\.", "conv1."),
    (r"s1\.pathway0_stem\.bn\.", "bn1."),
    *stage_rules(
        r"s{stage}\.pathway0_res(\d+)\.",
        2,
        {
            r"branch1\.": "downsample.0.",
            r"branch1_bn\.": "downsample.1.",
            **{rf"branch2\.{letter}\.": f"conv{index}." for index, letter in enumerate("abc", 1)},
            **{rf"branch2\.{letter}_bn\.": f"bn{index}." for index, letter in enumerate("abc", 1)},
        },
    ),
    (r"head\.projection\.", "fc."),
)
BLOCK = re.compile(r"s(\d)\.pathway0_nonlocal(\d+)\.")


def recognizes(names: Sequence[str]) -> bool:
    """Return whether there is a stem of one pathway."""
    stems = {name.partition("_stem.")[0] for name in names if "_stem." in name}
    return stems == {"s1.pathway0"}


def plan(
    tensors: dict[str, Tensor],
    *,
    classes: Sequence[str] | None = None,
    form: str | None = None,
    use_scale: bool | None = None,
    subsample: bool | None = None,
    frames: int | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
) -> Plan:
    """Return the network that the tensors are for.

    Args:
        tensors: By the names in the file.
        classes: Names of the classes; those of the data set with as many if not given.
        form: "dot_product" for that `NONLOCAL.INSTANTIATION`; "non_local", its softmax, if not
            given.
        use_scale: Whether logits before a softmax have a scale; True if not given.
        subsample: Whether keys are pooled by 2 in space (`NONLOCAL.POOL`); True if not given.
        frames: How many frames the network was trained on (`DATA.NUM_FRAMES`); 8 if not given.
        mean: Of red, green and blue in [0, 1]; 0.45 and 0.225 if not given.
        std: Deviation of red, green and blue; 0.45 and 0.225 if not given.

    Raises:
        ValueError: Tensors that tell a size are missing or malformed, or an option is impossible.
    """
    places = {
        match[0]: f"layer{int(match[1]) - 1}.{match[2]}"
        for name in tensors
        if (match := BLOCK.match(name))
    }
    return plan_video(
        tensors,
        trunk=TRUNK,
        attention=places,
        plan_block=partial(
            slowfast_blocks.plan, form=form, use_scale=use_scale, subsample=subsample
        ),
        pacing=pacing,
        usual=(GRAY, "the code's"),
        mean=mean,
        std=std,
        frames=frames,
        default_frames=8,
        classes=classes,
    )


def pacing(stem: int, spans: Spans) -> Pacing:
    """Return where SlowFast leaves frames out: after the first stage, but not in Slow networks."""
    slow = stem == 1 and max(spans[-1]) > 1
    return Pacing(stage_pool=1 if slow else 2)


LAYOUT = Layout("SlowFast", recognizes, plan)
