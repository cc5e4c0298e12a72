"""A family of networks: how a small member of it is built, and what it is given."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Literal

import torch
from torch import Tensor, nn

Kind = Literal["image", "video", "image and text", "text to image", "text to video"]


@dataclass(frozen=True)
class Member:
    """A network and its input; the picture in it is the first entry."""

    network: nn.Module
    inputs: Mapping[str, Any]  # by name; a name that is empty is given by position
    time_axis: int | None = None  # of the first input, where that is a clip
    reference: nn.Module | None = None  # computes the same, written out; the network itself if None

    @property
    def picture(self) -> Tensor:
        """The picture or clip."""
        first: Tensor = next(iter(self.inputs.values()))
        return first

    def showing(self, picture: Tensor) -> "Member":
        """Return the same network, given another picture."""
        first = next(iter(self.inputs))
        return replace(self, inputs={**self.inputs, first: picture})

    @property
    def plainly(self) -> "Member":
        """The same, computed as the reference does."""
        return self if self.reference is None else replace(self, network=self.reference)

    def __call__(self) -> Any:
        """Run the network."""
        by_name = {name: value for name, value in self.inputs.items() if not name.isdecimal()}
        by_place = [value for name, value in self.inputs.items() if name.isdecimal()]
        torch.manual_seed(0)  # some draw which patches they drop
        return self.network(*by_place, **by_name)


@dataclass(frozen=True)
class Family:
    """Networks of one kind: one small member stands for all."""

    name: str  # as in `timm:swin_tiny_patch4_window7_224`
    build: Callable[[], Member] = field(repr=False)
    kind: Kind = "image"

    @property
    def library(self) -> str:
        """The package that it is of."""
        return LIBRARIES[self.name.partition(":")[0]]

    @property
    def version(self) -> str | None:
        """Version of that package; None if it is not installed."""
        try:
            return version(self.library)
        except PackageNotFoundError:
            return None


LIBRARIES = {
    "timm": "timm",
    "torchvision": "torchvision",
    "hf": "transformers",
    "diffusers": "diffusers",
    "own": "nonlocal-lens",
}
"""Prefix of a name -> the package that is to be installed for it."""


def noise(*shape: int, seed: int = 1) -> Tensor:
    """Return random pixels, or other random numbers."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def awake(network: nn.Module, seed: int = 0) -> nn.Module:
    """Draw every parameter anew: those that begin at 0 too, and so that attention is no mean.

    Matrices keep the length of what goes through them; scales of norms lie about 1.
    """
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            if not parameter.is_floating_point():
                continue
            drawn = torch.randn(parameter.shape, generator=generator)
            if parameter.ndim > 1:
                parameter.copy_(drawn / max(parameter[0].numel(), 1) ** 0.5)
            elif bool((parameter == 1).all()):
                parameter.copy_(1 + drawn / 8)
            else:
                parameter.add_(drawn / 8)
    return network.eval().requires_grad_(False)


def calibrated(member: Member) -> Member:
    """Let batch norms take their statistics from a run, or numbers grow from layer to layer."""
    kind = nn.modules.batchnorm._BatchNorm
    norms = [module for module in member.network.modules() if isinstance(module, kind)]
    hooks = [norm.register_forward_pre_hook(_measure) for norm in norms]
    with torch.no_grad():
        if norms:
            member()
    for hook in hooks:
        hook.remove()
    member.network.eval()
    return member


def _measure(norm: Any, args: tuple[Tensor, ...]) -> None:
    norm.momentum = 1.0
    norm.training = args[0].numel() > args[0].shape[1]
