"""A transformer that says what happens in a clip from the features of all its frames together."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nonlocal_lens.models.networks.clip_network import Position, framewise
from nonlocal_lens.models.networks.dilated_resnet import conv_bn_relu
from nonlocal_lens.models.networks.transformer import (
    FIRST_SPREAD,
    TransformerLayer,
    draw_first_weights,
)

MERGED = 2
"""Cells along each side of a frame that become one token."""


class SpacetimeTransformer(nn.Module):
    """Class scores of clips by joint attention of all tokens of all frames to all.

    The joint space-time attention of Bertasius et al. (ICML 2021) and model 1 of Arnab et al.
    (ICCV 2021), on features of a convolutional trunk: after a convolution that knows where it is,
    2 x 2 cells of a frame become a token, which is told where and when it is, and a class token
    gathers what the clip is named by. Frames meet in the attention alone.

    Args:
        features: Channels of what the trunk makes of a frame.
        channels: Of a token.
        layers: How many follow each other.
        heads: Of attention, in every layer; they divide the channels.
        classes: How many there are to tell apart.

    Raises:
        ValueError: The heads do not divide the channels.
    """

    def __init__(self, features: int, channels: int, layers: int, heads: int, classes: int) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"{heads} heads do not divide {channels} channels")
        self.place = Position(features, (1, 2), spread=0.15)
        self.conv_in = conv_bn_relu(features, features, 3)
        self.merge = nn.Sequential(
            nn.Conv2d(features, channels, MERGED, MERGED, bias=False), nn.BatchNorm2d(channels)
        )
        self.position = Position(channels, (0, 1, 2), spread=0.3)
        self.class_token = nn.Parameter(torch.empty(1, 1, channels))
        self.layers = nn.ModuleList(TransformerLayer(channels, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(channels)
        self.dropout = nn.Dropout(0.2)
        self.classify = nn.Linear(channels, classes)
        self.layers.apply(draw_first_weights)
        nn.init.trunc_normal_(self.class_token, std=FIRST_SPREAD)

    def forward(
        self, features: Float[Tensor, "batch features frames rows cols"]
    ) -> Float[Tensor, "batch classes"]:
        """Return class scores (logits) of whole clips; a last odd row or column is left out."""
        x = framewise(self.conv_in, self.place(features))
        places = self.position(framewise(self.merge, x)).flatten(2).mT
        tokens = torch.cat((self.class_token.expand(len(features), -1, -1), places), dim=1)
        for layer in self.layers:
            tokens = layer(tokens)
        scores: Tensor = self.classify(self.dropout(self.norm(tokens[:, 0])))
        return scores
