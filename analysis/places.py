"""Where the cells of a network's features lie on its input: measured while it runs.

A convolution or pooling of odd windows with a padding of half a window, the usual kind, centers
its first output on the first pixel, and not on the middle of the pixels that it steps over. So the
features of a ResNet at stride 8 sit 3.5 pixels above and to the left of the middles of 8 x 8 tiles.
"""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from torch import Tensor, nn

LAYERS = (nn.Conv2d, nn.Conv3d, nn.MaxPool2d, nn.MaxPool3d, nn.AvgPool2d, nn.AvgPool3d)

Size = tuple[int, int]  # rows and columns


class Axis(NamedTuple):
    """Centers of the cells along one side: `first`, `first + step` and so on, in input pixels."""

    step: float
    first: float


@dataclass
class Places:
    """Where cells lie, by how many there are: features of one size are taken to lie alike.

    That holds in networks that only reduce their input, whichever way branches take, and where they
    enlarge features to a size that was there before. Sizes that no layer of `LAYERS` made (but a
    function, say) are unknown, and their cells are taken to tile the image. What attention blocks
    make of their input, their keys say, need not lie as the features of that size do: that counts
    until a layer outside of blocks tells.
    """

    input_hw: Size = (1, 1)
    axes: dict[Size, tuple[Axis, Axis]] = field(default_factory=dict)
    of_blocks: set[Size] = field(default_factory=set)  # sizes that only layers of blocks told of

    def begin(self, input_hw: Size) -> None:
        """Forget all but where the pixels of the input lie."""
        self.input_hw = input_hw
        self.axes = {input_hw: (Axis(1.0, 0.5), Axis(1.0, 0.5))}
        self.of_blocks = set()

    def note(
        self,
        layer: nn.Module,
        args: tuple[Tensor, ...],
        output: Tensor,
        *,
        inside_block: bool = False,
    ) -> None:
        """Learn from one call of a layer; a forward hook."""
        before, after = (_size(x) for x in (args[0] if args else output, output))
        known = after in self.axes and (inside_block or after not in self.of_blocks)
        if before not in self.axes or known:
            return
        (self.of_blocks.add if inside_block else self.of_blocks.discard)(after)
        kernel, stride, dilation, padding = (
            _pair(getattr(layer, name, 1))
            for name in ("kernel_size", "stride", "dilation", "padding")
        )
        rows, columns = (
            Axis(axis.step * stride[side], axis.first + axis.step * (reach - padding[side]))
            for side, axis in enumerate(self.axes[before])
            for reach in [dilation[side] * (kernel[side] - 1) / 2]
        )
        self.axes[after] = rows, columns

    def offset(self, size: Size, image_hw: Size) -> tuple[float, float]:
        """Return how far the middle of cells lies from the image's, down and across, in its pixels.

        Args:
            size: Rows and columns of the cells.
            image_hw: Height and width of the image, of which the input was made by resizing.
        """
        if size not in self.axes:
            return 0.0, 0.0
        down, across = (
            (axis.first + axis.step * (count - 1) / 2 - side / 2) * pixels / side
            for axis, count, side, pixels in zip(
                self.axes[size], size, self.input_hw, image_hw, strict=True
            )
        )
        return down, across


def _size(x: Tensor) -> Size:
    return x.shape[-2], x.shape[-1]


def _pair(value: Any) -> tuple[int, int]:
    """Return a layer's argument along rows and columns.

    A padding in words is either none, or makes an output as large as the input, which is no news.
    """
    if isinstance(value, str):
        return 0, 0
    return (value[-2], value[-1]) if isinstance(value, tuple | list) else (value, value)
