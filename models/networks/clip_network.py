"""Networks that say what happens in a clip."""

from collections.abc import Callable
from math import pi
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nonlocal_lens.models.blocks import AttentionBlock
from nonlocal_lens.models.blocks.first_weights import draw_normal
from nonlocal_lens.models.networks.dilated_resnet import DilatedResNet, conv_bn_relu
from nonlocal_lens.models.preprocess import ClipPreprocess
from nonlocal_lens.streets.classes import STREET_CLASSES

OCTAVES = 4
"""Waves of half a period, one, two and four across the range of each axis."""


class Position(nn.Module):
    """Add to every feature a learned function of where it is along some axes of a clip.

    Attention and pooling know no order. Positions are relative to a clip's duration, height and
    width, so that any size may come.

    Args:
        channels: Of the features.
        axes: Which: 0 is time, 1 the rows, 2 the columns.
        spread: Standard deviation of the first weights.
    """

    def __init__(self, channels: int, axes: tuple[int, ...], *, spread: float) -> None:
        super().__init__()
        self.axes = axes
        self.embed = nn.Conv3d(len(axes) * (1 + 2 * OCTAVES), channels, 1, bias=False)
        draw_normal(self.embed.weight, std=spread)

    def forward(
        self, x: Float[Tensor, "batch channels frames rows cols"]
    ) -> Float[Tensor, "batch channels frames rows cols"]:
        """Return the features plus their position's embedding."""
        sides = [side if axis in self.axes else 1 for axis, side in enumerate(x.shape[2:])]
        ticks = [torch.linspace(-1, 1, side, device=x.device, dtype=x.dtype) for side in sides]
        places = torch.stack(torch.meshgrid(*ticks, indexing="ij"))[list(self.axes)]
        waves = [2**octave * pi / 2 * places for octave in range(OCTAVES)]
        code = torch.cat([places, *map(torch.sin, waves), *map(torch.cos, waves)])
        marked: Tensor = x + self.embed(code.unsqueeze(0))
        return marked


class ClipHead(nn.Module):
    """Convolution, attention, convolution, pooling over space and time, classifier.

    Convolutions look at one frame at a time, and know where in it they are. Without the block,
    frames meet in the pooling only, and their order plays no part (the C2D of Wang et al. 2018).
    With it they meet in the attention, and nothing else knows the time: the block is shown features
    marked with it, and the head goes on with what was gathered for them, not with the marks.
    """

    def __init__(self, channels: int, classes: int, block: AttentionBlock | None) -> None:
        super().__init__()
        self.place = Position(channels, (1, 2), spread=0.15)
        self.conv_in = conv_bn_relu(channels, channels, 3)
        self.block: nn.Module | None = block
        self.clock = None if block is None else Position(channels, (0,), spread=0.3)
        self.conv_out = conv_bn_relu(channels, channels, 3)
        self.dropout = nn.Dropout(0.2)
        self.classify = nn.Sequential(
            nn.Linear(2 * channels, channels), nn.ReLU(inplace=True), nn.Linear(channels, classes)
        )

    def forward(
        self, features: Float[Tensor, "batch channels frames rows cols"]
    ) -> Float[Tensor, "batch classes"]:
        """Return class scores of whole clips."""
        x = framewise(self.conv_in, self.place(features))
        if self.block is not None and self.clock is not None:
            marked = self.clock(x)
            x = x + (self.block(marked) - marked)
        x = framewise(self.conv_out, x)
        pooled = torch.cat((x.mean(dim=(2, 3, 4)), x.amax(dim=(2, 3, 4))), dim=1)
        scores: Tensor = self.classify(self.dropout(pooled))
        return scores


def framewise(
    layer: Callable[[Tensor], Tensor],
    x: Float[Tensor, "batch channels frames height width"],
) -> Float[Tensor, "batch channels2 frames rows cols"]:
    """Run a layer for images on every frame by itself."""
    images = layer(x.transpose(1, 2).flatten(0, 1))
    return torch.unflatten(images, 0, (len(x), -1)).transpose(1, 2)


class CellScores(NamedTuple):
    """What the backbone says about the cells of single frames."""

    classes: Float[Tensor, "images street_classes rows cols"]  # logits of what is there
    color: Float[Tensor, "images 3 rows cols"]  # of the people there: red, green, blue, 0 to 1


class ClipNetwork(nn.Module):
    """A backbone that sees one frame at a time, and a head that scores the clip for every class.

    Beside the head, one convolution says what is in each cell of each frame. By the frames' own
    labels the backbone learns what a person is: the label of a clip is a single number, and a
    walker is a few dozen pixels.

    Attributes:
        classes: Class names, in the order of the scores.
        preprocess: How a clip becomes this network's input.
        decisions: What was decided on loading that the weights alone do not tell, in sentences.
    """

    decisions: tuple[str, ...] = ()

    def __init__(
        self,
        backbone: DilatedResNet,
        head: nn.Module,  # of the features of all frames, as `ClipHead` is
        classes: tuple[str, ...],
        preprocess: ClipPreprocess,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.cells = nn.Conv2d(backbone.channels, len(STREET_CLASSES) + 3, 1)
        self.head = head
        self.classes = classes
        self.preprocess = preprocess

    def forward(
        self, x: Float[Tensor, "batch 3 frames height width"]
    ) -> Float[Tensor, "batch classes"]:
        """Return class scores (logits) of whole clips."""
        scores: Tensor = self.head(framewise(self.features, x))
        return scores

    def in_cells(self, images: Float[Tensor, "images 3 height width"]) -> CellScores:
        """Return what is in every cell of single frames, and in which color."""
        scores = self.cells(self.features(images))
        return CellScores(scores[:, : len(STREET_CLASSES)], scores[:, len(STREET_CLASSES) :])

    def features(
        self, images: Float[Tensor, "images 3 height width"]
    ) -> Float[Tensor, "images channels rows cols"]:
        """Return the backbone's last features, which see one frame each."""
        last: Tensor = self.backbone(images)[0]
        return last
