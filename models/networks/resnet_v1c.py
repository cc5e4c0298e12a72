"""The dilated residual backbone of the published segmentation networks."""

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

STRIDES_AND_DILATIONS = {8: ((1, 2, 1, 1), (1, 1, 2, 4)), 16: ((1, 2, 2, 1), (1, 1, 1, 2))}
"""By the stride of the whole, those of the four stages."""

EXPANSION = 4
"""Output channels of a bottleneck for one in its middle."""


class ResNetV1c(nn.Module):
    """ResNet-D8 whose stem is three 3 x 3 convolutions: `ResNetV1c` of mmsegmentation.

    At output stride 8 the last two stages dilate instead of striding, at 16 the last one, and the
    first residual block of a dilated stage dilates by half (`contract_dilation`). Residual blocks
    are torchvision's, with the stride in the 3 x 3 convolution ("pytorch" style). Parameters have
    the published names.

    All windows that stride are odd, so that at stride 8 cell (r, c) is centered on pixel
    (8 r, 8 c), not on the middle of the 8 x 8 pixels that a grid over the image gives it: half a
    cell apart.

    Args:
        stem: Channels of the three convolutions of the stem; published networks have 32, 32, 64.
        widths: Channels of each stage's 3 x 3 convolutions; published networks have 64 to 512.
        depths: Residual blocks in each stage; (3, 4, 6, 3) is ResNet-50, (3, 4, 23, 3) ResNet-101.
        bottleneck: Whether residual blocks are bottlenecks, four times as wide at their ends.
        stride: Pixels along either side of a cell of the output, 8 or 16.
    """

    def __init__(
        self,
        stem: Sequence[int],
        widths: Sequence[int],
        depths: Sequence[int],
        *,
        bottleneck: bool,
        stride: int = 8,
    ) -> None:
        super().__init__()
        if stride not in STRIDES_AND_DILATIONS:
            raise ValueError(f"the output stride must be 8 or 16, got {stride}")
        self.stride = stride
        strides, dilations = STRIDES_AND_DILATIONS[stride]
        layers: list[nn.Module] = []
        cin = 3
        for cout, step in zip(stem, (2, 1, 1), strict=True):
            layers += [nn.Conv2d(cin, cout, 3, step, 1, bias=False), nn.BatchNorm2d(cout)]
            layers += [nn.ReLU(inplace=True)]
            cin = cout
        self.stem = nn.Sequential(*layers)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        expansion = EXPANSION if bottleneck else 1
        for stage, (width, depth) in enumerate(zip(widths, depths, strict=True)):
            step, dilation = strides[stage], dilations[stage]
            cout = width * expansion
            blocks = [
                residual_block(
                    cin if index == 0 else cout,
                    width,
                    stride=step if index == 0 else 1,
                    dilation=max(1, dilation // 2) if index == 0 else dilation,
                    bottleneck=bottleneck,
                )
                for index in range(depth)
            ]
            self.add_module(f"layer{stage + 1}", nn.Sequential(*blocks))
            cin = cout
        self.channels = cin

    def forward(
        self, x: Float[Tensor, "batch 3 height width"]
    ) -> tuple[Float[Tensor, "batch channels rows cols"]]:
        """Return the last stage's features, ceil(side / stride) cells along every side."""
        x = self.maxpool(self.stem(x))
        for stage in range(1, 5):
            x = self.get_submodule(f"layer{stage}")(x)
        return (x,)


def residual_block(
    cin: int, width: int, *, stride: int, dilation: int, bottleneck: bool
) -> nn.Module:
    """Return a residual block, with a projected shortcut where shape or size change."""
    from torchvision.models.resnet import BasicBlock, Bottleneck  # late: it takes seconds

    cout = width * (EXPANSION if bottleneck else 1)
    shortcut = None
    if stride > 1 or cin != cout:
        shortcut = nn.Sequential(nn.Conv2d(cin, cout, 1, stride, bias=False), nn.BatchNorm2d(cout))
    if bottleneck:
        block: nn.Module = Bottleneck(cin, width, stride, shortcut, dilation=dilation)
        return block
    basic = BasicBlock(cin, width, stride, shortcut)  # torchvision's takes no dilation
    basic.conv1.dilation = basic.conv1.padding = (dilation, dilation)
    plain: nn.Module = basic
    return plain
