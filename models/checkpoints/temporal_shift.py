"""TSM with non-local blocks as its authors save it: mit-han-lab/temporal-shift-module.

A ResNet of torchvision's names in `base_model`, whose first convolutions lie in `net` behind the
shift, and whose wrapped residual blocks lie in `block` beside AlexHex7's non-local block, `nl`.
"""

import re
from collections.abc import Sequence
from functools import partial

from torch import Tensor

from nonlocal_lens.models.checkpoints import non_local_pytorch
from nonlocal_lens.models.checkpoints.layout import Layout, Plan, Rules
from nonlocal_lens.models.checkpoints.video import IMAGENET, plan_video, stage_rules
from nonlocal_lens.models.networks.video_resnet import Pacing

TRUNK: Rules = (
    (r"base_model\.conv1\.", "conv1."),
    (r"base_model\.bn1\.", "bn1."),
    *stage_rules(
        r"base_model\.layer{stage}\.(\d+)\.(?:block\.)?",
        1,
        {
            r"conv1\.net\.": "conv1.",
            **{
                rf"{layer}{index}\.": f"{layer}{index}."
                for layer in ("conv", "bn")
                for index in (1, 2, 3)
            },
            r"downsample\.": "downsample.",
        },
    ),
    (r"new_fc\.", "fc."),
    (r"base_model\.fc\.", "fc."),
)
BLOCK = re.compile(r"base_model\.(layer\d\.\d+)\.nl\.")
SHIFT = re.compile(r"base_model\.(layer\d\.\d+)\.(?:block\.)?conv1\.net\.")


def recognizes(names: Sequence[str]) -> bool:
    """Return whether there is a ResNet with shifted convolutions."""
    return any(SHIFT.match(name) for name in names)


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
        form: "dot_product" for blocks of that form; "non_local" if not given.
        use_scale: Whether logits are divided by the root of the number of channels; not if not
            given.
        frames: How many frames the network was trained on (`num_segments`), 8 if not given.
        mean: Of red, green and blue in [0, 1]; ImageNet's if not given.
        std: Deviation of red, green and blue; ImageNet's if not given.

    Raises:
        ValueError: Tensors that tell a size are missing or malformed, or an option is impossible.
    """
    return plan_video(
        tensors,
        trunk=TRUNK,
        attention={match[0]: match[1] for name in tensors if (match := BLOCK.match(name))},
        plan_block=partial(non_local_pytorch.plan, form=form, use_scale=use_scale),
        pacing=lambda stem, spans: Pacing(),
        usual=(IMAGENET, "ImageNet's"),
        mean=mean,
        std=std,
        frames=frames,
        default_frames=8,
        classes=classes,
        shifts={match[1] for name in tensors if (match := SHIFT.match(name))},
    )


LAYOUT = Layout("temporal-shift-module", recognizes, plan)
