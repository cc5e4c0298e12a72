"""Networks built as they are described, and the blocks that they may have."""

from torch import nn

from nonlocal_lens.models import blocks
from nonlocal_lens.models.blocks import AttentionBlock
from nonlocal_lens.models.networks.clip_network import ClipHead, ClipNetwork
from nonlocal_lens.models.networks.description import (
    AnyArchitecture,
    Architecture,
    ClipArchitecture,
    HybridClipArchitecture,
    StreetArchitecture,
    TransformerArchitecture,
    Trunk,
)
from nonlocal_lens.models.networks.dilated_resnet import DilatedResNet
from nonlocal_lens.models.networks.segmentation import AttentionHead, SegmentationNetwork
from nonlocal_lens.models.networks.spacetime_transformer import MERGED, SpacetimeTransformer
from nonlocal_lens.models.networks.transformer import PatchHead, VisionTransformer
from nonlocal_lens.models.preprocess import ClipPreprocess, Preprocess

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


def build(architecture: AnyArchitecture) -> SegmentationNetwork | ClipNetwork:
    """Return a freshly initialized network of any architecture, in training mode."""
    if isinstance(architecture, ClipArchitecture):
        return build_clip_network(architecture)
    return build_network(architecture)


def build_network(architecture: StreetArchitecture) -> SegmentationNetwork:
    """Return a freshly initialized network that segments, in training mode."""
    if isinstance(architecture, TransformerArchitecture):
        return _transformer(architecture)
    return _residual(architecture)


def _transformer(architecture: TransformerArchitecture) -> SegmentationNetwork:
    trunk = VisionTransformer(
        architecture.channels,
        architecture.layers,
        architecture.heads,
        architecture.registers,
        architecture.patch,
        architecture.grid_hw,
    )
    head = PatchHead(architecture.channels, len(architecture.classes))
    preprocess = Preprocess(stride=architecture.patch)
    return SegmentationNetwork(trunk, head, architecture.classes, preprocess)


def _residual(architecture: Architecture) -> SegmentationNetwork:
    backbone = _backbone(architecture)
    block = _block(architecture, backbone.channels, dimension=2)
    head = AttentionHead(
        backbone.channels, backbone.detail_channels, len(architecture.classes), block
    )
    preprocess = Preprocess(stride=backbone.stride)
    return SegmentationNetwork(backbone, head, architecture.classes, preprocess)


def build_clip_network(architecture: ClipArchitecture) -> ClipNetwork:
    """Return a freshly initialized network of that architecture, in training mode."""
    backbone, classes = _backbone(architecture), len(architecture.classes)
    head: nn.Module
    if isinstance(architecture, HybridClipArchitecture):
        head = SpacetimeTransformer(
            backbone.channels,
            architecture.channels,
            architecture.layers,
            architecture.heads,
            classes,
        )
        stride = backbone.stride * MERGED
    else:
        block = _block(architecture, backbone.channels, dimension=3)
        head = ClipHead(backbone.channels, classes, block)
        stride = backbone.stride
    frame = Preprocess(stride=stride, long_side=(architecture.long_side,) * 2)
    preprocess = ClipPreprocess(frame, architecture.frames)
    return ClipNetwork(backbone, head, architecture.classes, preprocess)


def _backbone(trunk: Trunk) -> DilatedResNet:
    return DilatedResNet(trunk.widths, trunk.depths, trunk.dilations)


def _block(trunk: Trunk, channels: int, dimension: int) -> AttentionBlock | None:
    if trunk.block is None:
        return None
    if trunk.block not in BLOCKS:
        raise ValueError(f"unknown block {trunk.block!r}; available: {', '.join(sorted(BLOCKS))}")
    return BLOCKS[trunk.block](channels, dimension=dimension, **trunk.block_options)
