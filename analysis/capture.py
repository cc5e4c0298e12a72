"""Run a network and keep what its attention blocks computed."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from analysis.grid import Grid
from analysis.images import ImageSource, read_image
from analysis.record import AttentionRecord
from models.blocks import AttentionBlock, Projections
from models.preprocess import Preprocess


@dataclass(frozen=True, eq=False)
class Observation:
    """One image, what the network made of it, and what its attention blocks did on the way."""

    image: UInt8[np.ndarray, "height width 3"]
    output: Tensor  # the network's own, for the one image: (1, ...)
    records: tuple[AttentionRecord, ...]  # in the order in which the blocks ran


def capture(network: nn.Module, image: ImageSource) -> tuple[AttentionRecord, ...]:
    """Run a network on an image and return a record of every attention block in it.

    The network comes back as it was: same weights, same modes, no hooks, also after an exception.
    Its output is bit for bit the one it gives without capture.

    Args:
        network: Any module with attention blocks; its `preprocess` attribute is used if it has one.
        image: See `analysis.images.read_image`.

    Raises:
        ValueError: The image cannot be used.
    """
    return observe(network, image).records


def observe(network: nn.Module, image: ImageSource) -> Observation:
    """Do what `capture` does and keep the image and the network's output, too."""
    pixels = read_image(image)
    preprocess = getattr(network, "preprocess", None) or Preprocess()
    with evaluating(network), torch.no_grad(), recording(network, pixels.shape[:2]) as records:
        output = network(preprocess(pixels))
    return Observation(pixels, output, tuple(records))


def attention_blocks(network: nn.Module) -> dict[str, AttentionBlock]:
    """Return the blocks that `capture` will record, by name."""
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, AttentionBlock)
    }


@contextmanager
def recording(network: nn.Module, image_hw: tuple[int, int]) -> Iterator[list[AttentionRecord]]:
    """Collect a record each time a block runs on one image; the hooks go when the `with` ends."""
    records: list[AttentionRecord] = []

    def keep(name: str, block: AttentionBlock, inputs: tuple[Tensor], _output: Tensor) -> None:
        records.append(_record(name, block, block.project(inputs[0]), image_hw))

    with ExitStack() as hooks:
        for name, block in attention_blocks(network).items():
            hooks.callback(block.register_forward_hook(partial(keep, name)).remove)
        yield records


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put every module in evaluation mode, and back into its own when the `with` ends."""
    modes = [(module, module.training) for module in network.modules()]
    network.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _record(
    name: str, block: AttentionBlock, projections: Projections, image_hw: tuple[int, int]
) -> AttentionRecord:
    frames, height, width = _thw(projections.query_shape)
    query_grid = Grid.tiling(image_hw, height, width, frames=frames)
    _, key_height, key_width = _thw(projections.key_shape)
    return AttentionRecord(
        block=name,
        form=block.form,
        coupling=block.coupling,
        scale=block.scale,
        query=_own(projections.query),
        key=_own(projections.key),
        unary=None if projections.unary is None else _own(projections.unary),
        query_grid=query_grid,
        key_grid=query_grid.subsampled(key_height, key_width),
    )


def _thw(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (1,) * (3 - len(shape)) + shape


def _own(batch: Float[Tensor, "1 ..."]) -> Float[Tensor, "..."]:
    """Return a copy for the one image, in single precision or, where the network has it, double."""
    return batch[0].detach().to("cpu", torch.promote_types(batch.dtype, torch.float32), copy=True)
