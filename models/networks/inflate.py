"""Residual networks for clips, made of torchvision's networks for images.

The baselines of Wang et al. 2018, section 3.2: C2D looks at every frame by itself and joins frames
by pooling alone; I3D (Carreira and Zisserman, CVPR 2017) widens kernels along time, which is the
alternative that the non-local block is compared with.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any, Literal, TypeVar, get_args

import torch
from torch import nn

from nonlocal_lens.models.networks.insert import residual_blocks

Kernel = Literal["1x1x1", "3x1x1", "3x3x3"]
Inflated = TypeVar("Inflated", bound=nn.Module)

KERNELS: tuple[Kernel, ...] = get_args(Kernel)

FIRST_FRAMES = 5  # frames that the first convolution spans where any spans more than one


def inflate(network: Inflated, kernel: Kernel = "1x1x1") -> Inflated:
    """Return a network for clips (B, 3, T, H, W) with the weights of a network for images.

    A kernel that spans t frames holds the image network's, divided by t, in each, so that a clip
    whose frames are equal is scored like the one image, up to zeros beyond its first and last
    frame; C2D scores it exactly so. Time is halved by the first convolution, by the pooling after
    it, and by another pooling after the stage `layer1`; time is pooled nowhere else, as in the
    paper's Table 1.

    Args:
        network: A ResNet with bottlenecks, such as `torchvision.models.resnet50()`; it is not
            changed.
        kernel: "1x1x1" is C2D. In every other residual block, "3x1x1" widens the first convolution
            and "3x3x3" the middle one.

    Raises:
        ValueError: The kernel is unknown, or the residual blocks are no bottlenecks.
    """
    from torchvision.models.resnet import Bottleneck  # late: it takes seconds

    if kernel not in KERNELS:
        raise ValueError(f"unknown kernel {kernel!r}; available: {', '.join(KERNELS)}")
    residuals = residual_blocks(network)
    if not all(isinstance(residual, Bottleneck) for residual in residuals.values()):
        raise ValueError("the network must be made of bottlenecks, as ResNet-50 is")
    frames = {}
    if kernel != "1x1x1":
        widened = "conv1" if kernel == "3x1x1" else "conv2"
        every_other = [name for name in residuals if int(name.rpartition(".")[2]) % 2 == 0]
        frames = {f"{name}.{widened}": 3 for name in every_other} | {"conv1": FIRST_FRAMES}

    inflated: Any = deepcopy(network)
    inflate_layers(inflated, frames)
    inflated.conv1.stride = (2, *inflated.conv1.stride[1:])
    inflated.maxpool = nn.MaxPool3d(3, stride=2, padding=1)
    inflated.layer1.add_module("pool", nn.MaxPool3d((3, 1, 1), (2, 1, 1), (1, 0, 0)))
    inflated.avgpool = nn.AdaptiveAvgPool3d(1)
    made: Inflated = inflated
    return made


def inflate_layers(network: nn.Module, frames: Mapping[str, int]) -> None:
    """Turn every 2D convolution and batch normalization into its 3D kind, in place.

    Args:
        network: Any module whose `forward` does not mind one side more.
        frames: How many frames the kernel of a convolution spans, by name; 1 where not given.
    """
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.Conv2d):
            network.set_submodule(name, _conv3d(module, frames.get(name, 1)))
        elif isinstance(module, nn.BatchNorm2d):
            network.set_submodule(name, _batch_norm3d(module))


def _conv3d(conv: nn.Conv2d, frames: int) -> nn.Conv3d:
    height, width = conv.kernel_size
    inflated = nn.Conv3d(
        conv.in_channels,
        conv.out_channels,
        (frames, height, width),
        stride=(1, conv.stride[0], conv.stride[1]),
        padding=(frames // 2, int(conv.padding[0]), int(conv.padding[1])),
        dilation=(1, conv.dilation[0], conv.dilation[1]),
        groups=conv.groups,
        bias=False,
        device=conv.weight.device,
        dtype=conv.weight.dtype,
    )
    with torch.no_grad():  # torchvision's convolutions have no bias
        inflated.weight.copy_(conv.weight.unsqueeze(2).expand_as(inflated.weight) / frames)
    return inflated


def _batch_norm3d(norm: nn.BatchNorm2d) -> nn.BatchNorm3d:
    inflated = nn.BatchNorm3d(norm.num_features, norm.eps, norm.momentum).to(norm.weight)
    inflated.load_state_dict(norm.state_dict())
    return inflated.train(norm.training)
