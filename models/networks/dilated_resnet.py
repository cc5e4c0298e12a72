"""A compact residual backbone whose cells tile the image exactly.

Every reduction by 2 uses an even window (4 x 4 or 2 x 2), so that cell (r, c) of the output is
centered on the 8 x 8 pixels it stands for. With the usual odd windows it would be centered on their
corner, and every map drawn from the features would sit half a cell too far down and right.
"""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F


def conv_bn_relu(
    cin: int, cout: int, kernel: int, *, stride: int = 1, dilation: int = 1
) -> nn.Sequential:
    """Return convolution, batch normalization and ReLU that keep the size divided by `stride`."""
    padding = dilation * (kernel - 1) // 2
    return nn.Sequential(
        nn.Conv2d(cin, cout, kernel, stride, padding, dilation, bias=False),
        nn.BatchNorm2d(cout),
        nn.ReLU(inplace=True),
    )


class BasicBlock(nn.Module):
    """Two convolutions and a shortcut (He et al., CVPR 2016)."""

    def __init__(self, cin: int, cout: int, *, stride: int = 1, dilation: int = 1) -> None:
        super().__init__()
        kernel = 3 if stride == 1 else 4
        self.conv1 = conv_bn_relu(cin, cout, kernel, stride=stride, dilation=dilation)
        self.conv2 = nn.Conv2d(cout, cout, 3, padding=dilation, dilation=dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(cout)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or cin != cout:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride) if stride > 1 else nn.Identity(),
                nn.Conv2d(cin, cout, 1, bias=False),
                nn.BatchNorm2d(cout),
            )

    def forward(
        self, x: Float[Tensor, "batch cin height width"]
    ) -> Float[Tensor, "batch cout rows cols"]:
        """Return ReLU(shortcut + convolutions)."""
        return F.relu(self.bn2(self.conv2(self.conv1(x))) + self.shortcut(x))


class DilatedResNet(nn.Module):
    """Residual network at output stride 8.

    Args:
        widths: Channels of the four stages, at strides 4, 8, 8 and 8.
        depths: Basic blocks in each stage.
        dilations: Dilation of each stage's convolutions; without any, a feature sees less of the
            image and more is left to the attention.
    """

    stride = 8

    def __init__(
        self,
        widths: tuple[int, int, int, int] = (32, 64, 128, 128),
        depths: tuple[int, int, int, int] = (2, 2, 2, 2),
        dilations: tuple[int, int, int, int] = (1, 1, 2, 4),
    ) -> None:
        super().__init__()
        self.channels = widths[-1]
        self.stem = nn.Sequential(
            conv_bn_relu(3, widths[0], 4, stride=2), conv_bn_relu(widths[0], widths[0], 4, stride=2)
        )
        stages, cin = [], widths[0]
        for width, depth, stride, dilation in zip(
            widths, depths, (1, 2, 1, 1), dilations, strict=True
        ):
            blocks = [BasicBlock(cin, width, stride=stride, dilation=dilation)]
            blocks += [BasicBlock(width, width, dilation=dilation) for _ in range(depth - 1)]
            stages.append(nn.Sequential(*blocks))
            cin = width
        self.detail_channels = widths[0]
        self.detail_stage = stages[0]
        self.stages = nn.Sequential(*stages[1:])

    def forward(
        self, x: Float[Tensor, "batch 3 height width"]
    ) -> tuple[
        Float[Tensor, "batch channels rows cols"], Float[Tensor, "batch detail rows2 cols2"]
    ]:
        """Return the features at stride 8, and the first stage's at stride 4 for fine detail."""
        detail = self.detail_stage(self.stem(x))
        return self.stages(detail), detail
