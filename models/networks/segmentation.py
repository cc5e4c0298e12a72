"""Semantic segmentation with at most one attention block in its head."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from nonlocal_lens.models.blocks import AttentionBlock
from nonlocal_lens.models.networks.dilated_resnet import conv_bn_relu
from nonlocal_lens.models.preprocess import Preprocess


class AttentionHead(nn.Module):
    """Convolution, attention, convolution, then a classifier that sees both ends and fine detail.

    Up to `fuse` this is the layout that the non-local and disentangled segmentation networks share
    (`conva`, `ctb`, `convb`, `bottleneck` in the code of Yin et al. 2020). The step from stride 8
    to 4 with the backbone's early features is DeepLabv3+'s (Chen et al., ECCV 2018): poles and
    signs are thinner than a cell. Without a block the head is the plain one, the baseline.
    """

    def __init__(
        self, channels: int, detail_channels: int, classes: int, block: AttentionBlock | None
    ) -> None:
        super().__init__()
        half = channels // 2
        self.conv_in = conv_bn_relu(channels, channels, 3)
        self.block: nn.Module = nn.Identity() if block is None else block
        self.conv_out = conv_bn_relu(channels, channels, 3)
        self.fuse = conv_bn_relu(2 * channels, half, 3)
        self.detail = conv_bn_relu(detail_channels, detail_channels // 2, 1)
        self.refine = conv_bn_relu(half + detail_channels // 2, half, 3)
        self.dropout = nn.Dropout2d(0.1)
        self.classify = nn.Conv2d(half, classes, 1)

    def forward(
        self,
        features: Float[Tensor, "batch channels rows cols"],
        detail: Float[Tensor, "batch detail_channels rows2 cols2"],
    ) -> Float[Tensor, "batch classes rows2 cols2"]:
        """Return class scores at the resolution of `detail`."""
        attended = self.conv_out(self.block(self.conv_in(features)))
        fused = upsample(self.fuse(torch.cat((features, attended), dim=1)), detail.shape[2:])
        refined = self.refine(torch.cat((fused, self.detail(detail)), dim=1))
        scores: Tensor = self.classify(self.dropout(refined))
        return scores


def upsample(
    x: Float[Tensor, "batch channels rows cols"],
    size: Sequence[int],
    *,
    align_corners: bool = False,
) -> Float[Tensor, "batch channels height width"]:
    """Resize bilinearly with the outer edges, or else the outer centers, of both grids aligned."""
    return F.interpolate(x, size=list(size), mode="bilinear", align_corners=align_corners)


class SegmentationNetwork(nn.Module):
    """A backbone and a head that score every pixel for every class.

    Attributes:
        classes: Class names, in the order of the output's channels.
        preprocess: How an image becomes this network's input.
        align_corners: Whether scores are enlarged with the outer centers of both grids aligned, as
            networks trained on crops of 8 n + 1 pixels do.
        decisions: What was decided on loading that the weights alone do not tell, in sentences.
    """

    decisions: tuple[str, ...] = ()

    def __init__(
        self,
        backbone: nn.Module,
        head: nn.Module,
        classes: tuple[str, ...],
        preprocess: Preprocess,
        *,
        align_corners: bool = False,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.head = head
        self.classes = classes
        self.preprocess = preprocess
        self.align_corners = align_corners

    def forward(
        self, x: Float[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch classes height width"]:
        """Return class scores (logits) at the input's resolution."""
        scores = self.head(*self.backbone(x))
        return upsample(scores, x.shape[2:], align_corners=self.align_corners)
