"""The residual networks of the published video classifiers, with attention between their blocks.

One network covers C2D and I3D (Wang et al. 2018), SlowOnly (Feichtenhofer et al., ICCV 2019) and
TSM (Lin et al., ICCV 2019). They differ in how many frames each kernel spans, in whether features
are shifted along time, and in where frames are skipped, which is their `Pacing`.
"""

from collections import OrderedDict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nonlocal_lens.models.blocks.frame_groups import FrameGroups as FrameGroups
from nonlocal_lens.models.networks.inflate import inflate_layers
from nonlocal_lens.models.networks.resnet_v1c import residual_block
from nonlocal_lens.models.preprocess import ClipPreprocess

STRIDES = (1, 2, 2, 2)  # in space, of the four stages
SHIFTED_SHARE = 8  # one channel in so many comes from the next frame, and one from the last


@dataclass(frozen=True)
class Pacing:
    """Where a video network leaves frames out; no weight tells it.

    Attributes:
        stem_stride: Frames that the first convolution moves on by.
        stem_pool: Frames that the pooling after it spans, and those that it moves on by.
        stem_padding: Pixels around the image in that pooling, whose windows are 3 x 3.
        stage_pool: Frames that are pooled into one after the first stage; 1 pools nothing.
    """

    stem_stride: int = 1
    stem_pool: tuple[int, int] = (1, 1)
    stem_padding: int = 1
    stage_pool: int = 1


class VideoResNet(nn.Module):
    """A residual network of bottlenecks that scores a clip for every class.

    Modules are named as in torchvision's ResNet. The attention block after the residual block
    `layer3.4` is `layer3.4_non_local`, as `models.networks.insert` names it.

    Args:
        stem: Channels of the first convolution, and the frames that it spans.
        widths: Channels of each stage's 3 x 3 convolutions, a quarter of those at its end.
        frames: For each stage, how many frames the first kernel of each residual block spans.
        blocks: Attention blocks by the residual block that they follow, such as "layer3.4".
        pacing: Where frames are left out.
        classes: Class names, in the order of the output.
        preprocess: How a clip becomes this network's input.
        shifts: Residual blocks that begin with a `ShiftedConv3d`.

    Attributes:
        decisions: What was decided on loading that the weights alone do not tell, in sentences.
    """

    decisions: tuple[str, ...] = ()

    def __init__(
        self,
        stem: tuple[int, int],
        widths: Sequence[int],
        frames: Sequence[Sequence[int]],
        blocks: Mapping[str, nn.Module],
        pacing: Pacing,
        classes: tuple[str, ...],
        preprocess: ClipPreprocess,
        *,
        shifts: Collection[str] = (),
    ) -> None:
        super().__init__()
        self.classes = classes
        self.preprocess = preprocess
        cin, stem_frames = stem
        self.conv1 = nn.Conv3d(
            3,
            cin,
            (stem_frames, 7, 7),
            stride=(pacing.stem_stride, 2, 2),
            padding=(stem_frames // 2, 3, 3),
            bias=False,
        )
        self.bn1 = nn.BatchNorm3d(cin)
        self.relu = nn.ReLU(inplace=True)
        pool_frames, pool_stride = pacing.stem_pool
        self.maxpool = nn.MaxPool3d(
            (pool_frames, 3, 3),
            stride=(pool_stride, 2, 2),
            padding=(0, pacing.stem_padding, pacing.stem_padding),
        )
        for stage, (width, spans) in enumerate(zip(widths, frames, strict=True), start=1):
            layers: OrderedDict[str, nn.Module] = OrderedDict()
            for index, span in enumerate(spans):
                stride = STRIDES[stage - 1] if index == 0 else 1
                residual = residual_block(cin, width, stride=stride, dilation=1, bottleneck=True)
                inflate_layers(residual, {"conv1": span})
                name = f"layer{stage}.{index}"
                if name in shifts:
                    residual.conv1 = ShiftedConv3d(cin, width, 1, bias=False)
                layers[f"{index}"] = residual
                cin = 4 * width
                if (block := blocks.get(name)) is not None:
                    layers[f"{index}_non_local"] = block
            self.add_module(f"layer{stage}", nn.Sequential(layers))
        self.pool = nn.MaxPool3d((pacing.stage_pool, 1, 1)) if pacing.stage_pool > 1 else None
        self.dropout = nn.Dropout(0.5)
        self.fc = nn.Linear(cin, len(classes))

    def forward(
        self, x: Float[Tensor, "batch 3 frames height width"]
    ) -> Float[Tensor, "batch classes"]:
        """Return class scores (logits) of whole clips."""
        x = self.get_submodule("layer1")(self.maxpool(self.relu(self.bn1(self.conv1(x)))))
        if self.pool is not None:
            x = self.pool(x)
        for stage in (2, 3, 4):
            x = self.get_submodule(f"layer{stage}")(x)
        scores: Tensor = self.fc(self.dropout(x.mean(dim=(2, 3, 4))))
        return scores


class ShiftedConv3d(nn.Conv3d):
    """A convolution of features of which some channels come from other frames: TSM's.

    An eighth of the channels is taken from the next frame, another from the last one. Beyond either
    end of the clip there are zeros.
    """

    def forward(
        self, x: Float[Tensor, "batch channels frames height width"]
    ) -> Float[Tensor, "batch out_channels frames height width"]:
        """Return the convolution of the shifted features."""
        fold = x.shape[1] // SHIFTED_SHARE
        shifted = torch.zeros_like(x)
        shifted[:, :fold, :-1] = x[:, :fold, 1:]
        shifted[:, fold : 2 * fold, 1:] = x[:, fold : 2 * fold, :-1]
        shifted[:, 2 * fold :] = x[:, 2 * fold :]
        return super().forward(shifted)


class Affine(nn.Module):
    """A batch normalization whose statistics have been worked into its gain and bias."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(
        self, x: Float[Tensor, "batch channels frames height width"]
    ) -> Float[Tensor, "batch channels frames height width"]:
        """Return weight * x + bias, channel by channel."""
        sides = (-1, *(1,) * (x.ndim - 2))
        return x * self.weight.view(sides) + self.bias.view(sides)
