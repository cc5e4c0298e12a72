"""Run a network and keep what its attention blocks computed."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from math import prod
from pathlib import Path
from typing import Any, cast

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
from analysis.clips import Clip, ClipSource, is_clip, read_clip
from analysis.grid import Grid
from analysis.images import ImageSource, read_image
from analysis.left_out import NO_ADAPTER, LeftOut, unread_blocks
from analysis.places import LAYERS, Places
from analysis.record import AttentionRecord
from models.blocks import AttentionBlock, Projections
from models.blocks import attention_blocks as attention_blocks
from models.preprocess import ClipPreprocess, Preprocess


@dataclass(frozen=True, eq=False)
class Observation:
    """One image or clip, what the network made of it, and what its blocks did on the way."""

    image: UInt8[np.ndarray, "*frames height width 3"]  # a clip's frames come first
    output: Tensor  # the network's own, for the one image or clip: (1, ...)
    records: tuple[AttentionRecord, ...]  # in the order in which the blocks ran


def capture(network: nn.Module, image: ImageSource | ClipSource) -> tuple[AttentionRecord, ...]:
    """Run a network on an image or a clip and return a record of every attention block in it.

    The network comes back as it was: same weights, same modes, no hooks, also after an exception.
    Its output is bit for bit the one it gives without capture. A network that looks at clips gives
    records whose grids have frames; to it an image is a clip of one frame. One that looks at images
    takes a clip by `capture_frames`.

    Args:
        network: Any module with attention blocks of `models.blocks`, or with others that
            `analysis.adapters` can read; its `preprocess` attribute is used if it has one.
        image: See `analysis.images.read_image` and `analysis.clips.read_clip`.

    Raises:
        ValueError: The image or clip cannot be used, or it is a clip and the network looks at
            images.
    """
    return observe(network, image).records


def observe(network: nn.Module, image: ImageSource | ClipSource) -> Observation:
    """Do what `capture` does and keep the pixels and the network's output, too."""
    return _observe(network, *prepared(network, image))


def prepared(
    network: nn.Module, image: ImageSource | ClipSource
) -> tuple[UInt8[np.ndarray, "*frames height width 3"], Float[Tensor, "1 channels *grid"]]:
    """Return the pixels of an image or a clip, and the input that a network makes of them.

    Raises:
        ValueError: The image or clip cannot be used, or it is a clip and the network looks at
            images.
    """
    if takes_clips(network):
        frames = _frames_of(image)
        return frames, _clip_preprocess(network)(frames)
    if is_clip(image):
        raise ValueError(
            f"{type(network).__name__} looks at single images and this is a clip: "
            "analysis.capture.capture_frames runs it on every frame"
        )
    pixels = read_image(image)  # type: ignore[arg-type]
    return pixels, _image_preprocess(network)(pixels)


def capture_frames(network: nn.Module, clip: ClipSource) -> tuple[tuple[AttentionRecord, ...], ...]:
    """Run a network that looks at images on every frame of a clip; return each frame's records.

    Raises:
        ValueError: The clip cannot be used, or the network looks at clips.
    """
    return tuple(seen.records for seen in observe_frames(network, clip))


def observe_frames(network: nn.Module, clip: ClipSource) -> Iterator[Observation]:
    """Do what `capture_frames` does, a frame at a time, and keep images and outputs, too."""
    if takes_clips(network):
        raise ValueError(
            f"{type(network).__name__} looks at whole clips: analysis.capture runs it on one"
        )
    for frame in _frames_of(clip):
        yield _observe(network, *prepared(network, frame))


def takes_clips(network: nn.Module) -> bool:
    """Return whether a network looks at clips: as its `preprocess` says, else by its layers."""
    preprocess = getattr(network, "preprocess", None)
    if preprocess is not None:
        return isinstance(preprocess, ClipPreprocess)
    return any(isinstance(module, nn.Conv3d) for module in network.modules())


def _frames_of(source: ImageSource | ClipSource) -> UInt8[np.ndarray, "frames height width 3"]:
    if isinstance(source, Clip):
        return source.frames
    if is_clip(source) or isinstance(source, str | Path | bytes):
        return read_clip(cast(ClipSource, source)).frames
    return read_image(cast(ImageSource, source))[None]


def _image_preprocess(network: nn.Module) -> Preprocess:
    return getattr(network, "preprocess", None) or foreign_preprocess(network)


def _clip_preprocess(network: nn.Module) -> ClipPreprocess:
    found = getattr(network, "preprocess", None)
    return found or ClipPreprocess(foreign_preprocess(network), frames=32)


def _observe(
    network: nn.Module,
    pixels: UInt8[np.ndarray, "*frames height width 3"],
    x: Float[Tensor, "1 channels *grid"],
) -> Observation:
    height, width = pixels.shape[-3:-1]
    with evaluating(network), torch.no_grad(), recording(network, (height, width)) as records:
        output = network(x)
    return Observation(pixels, output, tuple(records))


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


Recorded = Callable[[str, AttentionBlock, Tensor, Projections], None]
"""Called with a block's name, the block, its input and its projections."""


@contextmanager
def recording(
    network: nn.Module, image_hw: tuple[int, int], recorded: Recorded | None = None
) -> Iterator[list[AttentionRecord]]:
    """Collect a record each time a block runs on one input; the hooks go when the `with` ends.

    Our own blocks are recorded before they attend, foreign ones when they have run.

    A foreign block with several heads gives a record for each. What cannot be read, and whatever
    else looks like attention, gives a warning instead when the `with` ends.

    Args:
        network: Any module.
        image_hw: Height and width of the image that its input is made of.
        recorded: Called when a block of ours has been recorded, before it attends.
    """
    records: list[AttentionRecord] = []
    places, left_out = Places(), LeftOut()
    images: int | None = None

    def keep(name: str, block: AttentionBlock, inputs: tuple[Tensor]) -> None:
        projections = block.project(inputs[0])
        records.append(record_of(name, block, projections, image_hw, places))
        if recorded is not None:
            recorded(name, block, inputs[0], projections)

    def note_size(_network: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        nonlocal images
        sizes = [x.shape for x in (*args, *kwargs.values()) if isinstance(x, Tensor) and x.ndim > 3]
        images = sizes[0][0] if sizes else None
        height, width = sizes[0][-2:] if sizes else image_hw
        places.begin((height, width))

    def keep_foreign(
        name: str,
        reader: Reader,
        block: nn.Module,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        output: Any,
    ) -> None:
        try:
            heads = reader(block, Call(args, kwargs, output, images))
            records.extend(records_of(name, heads, image_hw, places))
        except UnreadableBlockError as error:
            left_out.add(name, block, str(error))

    def note_unread(name: str, block: nn.Module, _inputs: Any, _output: Any) -> None:
        left_out.add(name, block, NO_ADAPTER)

    with ExitStack() as hooks:
        sized = network.register_forward_pre_hook(note_size, with_kwargs=True)
        hooks.callback(sized.remove)
        own, foreign = attention_blocks(network), foreign_blocks(network)
        of_blocks = {layer for block in own.values() for layer in block.modules()}
        of_blocks |= {layer for block, _ in foreign.values() for layer in block.modules()}
        for module in network.modules():
            if isinstance(module, LAYERS):
                note = partial(places.note, inside_block=module in of_blocks)
                hooks.callback(module.register_forward_hook(note).remove)
        for name, block in own.items():
            hooks.callback(block.register_forward_pre_hook(partial(keep, name)).remove)
        for name, (module, reader) in foreign.items():
            hook = partial(keep_foreign, name, reader)
            hooks.callback(module.register_forward_hook(hook, with_kwargs=True).remove)
        for name, module in unread_blocks(network, {*own, *foreign}).items():
            hooks.callback(module.register_forward_hook(partial(note_unread, name)).remove)
        yield records
    left_out.warn()


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
    name: str,
    block: AttentionBlock,
    projections: Projections,
    image_hw: tuple[int, int],
    places: Places | None = None,
) -> AttentionRecord:
    """Return the record of what a block made of the first image of its input.

    Cells tile the image unless `places` has seen that they lie elsewhere.
    """
    frames, height, width = _thw(projections.query_shape)
    offset = (0.0, 0.0) if places is None else places.offset((height, width), image_hw)
    query_grid = Grid.tiling(image_hw, height, width, frames=frames, offset=offset)
    key_thw = _thw(projections.key_shape)
    return AttentionRecord(
        block=name,
        form=block.form,
        coupling=block.coupling,
        scale=block.scale,
        query=_own(projections.query),
        key=_own(projections.key),
        unary=None if projections.unary is None else _own(projections.unary),
        query_grid=query_grid,
        key_grid=_pooled(query_grid, key_thw),
        pairwise_gain=block.pairwise_gain,
        whitened=block.whitened,
        reach=projections.reach,
    )


def records_of(
    name: str, heads: Heads, image_hw: tuple[int, int], places: Places
) -> list[AttentionRecord]:
    """Return a record for every head of a foreign block.

    Raises:
        UnreadableBlockError: Tokens are no patches of an input of this size, or queries are no
            places of it.
    """
    sides = []
    for tensor, shape in ((heads.query, heads.query_shape), (heads.key, heads.key_shape)):
        shape = token_grid(tensor.shape[1], places.input_hw) if shape is None else shape
        sides.append((tensor[:, tensor.shape[1] - prod(shape) :], _thw(shape)))
    (query, (frames, height, width)), (key, key_thw) = sides
    if len(query[0]) < len(key[0]):
        raise UnreadableBlockError(
            f"its {len(query[0])} queries are fewer than its {len(key[0])} keys: they are no "
            "places of the image"
        )
    offset = places.offset((height, width), image_hw)
    query_grid = Grid.tiling(image_hw, height, width, frames=frames, offset=offset)
    key_grid = _pooled(query_grid, key_thw)
    if heads.keys_at is not None:
        step, first = heads.keys_at
        key_grid = query_grid.sampled(*key_thw[1:], step=step, first=first)
    unary = heads.unary
    if unary is not None:
        unary = unary.expand(len(query), -1)
    return [
        AttentionRecord(
            block=name,
            form=heads.form,
            coupling=heads.coupling,
            scale=heads.scale,
            query=_own(query[head : head + 1]),
            key=_own(key[head : head + 1]),
            unary=None if unary is None else _own(unary[head : head + 1]),
            query_grid=query_grid,
            key_grid=key_grid,
            head=head if len(query) > 1 else None,
            pairwise_gain=heads.pairwise_gain,
            whitened=heads.whitened,
            reach=heads.reach,
        )
        for head in range(len(query))
    ]


def _pooled(grid: Grid, thw: tuple[int, ...]) -> Grid:
    """Return the grid of keys that are fewer in space, and maybe in time, than these cells."""
    frames, height, width = thw
    return replace(grid.subsampled(height, width), frames=frames)


def _thw(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (1,) * (3 - len(shape)) + shape


def _own(batch: Float[Tensor, "1 ..."]) -> Float[Tensor, "..."]:
    """Return a copy for the one image, in single precision or, where the network has it, double."""
    return batch[0].detach().to("cpu", torch.promote_types(batch.dtype, torch.float32), copy=True)
