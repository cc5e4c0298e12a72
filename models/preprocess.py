"""From an image to a network's input, and what that does to its size."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor


@dataclass(frozen=True)
class Preprocess:
    """How an image becomes a network's input: resized, scaled to [0, 1], normalized.

    The image keeps its aspect ratio up to the rounding of both sides to multiples of `stride`, so
    that feature cells tile it without a remainder. Sides are (height, width), in pixels.
    """

    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    std: tuple[float, float, float] = (0.229, 0.224, 0.225)
    stride: int = 8
    long_side: tuple[int, int] = (
        256,
        512,
    )  # images outside this range are enlarged or reduced to it

    def input_hw(self, original_hw: tuple[int, int]) -> tuple[int, int]:
        """Return the size at which the network sees an image of size `original_hw`."""
        longest = max(original_hw)
        factor = min(max(longest, self.long_side[0]), self.long_side[1]) / longest

        def rounded(side: int) -> int:
            return max(1, round(side * factor / self.stride)) * self.stride

        return rounded(original_hw[0]), rounded(original_hw[1])

    def normalize(
        self, images: UInt8[Tensor, "batch 3 height width"]
    ) -> Float[Tensor, "batch 3 height width"]:
        """Return 8-bit RGB images as floats of about zero mean and unit variance."""
        from torchvision.transforms.v2 import functional as TF  # see __call__

        normalized: Tensor = TF.normalize(images.float() / 255, list(self.mean), list(self.std))
        return normalized

    def __call__(
        self, image: UInt8[np.ndarray, "height width 3"]
    ) -> Float[Tensor, "1 channels rows cols"]:
        """Return the network's input for one RGB image."""
        # here, because importing torchvision takes longer than everything else that analysis needs
        from torchvision.transforms.v2 import functional as TF

        images = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).unsqueeze(0)
        input_hw = self.input_hw((image.shape[0], image.shape[1]))
        if input_hw != tuple(images.shape[2:]):
            images = TF.resize(images, list(input_hw), antialias=True)
        return self.normalize(images)


@dataclass(frozen=True)
class ClipPreprocess:
    """How the frames of a clip become a video network's input: each as an image, then stacked.

    Attributes:
        frame: What is done to every frame.
        frames: How many frames the network was trained on; a clip of another length may be given.
    """

    frame: Preprocess
    frames: int

    def normalize(
        self, clips: UInt8[Tensor, "batch 3 frames height width"]
    ) -> Float[Tensor, "batch 3 frames height width"]:
        """Return 8-bit RGB clips as floats of about zero mean and unit variance."""
        images = clips.transpose(1, 2).flatten(0, 1)
        frames_first: Tensor = (
            self.frame.normalize(images).unflatten(0, (len(clips), -1)).transpose(1, 2)
        )
        return frames_first

    def __call__(
        self, clip: UInt8[np.ndarray, "frames height width 3"]
    ) -> Float[Tensor, "1 3 frames rows cols"]:
        """Return the network's input for one clip of RGB frames.

        Raises:
            ValueError: It is no clip.
        """
        if clip.ndim != 4:
            raise ValueError(f"a clip must be (frames, height, width, 3), got {clip.shape}")
        return torch.cat([self.frame(image) for image in clip]).transpose(0, 1).unsqueeze(0)
