"""The segmentation head of the published non-local networks."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nonlocal_lens.models.blocks import AttentionBlock
from nonlocal_lens.models.networks.dilated_resnet import conv_bn_relu


class FCNHead(nn.Module):
    """Convolution, attention, convolution; joined with the features, convolution, classifier.

    The layout that mmsegmentation gives its `NLHead`, `DNLHead` and `GCHead`.

    Args:
        in_channels: Channels of the backbone's features.
        channels: Channels of everything in the head.
        classes: Channels of the output.
        block: What stands between the two convolutions.
    """

    def __init__(
        self, in_channels: int, channels: int, classes: int, block: AttentionBlock
    ) -> None:
        super().__init__()
        self.conv_in = conv_bn_relu(in_channels, channels, 3)
        self.block = block
        self.conv_out = conv_bn_relu(channels, channels, 3)
        self.fuse = conv_bn_relu(in_channels + channels, channels, 3)
        self.dropout = nn.Dropout2d(0.1)
        self.classify = nn.Conv2d(channels, classes, 1)

    def forward(
        self, features: Float[Tensor, "batch in_channels rows cols"]
    ) -> Float[Tensor, "batch classes rows cols"]:
        """Return class scores at the resolution of the features."""
        attended = self.conv_out(self.block(self.conv_in(features)))
        fused = self.fuse(torch.cat((features, attended), dim=1))
        scores: Tensor = self.classify(self.dropout(fused))
        return scores
