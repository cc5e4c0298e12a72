"""Another image, to attend as a network does in it: of the same size, so that places are alike."""

from functools import lru_cache
from typing import Any, cast

import cv2
import numpy as np
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from nonlocal_lens.analysis.clips import ClipSource, is_clip
from nonlocal_lens.analysis.images import ImageSource, read_image
from nonlocal_lens.analysis.prepared import frames_of, prepared, preprocess_of
from nonlocal_lens.models.preprocess import ClipPreprocess
from nonlocal_lens.models.wrappers import unwrapped
from nonlocal_lens.streets import render_clip, render_scene, split_seeds

SEED = split_seeds("test", 1)[0]
"""Of the rendered street that is the other image where none is given."""


def prepared_another(
    network: nn.Module,
    pixels: UInt8[np.ndarray, "*frames height width 3"],
    another: ImageSource | ClipSource | None = None,
) -> Float[Tensor, "1 channels *grid"] | None:
    """Return the input that a network makes of another image, scaled to the size of this one.

    Args:
        network: As for `analysis.prepared.prepared`.
        pixels: This image or clip, as `prepared` returns it.
        another: Another image or clip; a rendered street if None. A clip is brought to as many
            frames as this one has.

    Returns:
        None where none is given and the network does not look at colors, as streets have them.

    Raises:
        ValueError: The image or clip cannot be used.
    """
    preprocess = preprocess_of(unwrapped(network))
    if isinstance(preprocess, ClipPreprocess):
        frames = _street_clip(len(pixels)) if another is None else frames_of(another)
        nearest = np.linspace(0, len(frames) - 1, len(pixels)).round().astype(int)
        scaled = [_scaled(frame, pixels.shape[1:3]) for frame in frames[nearest]]
        return prepared(network, np.stack(scaled))[1]
    if getattr(preprocess, "channels", 3) not in (1, 3):
        return None if another is None else prepared(network, cast(Any, another))[1]
    if another is not None and is_clip(another):
        raise ValueError("the other image must be an image as the first one is, not a clip")
    image = _street() if another is None else read_image(cast(ImageSource, another))
    return prepared(network, _scaled(image, pixels.shape[:2]))[1]


def _scaled(
    image: UInt8[np.ndarray, "_ _ 3"], size_hw: tuple[int, ...]
) -> UInt8[np.ndarray, "height width 3"]:
    if image.shape[:2] == size_hw:
        return image
    height, width = size_hw
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA))


@lru_cache(maxsize=1)
def _street() -> UInt8[np.ndarray, "height width 3"]:
    return render_scene(SEED).image


@lru_cache(maxsize=2)
def _street_clip(frames: int) -> UInt8[np.ndarray, "frames height width 3"]:
    return render_clip(SEED, frames=min(frames, 32)).images
