"""TSM with non-local blocks as its authors save it: mit-han-lab/temporal-shift-module.

A ResNet of torchvision's names in `base_model`, whose first convolutions lie in `net` behind the
shift, and whose wrapped residual blocks lie in `block` beside AlexHex7's non-local block, `nl`.
"""

import re
from collections.abc import Sequence
from functools import partial

from torch import Tensor

from models.checkpoints import non_local_pytorch
from models.checkpoints.layout import Layout, Plan, Rules
from models.checkpoints.video import IMAGENET, plan_video, stage_rules
from models.networks.video_resnet import Pacing

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
    frames: int = 8,
) -> Plan:
    """Return the network that the tensors are for.

    Args:
        tensors: By the names in the file.
        classes: Names of the classes; those of the data set with as many if not given.
        form: "dot_product" for blocks of that form; "non_local" if not given.
        frames: How many frames the network was trained on (`num_segments`).

    Raises:
        ValueError: Tensors that tell a size are missing or malformed, or an option is impossible.
    """
    return plan_video(
        tensors,
        trunk=TRUNK,
        attention={match[0]: match[1] for name in tensors if (match := BLOCK.match(name))},
        plan_block=partial(non_local_pytorch.plan, form=form),
        pacing=lambda stem, spans: Pacing(),
        normalization=IMAGENET,
        frames=frames,
        classes=classes,
        shifts={match[1] for name in tensors if (match := SHIFT.match(name))},
    )


LAYOUT = Layout("temporal-shift-module", recognizes, plan)
