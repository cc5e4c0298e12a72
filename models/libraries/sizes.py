"""Pictures in another size than the one that a library's network was trained on: `size=448`."""

import re
from dataclasses import replace
from inspect import signature
from typing import Any

from torch import Tensor, nn

from nonlocal_lens.models.libraries import LibraryName
from nonlocal_lens.models.preprocess import ClipPreprocess, FixedSize, Preprocess

Size = tuple[int, int]
"""Height and width, in pixels."""

MOST = 4096


def take_size(named: LibraryName, options: dict[str, Any]) -> Size | None:
    """Return the size that options ask for, N or HxW, and take it from them.

    Raises:
        ValueError: It is no size.
    """
    asked = options.pop("size", None)
    if asked is None:
        return None
    sides = re.fullmatch(r"([0-9]+)(?:x([0-9]+))?", str(asked))
    size = (int(sides[1]), int(sides[2] or sides[1])) if sides else (0, 0)
    if not all(1 <= side <= MOST for side in size):
        raise ValueError(
            f"{named}: size must be N or HxW in pixels, at most {MOST}, got {str(asked)[:40]!r}"
        )
    return size


def with_size(preprocess: Preprocess | ClipPreprocess, size: Size) -> Preprocess | ClipPreprocess:
    """Return a preprocessing that stretches pictures to a size, and says so."""
    if isinstance(preprocess, ClipPreprocess):
        frame = with_size(preprocess.frame, size)
        assert isinstance(frame, Preprocess)
        return replace(preprocess, frame=frame)
    said = f"pictures are stretched to {size[0]} x {size[1]} pixels, as size asks"
    before = [one for one in preprocess.decisions if not one.startswith("pictures are stretched")]
    return FixedSize(
        preprocess.mean,
        preprocess.std,
        scale=preprocess.scale,
        interpolation=preprocess.interpolation,
        decisions=(*before, said),
        size=size,
    )


def interpolating(network: nn.Module) -> None:
    """Let a network of transformers stretch its position embeddings to the picture it is given."""
    if "interpolate_pos_encoding" in signature(network.forward).parameters:
        network.register_forward_pre_hook(_interpolate, with_kwargs=True)


def _interpolate(
    _network: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    return args, {"interpolate_pos_encoding": True, **kwargs}


def stretched(state: dict[str, Tensor], network: nn.Module, size: Size) -> dict[str, Tensor]:
    """Return weights of torchvision's transformer with position embeddings for another size."""
    from torchvision.models.vision_transformer import VisionTransformer, interpolate_embeddings

    if not isinstance(network, VisionTransformer):
        return state
    weights: dict[str, Tensor] = interpolate_embeddings(size[0], network.patch_size, state)
    return weights
