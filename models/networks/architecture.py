"""What must be known besides the weights to build a network, as data."""

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from models import blocks
from models.blocks import AttentionBlock
from models.networks.dilated_resnet import DilatedResNet
from models.networks.segmentation import AttentionHead, SegmentationNetwork
from models.preprocess import Preprocess

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
    "shared_key": blocks.SharedKeyNonLocalBlock,
}
"""Every block a network may be built with; a new form adds one line."""


@dataclass(frozen=True)
class Architecture:
    """The shape of a segmentation network; travels in the header of its weight file."""

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
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Architecture":
        """Read what `to_json` wrote; ValueError if it is anything else."""
        try:
            fields = json.loads(text)
            for name in ("classes", "widths", "depths", "dilations"):
                fields[name] = tuple(fields[name])
            return cls(**fields)
        except (KeyError, TypeError, json.JSONDecodeError) as error:
            raise ValueError(
                f"the architecture in the file's header cannot be read: {error}"
            ) from error


def build_network(architecture: Architecture) -> SegmentationNetwork:
    """Return a freshly initialized network of that architecture, in training mode."""
    backbone = DilatedResNet(architecture.widths, architecture.depths, architecture.dilations)
    block = None
    if architecture.block is not None:
        block = BLOCKS[architecture.block](backbone.channels, **architecture.block_options)
    head = AttentionHead(
        backbone.channels, backbone.detail_channels, len(architecture.classes), block
    )
    preprocess = Preprocess(stride=backbone.stride)
    return SegmentationNetwork(backbone, head, architecture.classes, preprocess)
