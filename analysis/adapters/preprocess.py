"""How an image becomes the input of a network that does not say so in this package's way."""

from dataclasses import dataclass

from torch import nn

from models.preprocess import Preprocess


@dataclass(frozen=True)
class FixedSize(Preprocess):
    """Preprocessing for networks that take one size only: images are stretched to it."""

    size: tuple[int, int] = (224, 224)  # height and width

    def input_hw(self, original_hw: tuple[int, int]) -> tuple[int, int]:
        """Return the one size."""
        return self.size


def foreign_preprocess(network: nn.Module) -> Preprocess:
    """Return what a network's attributes tell: size, mean and deviation; else ImageNet's.

    Read are `image_size` (torchvision), `patch_embed.img_size` and `pretrained_cfg` (timm), and
    `config.image_size` (Hugging Face, whose mean and deviation are not in the model: where they are
    not ImageNet's, set `network.preprocess`).
    """
    size = getattr(network, "image_size", None)
    size = size or getattr(getattr(network, "patch_embed", None), "img_size", None)
    size = size or getattr(getattr(network, "config", None), "image_size", None)
    published = getattr(network, "pretrained_cfg", None) or {}
    if size is None and published.get("fixed_input_size"):
        size = tuple(published["input_size"][-2:])  # after the number of channels
    mean = tuple(published.get("mean") or Preprocess.mean)
    std = tuple(published.get("std") or Preprocess.std)
    if isinstance(size, int):
        size = (size, size)
    if not isinstance(size, tuple | list) or len(size) != 2:
        return Preprocess(mean=mean, std=std)
    return FixedSize(mean=mean, std=std, size=(int(size[0]), int(size[1])))
