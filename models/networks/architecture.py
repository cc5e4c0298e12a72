"""What must be known besides the weights to build a network, as data."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Literal

from models import blocks
from models.blocks import AttentionBlock
from models.networks.clip_network import ClipHead, ClipNetwork
from models.networks.dilated_resnet import DilatedResNet
from models.networks.segmentation import AttentionHead, SegmentationNetwork
from models.preprocess import ClipPreprocess, Preprocess

BLOCKS: dict[str, type[AttentionBlock]] = {
    "non_local": blocks.NonLocalBlock,
    "gaussian": blocks.GaussianNonLocalBlock,
    "dot_product": blocks.DotProductNonLocalBlock,
    "concatenation": blocks.ConcatenationNonLocalBlock,
    "disentangled": blocks.DisentangledNonLocalBlock,
    "pairwise": blocks.PairwiseNonLocalBlock,
    "unary": blocks.UnaryNonLocalBlock,
    "product": blocks.ProductNonLocalBlock,
    "sum": blocks.SumNonLocalBlock,
    "simplified": blocks.SimplifiedNonLocalBlock,
    "global_context": blocks.GlobalContextBlock,
    "sagan": blocks.SelfAttentionBlock,
    "space_only": blocks.SpaceOnlyNonLocalBlock,
    "time_only": blocks.TimeOnlyNonLocalBlock,
    "shared_key": blocks.SharedKeyNonLocalBlock,
}
"""Every block a network may be built with; a new form adds one line."""

Task = Literal["segmentation", "clips"]


@dataclass(frozen=True)
class Trunk:
    """What every bundled network has: classes, a dilated residual backbone, at most one block."""

    task: ClassVar[Task]

    classes: tuple[str, ...]
    block: str | None = None  # a key of BLOCKS
    block_options: dict[str, Any] = field(default_factory=dict)
    widths: tuple[int, int, int, int] = (32, 64, 128, 128)
    depths: tuple[int, int, int, int] = (2, 2, 2, 2)
    dilations: tuple[int, int, int, int] = (1, 1, 2, 4)

    def __post_init__(self) -> None:
        if self.block is not None and self.block not in BLOCKS:
            raise ValueError(
                f"unknown block {self.block!r}; available: {', '.join(sorted(BLOCKS))}"
            )

    def to_json(self) -> str:
        """Return the architecture as one line of JSON."""
        return json.dumps({"task": self.task, **asdict(self)})


@dataclass(frozen=True)
class Architecture(Trunk):
    """The shape of a segmentation network; travels in the header of its weight file."""

    task = "segmentation"


@dataclass(frozen=True)
class ClipArchitecture(Trunk):
    """The shape of a network for clips; travels in the header of its weight file."""

    task = "clips"

    widths: tuple[int, int, int, int] = (16, 32, 64, 64)
    depths: tuple[int, int, int, int] = (1, 1, 1, 1)
    dilations: tuple[int, int, int, int] = (1, 1, 2, 2)
    frames: int = 8  # of the clips that it is trained on
    long_side: int = 128  # of their frames, in pixels


AnyArchitecture = Architecture | ClipArchitecture

ARCHITECTURES: dict[Task, type[AnyArchitecture]] = {
    "segmentation": Architecture,
    "clips": ClipArchitecture,
}


def read_architecture(text: str) -> AnyArchitecture:
    """Read what `to_json` wrote; ValueError if it is anything else.

    Files that name no task are from before there were others than segmentation.
    """
    try:
        fields = json.loads(text)
        task = fields.pop("task", Architecture.task)
        if task not in ARCHITECTURES:
            raise ValueError(f"unknown task {task!r}; available: {', '.join(ARCHITECTURES)}")
        for name in ("classes", "widths", "depths", "dilations"):
            fields[name] = tuple(fields[name])
        return ARCHITECTURES[task](**fields)
    except KeyError as error:
        raise ValueError(f"the architecture in its header has no {error}") from error
    except (AttributeError, TypeError, json.JSONDecodeError) as error:
        raise ValueError(f"the architecture in its header cannot be read: {error}") from error


def build_network(architecture: Architecture) -> SegmentationNetwork:
    """Return a freshly initialized network of that architecture, in training mode."""
    backbone = _backbone(architecture)
    block = _block(architecture, backbone.channels, dimension=2)
    head = AttentionHead(
        backbone.channels, backbone.detail_channels, len(architecture.classes), block
    )
    preprocess = Preprocess(stride=backbone.stride)
    return SegmentationNetwork(backbone, head, architecture.classes, preprocess)


def build_clip_network(architecture: ClipArchitecture) -> ClipNetwork:
    """Return a freshly initialized network of that architecture, in training mode."""
    backbone = _backbone(architecture)
    block = _block(architecture, backbone.channels, dimension=3)
    head = ClipHead(backbone.channels, len(architecture.classes), block)
    frame = Preprocess(stride=backbone.stride, long_side=(architecture.long_side,) * 2)
    preprocess = ClipPreprocess(frame, architecture.frames)
    return ClipNetwork(backbone, head, architecture.classes, preprocess)


def _backbone(trunk: Trunk) -> DilatedResNet:
    return DilatedResNet(trunk.widths, trunk.depths, trunk.dilations)


def _block(trunk: Trunk, channels: int, dimension: int) -> AttentionBlock | None:
    if trunk.block is None:
        return None
    return BLOCKS[trunk.block](channels, dimension=dimension, **trunk.block_options)
