"""The input that a network is given for an image or a clip: the same one, whoever looks at it."""

from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from jaxtyping import Float, Shaped, UInt8
from torch import Tensor, nn

from nonlocal_lens.analysis.clips import Clip, ClipSource, is_clip, read_clip
from nonlocal_lens.analysis.images import ImageSource, check_size, read_image
from nonlocal_lens.models.foreign_preprocess import foreign_preprocess
from nonlocal_lens.models.placement import placed
from nonlocal_lens.models.preprocess import ClipPreprocess, Preprocess
from nonlocal_lens.models.wrappers import unwrapped


def prepared(
    network: nn.Module, image: ImageSource | ClipSource
) -> tuple[UInt8[np.ndarray, "*frames height width 3"], Float[Tensor, "1 channels *grid"]]:
    """Return the pixels of an image or a clip, and the input that a network makes of them.

    The input is on the network's device, in the type of its numbers, and has its channels. A batch
    of one image is that image. A network that takes neither one channel nor three gets arrays of
    its own channels: uint8 (height, width, channels) or floats in [0, 1] (channels, height, width),
    of which the pixels are the first three.

    Args:
        network: A network, or a wrapper that `models.wrappers` knows.
        image: See `analysis.images.read_image` and `analysis.clips.read_clip`.

    Raises:
        ValueError: The image or clip cannot be used, it is a clip and the network looks at images,
            or the network is quantized.
    """
    inner = unwrapped(network)
    preprocess = preprocess_of(inner)
    if isinstance(preprocess, ClipPreprocess):
        frames = frames_of(_alone(image, 5))
        return frames, placed(inner, preprocess(frames))
    image = _alone(image, 4)
    if is_clip(image):
        raise ValueError(
            f"{type(inner).__name__} looks at single images and this is a clip: "
            "nonlocal_lens.analysis.capture.capture_frames runs it on every frame"
        )
    channels = getattr(preprocess, "channels", 3)
    if channels in (1, 3):
        pixels = read_image(cast(ImageSource, _colored(image) if channels == 1 else image))
        return pixels, placed(inner, preprocess(pixels))
    values = _channels_of(image, channels, inner)
    shown = values[..., :3] if channels > 3 else np.repeat(values[..., :1], 3, axis=2)
    return np.ascontiguousarray(shown), placed(inner, preprocess(values))


def preprocess_of(network: nn.Module) -> Preprocess | ClipPreprocess:
    """Return how pixels become a network's input: as it says, else as its library does."""
    network = unwrapped(network)
    own: Preprocess | ClipPreprocess | None = getattr(network, "preprocess", None)
    if own is not None:
        return own
    found = foreign_preprocess(network)
    if any(isinstance(module, nn.Conv3d) for module in network.modules()):
        return ClipPreprocess(found, frames=32)
    return found


def decisions_of(network: nn.Module) -> tuple[str, ...]:
    """Return what is assumed of a network that neither its weights nor its library tell.

    Decisions that were made when it was loaded come first, those on its input afterwards.
    """
    network = unwrapped(network)
    loaded = tuple(getattr(network, "decisions", ()))
    of_input = getattr(preprocess_of(network), "decisions", ())
    return (*loaded, *(decision for decision in of_input if decision not in loaded))


def takes_clips(network: nn.Module) -> bool:
    """Return whether a network looks at clips: as its `preprocess` says, else by its layers."""
    return isinstance(preprocess_of(network), ClipPreprocess)


def frames_of(source: ImageSource | ClipSource) -> UInt8[np.ndarray, "frames height width 3"]:
    """Return the frames of a clip; an image is a clip of one."""
    if isinstance(source, Clip):
        return source.frames
    if is_clip(source) or isinstance(source, str | Path | bytes):
        return read_clip(cast(ClipSource, source)).frames
    return read_image(cast(ImageSource, source))[None]


def _alone(source: Any, sides: int) -> Any:
    """Return what a batch of one holds, if arrays with so many sides are batches."""
    if isinstance(source, np.ndarray | Tensor) and source.ndim == sides and len(source) == 1:
        return source[0]
    return source


def _colored(source: Any) -> Any:
    """Return an array of one channel as `read_image` takes it; anything else as it is."""
    if isinstance(source, Tensor) and source.ndim == 3 and source.shape[0] == 1:
        return source.expand(3, -1, -1)
    if isinstance(source, np.ndarray) and source.ndim == 3 and source.shape[2] == 1:
        return source[..., 0]
    return source


def _channels_of(
    source: Any, channels: int, network: nn.Module
) -> UInt8[np.ndarray, "height width channels"]:
    """Return the values of an array with as many channels as a network takes.

    Raises:
        ValueError: It is something else.
    """
    values: Shaped[Any, "height width channels"] = source
    if isinstance(source, Tensor) and source.ndim == 3:
        values = source.detach().cpu().movedim(0, -1)
        if values.is_floating_point() and 0 <= values.min() <= values.max() <= 1:
            values = (values * 255).round().to(torch.uint8)
        values = values.numpy()
    if (
        not isinstance(values, np.ndarray)
        or values.dtype != np.uint8
        or values.ndim != 3
        or values.shape[2] != channels
    ):
        given = getattr(source, "shape", None)
        raise ValueError(
            f"{type(network).__name__} takes {channels} channels: it must be given a uint8 array "
            f"(height, width, {channels}) or a tensor ({channels}, height, width) with values in "
            f"[0, 1]; got {type(source).__name__}" + (f" of {tuple(given)}" if given else "")
        )
    check_size(values.shape[1], values.shape[0])
    return values
