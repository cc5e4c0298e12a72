"""Run a network and keep what its attention blocks computed."""

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from math import prod
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from analysis.adapters import (
    Call,
    Heads,
    UnreadableBlockError,
    foreign_preprocess,
    reader_for,
    token_grid,
)
from analysis.adapters.adapter import Reader
from analysis.grid import Grid
from analysis.images import ImageSource, read_image
from analysis.record import AttentionRecord
from models.blocks import AttentionBlock, Projections


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
        network: Any module with attention blocks of `models.blocks`, or with others that
            `analysis.adapters` can read; its `preprocess` attribute is used if it has one.
        image: See `analysis.images.read_image`.

    Raises:
        ValueError: The image cannot be used.
    """
    return observe(network, image).records


def observe(network: nn.Module, image: ImageSource) -> Observation:
    """Do what `capture` does and keep the image and the network's output, too."""
    pixels = read_image(image)
    preprocess = getattr(network, "preprocess", None) or foreign_preprocess(network)
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


def foreign_blocks(network: nn.Module) -> dict[str, tuple[nn.Module, Reader]]:
    """Return the blocks that `analysis.adapters` can read, by name; none lies inside another."""
    found: dict[str, tuple[nn.Module, Reader]] = {}
    for name, module in network.named_modules():
        inside = any(name.startswith(f"{outer}.") or outer == "" for outer in found)
        if isinstance(module, AttentionBlock) or inside:
            continue
        reader = reader_for(module)
        if reader is not None:
            found[name] = module, reader
    return found


@contextmanager
def recording(network: nn.Module, image_hw: tuple[int, int]) -> Iterator[list[AttentionRecord]]:
    """Collect a record each time a block runs on one image; the hooks go when the `with` ends.

    A foreign block with several heads gives a record for each. One that cannot be read gives a
    warning instead.
    """
    records: list[AttentionRecord] = []
    input_hw: list[tuple[int, int]] = []

    def keep(name: str, block: AttentionBlock, inputs: tuple[Tensor], _output: Tensor) -> None:
        records.append(record_of(name, block, block.project(inputs[0]), image_hw))

    def note_size(_network: nn.Module, args: tuple, kwargs: dict) -> None:
        sizes = [x.shape for x in (*args, *kwargs.values()) if isinstance(x, Tensor) and x.ndim > 3]
        input_hw[:] = [(shape[-2], shape[-1]) for shape in sizes[:1]]

    def keep_foreign(
        name: str, reader: Reader, block: nn.Module, args: tuple, kwargs: dict, output: Any
    ) -> None:
        try:
            heads = reader(block, Call(args, kwargs, output))
            records.extend(records_of(name, heads, image_hw, (input_hw or [image_hw])[0]))
        except UnreadableBlockError as error:
            sentence = f"{name} ({type(block).__name__}) is left out: {error}"
            warnings.warn(sentence, stacklevel=2)

    with ExitStack() as hooks:
        sized = network.register_forward_pre_hook(note_size, with_kwargs=True)
        hooks.callback(sized.remove)
        for name, block in attention_blocks(network).items():
            hooks.callback(block.register_forward_hook(partial(keep, name)).remove)
        for name, (module, reader) in foreign_blocks(network).items():
            hook = partial(keep_foreign, name, reader)
            hooks.callback(module.register_forward_hook(hook, with_kwargs=True).remove)
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


def record_of(
    name: str, block: AttentionBlock, projections: Projections, image_hw: tuple[int, int]
) -> AttentionRecord:
    """Return the record of what a block made of the first image of its input."""
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


def records_of(
    name: str, heads: Heads, image_hw: tuple[int, int], input_hw: tuple[int, int]
) -> list[AttentionRecord]:
    """Return a record for every head of a foreign block.

    Raises:
        UnreadableBlockError: Tokens are no patches of an input of this size.
    """
    sides = []
    for tensor, shape in ((heads.query, heads.query_shape), (heads.key, heads.key_shape)):
        shape = token_grid(tensor.shape[1], input_hw) if shape is None else shape
        sides.append((tensor[:, tensor.shape[1] - prod(shape) :], _thw(shape)))
    (query, (frames, height, width)), (key, key_thw) = sides
    query_grid = Grid.tiling(image_hw, height, width, frames=frames)
    key_grid = query_grid.subsampled(key_thw[1], key_thw[2])
    return [
        AttentionRecord(
            block=name,
            form=heads.form,
            coupling=heads.coupling,
            scale=heads.scale,
            query=_own(query[head : head + 1]),
            key=_own(key[head : head + 1]),
            unary=None if heads.unary is None else _own(heads.unary.unsqueeze(0)),
            query_grid=query_grid,
            key_grid=key_grid,
            head=head if len(query) > 1 else None,
        )
        for head in range(len(query))
    ]


def _thw(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (1,) * (3 - len(shape)) + shape


def _own(batch: Float[Tensor, "1 ..."]) -> Float[Tensor, "..."]:
    """Return a copy for the one image, in single precision or, where the network has it, double."""
    return batch[0].detach().to("cpu", torch.promote_types(batch.dtype, torch.float32), copy=True)
