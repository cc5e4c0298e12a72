"""From an image to a network's input, and what that does to its size."""

from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

Interpolation = Literal["nearest-exact", "bilinear", "bicubic"]

LUMA = (0.299, 0.587, 0.114)
"""What red, green and blue weigh in a gray value (ITU-R BT.601); their sum is 1."""


@dataclass(frozen=True)
class Preprocess:
    """How an image becomes a network's input: resized, scaled to [0, 1], normalized.

    The image keeps its aspect ratio up to the rounding of both sides to multiples of `stride`, so
    that feature cells tile it without a remainder. Sides are (height, width), in pixels.

    Attributes:
        mean: Of every channel, after scaling; as many as the network takes. With one channel,
            colors become gray, and gray keeps its values.
        std: Deviation of every channel, after scaling.
        stride: Of both sides.
        long_side: Images outside this range are enlarged or reduced to it.
        scale: What 8-bit values are multiplied by.
        interpolation: How pixels are resized.
        decisions: What was assumed where the network does not tell, in sentences.
    """

    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    stride: int = 8
    long_side: tuple[int, int] = (256, 512)
    scale: float = 1 / 255
    interpolation: Interpolation = "bilinear"
    decisions: tuple[str, ...] = field(default=(), compare=False)

    @property
    def channels(self) -> int:
        """How many channels the network takes."""
        return len(self.mean)

    def input_hw(self, original_hw: tuple[int, int]) -> tuple[int, int]:
        """Return the size at which the network sees an image of size `original_hw`."""
        longest = max(original_hw)
        factor = min(max(longest, self.long_side[0]), self.long_side[1]) / longest

        def rounded(side: int) -> int:
            return max(1, round(side * factor / self.stride)) * self.stride

        return rounded(original_hw[0]), rounded(original_hw[1])

    def normalize(
        self, images: UInt8[Tensor, "batch image_channels height width"]
    ) -> Float[Tensor, "batch channels height width"]:
        """Return 8-bit images, RGB or of the network's own channels, as normalized floats."""
        # to divide by 255 and to multiply by its inverse are not the same to the last bit
        values = images.float() / 255 if self.scale == 1 / 255 else images.float() * self.scale
        if self.channels == 1 and images.shape[1] == 3:
            values = _gray(values)
        mean, std = (
            torch.tensor(one, dtype=values.dtype, device=values.device).view(-1, 1, 1)
            for one in (self.mean, self.std)
        )
        return values.sub(mean).div_(std)

    def __call__(
        self, image: UInt8[np.ndarray, "height width image_channels"]
    ) -> Float[Tensor, "1 channels rows cols"]:
        """Return the network's input for one image, RGB or of the network's own channels."""
        images = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).unsqueeze(0)
        input_hw = self.input_hw((image.shape[0], image.shape[1]))
        if input_hw != tuple(images.shape[2:]):
            images = resized(images, input_hw, self.interpolation)
        return self.normalize(images)


def resized(
    images: UInt8[Tensor, "1 channels height width"], hw: tuple[int, int], how: Interpolation
) -> UInt8[Tensor, "1 channels rows cols"]:
    """Return an image at another size: what torchvision's `resize` with antialiasing makes of it.

    It is not asked, because importing it takes longer than everything else that analysis needs.
    """
    smooth = how != "nearest-exact"
    scaled = F.interpolate(
        images, hw, mode=how, align_corners=False if smooth else None, antialias=smooth
    )
    return scaled.contiguous(memory_format=torch.channels_last)


@dataclass(frozen=True)
class FixedSize(Preprocess):
    """Preprocessing for networks that take one size only: images are stretched to it."""

    size: tuple[int, int] = (224, 224)  # height and width

    def input_hw(self, original_hw: tuple[int, int]) -> tuple[int, int]:
        """Return the one size."""
        return self.size


@dataclass(frozen=True)
class ClipPreprocess:
    """How the frames of a clip become a video network's input: each as an image, then stacked.

    Attributes:
        frame: What is done to every frame.
        frames: How many frames the network was trained on; a clip of another length may be given.
    """

    frame: Preprocess
    frames: int

    @property
    def decisions(self) -> tuple[str, ...]:
        """What was assumed where the network does not tell, in sentences."""
        return self.frame.decisions

    def normalize(
        self, clips: UInt8[Tensor, "batch 3 frames height width"]
    ) -> Float[Tensor, "batch channels frames height width"]:
        """Return 8-bit RGB clips as floats of about zero mean and unit variance."""
        images = clips.transpose(1, 2).flatten(0, 1)
        frames_first: Tensor = (
            self.frame.normalize(images).unflatten(0, (len(clips), -1)).transpose(1, 2)
        )
        return frames_first

    def __call__(
        self, clip: UInt8[np.ndarray, "frames height width 3"]
    ) -> Float[Tensor, "1 channels frames rows cols"]:
        """Return the network's input for one clip of RGB frames.

        Raises:
            ValueError: It is no clip.
        """
        if clip.ndim != 4:
            raise ValueError(f"a clip must be (frames, height, width, 3), got {clip.shape}")
        return torch.cat([self.frame(image) for image in clip]).transpose(0, 1).unsqueeze(0)


def _gray(rgb: Float[Tensor, "batch 3 height width"]) -> Float[Tensor, "batch 1 height width"]:
    """Return the luma of colors; where all three are equal, their value to the last bit."""
    red, green, blue = rgb.unbind(dim=1)
    luma = LUMA[0] * red + LUMA[1] * green + LUMA[2] * blue
    return torch.where((red == green) & (green == blue), red, luma).unsqueeze(1)
