"""Run a network and keep what its attention blocks computed."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from nonlocal_lens.analysis.clips import ClipSource
from nonlocal_lens.analysis.evaluating import evaluating as evaluating
from nonlocal_lens.analysis.images import ImageSource
from nonlocal_lens.analysis.out_of_memory import or_on_processor
from nonlocal_lens.analysis.own_blocks import record_of as record_of
from nonlocal_lens.analysis.prepared import frames_of
from nonlocal_lens.analysis.prepared import prepared as prepared
from nonlocal_lens.analysis.prepared import takes_clips as takes_clips
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.recorder import Recorded, Recorder
from nonlocal_lens.analysis.running import run
from nonlocal_lens.models.blocks import attention_blocks as attention_blocks
from nonlocal_lens.models.placement import brought_back, refuse_without_numbers
from nonlocal_lens.models.wrappers import unwrapped


@dataclass(frozen=True, eq=False)
class Observation:
    """One image or clip, what the network made of it, and what its blocks did on the way."""

    image: UInt8[np.ndarray, "*frames height width 3"]  # a clip's frames come first
    output: Any  # the network's own, for the one image or clip: mostly a tensor (1, ...)
    records: tuple[AttentionRecord, ...]  # in the order in which the blocks ran


def capture(network: nn.Module, image: ImageSource | ClipSource) -> tuple[AttentionRecord, ...]:
    """Run a network on an image or a clip and return a record of every attention block in it.

    The network comes back as it was: same weights, same modes, no hooks, also after an exception.
    Its output is bit for bit the one it gives without capture. A network that looks at clips gives
    records whose grids have frames; to it an image is a clip of one frame. One that looks at images
    takes a clip by `capture_frames`.

    Args:
        network: Any module, also inside a wrapper of `models.wrappers`; its input is made as
            `analysis.prepared` says.
        image: See `analysis.images.read_image` and `analysis.clips.read_clip`.

    Raises:
        ValueError: The image or clip cannot be used, or it is a clip and the network looks at
            images.
    """
    return observe(network, image).records


def observe(network: nn.Module, image: ImageSource | ClipSource) -> Observation:
    """Do what `capture` does and keep the pixels and the network's output, too."""
    network = unwrapped(network)
    return observe_pixels(network, *prepared(network, image))


def capture_frames(network: nn.Module, clip: ClipSource) -> tuple[tuple[AttentionRecord, ...], ...]:
    """Run a network that looks at images on every frame of a clip; return each frame's records.

    Raises:
        ValueError: The clip cannot be used, or the network looks at clips.
    """
    return tuple(seen.records for seen in observe_frames(network, clip))


def observe_frames(network: nn.Module, clip: ClipSource) -> Iterator[Observation]:
    """Do what `capture_frames` does, a frame at a time, and keep images and outputs, too."""
    network = unwrapped(network)
    if takes_clips(network):
        raise ValueError(
            f"{type(network).__name__} looks at whole clips: analysis.capture runs it on one"
        )
    for frame in frames_of(clip):
        yield observe_pixels(network, *prepared(network, frame))


def observe_pixels(
    network: nn.Module,
    pixels: UInt8[np.ndarray, "*frames height width 3"],
    x: Float[Tensor, "1 channels *grid"],
) -> Observation:
    """Do what `observe` does for pixels and the input that `prepared` made of them."""
    refuse_without_numbers(network)
    height, width = pixels.shape[-3:-1]

    def observed(x: Float[Tensor, "1 channels *grid"]) -> Observation:
        with evaluating(network), torch.no_grad(), recording(network, (height, width)) as records:
            output = brought_back(run(network, x))
        return Observation(pixels, output, tuple(records))

    return or_on_processor(network, x, observed)


@contextmanager
def recording(
    network: nn.Module, image_hw: tuple[int, int], recorded: Recorded | None = None
) -> Iterator[list[AttentionRecord]]:
    """Collect a record of all attention each time a network runs, until the `with` ends.

    Attention is read from what is computed, and where queries and keys lie is followed from the
    network's input on, through every operation: see `analysis.tracing`. A network that is given no
    picture, as a generator, has its cells tile the image. Records are there when a pass has ended,
    one for each head; a block that runs several times in a pass has one for each `call`.

    What attends and cannot be read gives a warning instead when the `with` ends, one for each kind
    of block and reason.

    Args:
        network: Any module.
        image_hw: Height and width of the image that its input is made of.
        recorded: Called when a block of ours has been recorded, before it attends.
    """
    with recording_batch(network, image_hw, 1, recorded) as (records,):
        yield records


@contextmanager
def recording_batch(
    network: nn.Module, image_hw: tuple[int, int], pictures: int, recorded: Recorded | None = None
) -> Iterator[list[list[AttentionRecord]]]:
    """Do what `recording` does, of each of the first pictures of a batch.

    Args:
        network: Any module.
        image_hw: Height and width of the images that its input is made of.
        pictures: How many.
        recorded: Called when a block of ours has been recorded, before it attends.
    """
    recorder = Recorder(unwrapped(network), image_hw, recorded, pictures)
    with recorder.watching():
        yield recorder.records
