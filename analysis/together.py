"""Pictures of one size through a network in one batch: what each gives alone, but for rounding.

Layers may add in another order when a batch is larger, so that numbers agree to about 1e-6 and not
bit for bit. Where a device has too little memory for a batch, it is halved.
"""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from nonlocal_lens.analysis.adapters import reader_for
from nonlocal_lens.analysis.capture import (
    Observation,
    evaluating,
    observe_pixels,
    recording_batch,
)
from nonlocal_lens.analysis.images import ImageSource
from nonlocal_lens.analysis.out_of_memory import in_halves
from nonlocal_lens.analysis.prepared import prepared, takes_clips
from nonlocal_lens.analysis.running import run
from nonlocal_lens.models.placement import brought_back, placed, refuse_without_numbers
from nonlocal_lens.models.wrappers import unwrapped


def can_go_together(network: nn.Module) -> bool:
    """Return whether several pictures may go through a network in one batch.

    Not clips, and not where a registered reader speaks for a block: it speaks of one picture.
    """
    network = unwrapped(network)
    return not takes_clips(network) and not any(map(reader_for, network.modules()))


class PreparedImage(NamedTuple):
    """An image, and the input that a network makes of it."""

    pixels: UInt8[np.ndarray, "height width 3"]
    x: Float[Tensor, "1 channels *grid"]


def prepared_together(network: nn.Module, images: Sequence[ImageSource]) -> list[PreparedImage]:
    """Return images that may go through a network in one batch, prepared.

    Raises:
        ValueError: An image cannot be used, there is none, or sizes differ.
    """
    refuse_without_numbers(network)
    given = [PreparedImage(*prepared(network, image)) for image in images]
    sizes = {(one.pixels.shape[:2], tuple(one.x.shape[1:])) for one in given}
    if len(sizes) != 1:
        told = ", ".join(sorted(f"{width}x{height}" for (height, width), _ in sizes)) or "none"
        raise ValueError(f"images that go through a network together have one size, got {told}")
    return given


def observe_together(network: nn.Module, images: Sequence[ImageSource]) -> list[Observation]:
    """Do what `capture.observe` does for each of some images, in one pass of the network.

    Records, and outputs, are those of each image alone but for rounding.

    Args:
        network: See `can_go_together`.
        images: Of one size.

    Raises:
        ValueError: An image cannot be used, sizes differ, or the network's output cannot be taken
            apart into those of single images.
    """
    network = unwrapped(network)
    given = prepared_together(network, images)
    height, width = given[0].pixels.shape[:2]

    def observed(some: Sequence[PreparedImage]) -> list[Observation]:
        if len(some) == 1:
            return [observe_pixels(network, some[0].pixels, placed(network, some[0].x))]
        x = placed(network, torch.cat([one.x for one in some]))
        with (
            evaluating(network),
            torch.no_grad(),
            recording_batch(network, (height, width), len(some)) as records,
        ):
            output = brought_back(run(network, x))
        return [
            Observation(one.pixels, item_of(output, item, len(some)), tuple(of_item))
            for item, (one, of_item) in enumerate(zip(some, records, strict=True))
        ]

    return in_halves(given, observed, f"A batch for {type(network).__name__}")


def item_of(output: Any, item: int, count: int) -> Any:
    """Return what a network's output for a batch says of one item, as a batch of one.

    Raises:
        ValueError: A tensor of it has another length than the batch.
    """
    if isinstance(output, Tensor):
        if output.ndim == 0 or len(output) != count:
            raise ValueError(
                f"an output of shape {tuple(output.shape)} cannot be taken apart into those of "
                f"{count} pictures"
            )
        return output[item : item + 1]
    if is_dataclass(output) and not isinstance(output, type):
        of_item = {
            one.name: item_of(getattr(output, one.name), item, count) for one in fields(output)
        }
        return replace(output, **of_item)
    if isinstance(output, Mapping):
        return {name: item_of(value, item, count) for name, value in output.items()}
    if isinstance(output, list | tuple):
        each = [item_of(value, item, count) for value in output]
        if hasattr(output, "_make"):
            return output._make(each)
        return each if isinstance(output, list) else tuple(each)
    return output
