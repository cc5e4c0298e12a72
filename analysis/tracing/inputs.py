"""What a network's inputs are: pictures, clips, or tokens of another kind."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from torch import Tensor, nn

from nonlocal_lens.analysis.tracing.label import Affine, Label, Shape, shape_of, written
from nonlocal_lens.analysis.tracing.naming import called
from nonlocal_lens.analysis.tracing.sources import COLUMN, FRAME, PICTURE, ROW, Side, Sources

CHANNELS = (3, 1, 4, 2)
"""How many channels a picture may have; in doubt, the dimension that has the first of these."""


def labels_of(
    sources: Sources,
    network: nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
) -> Iterator[tuple[Tensor, Label]]:
    """Yield every input that is labelled, with its label.

    Pictures are (B, C, H, W), (B, H, W, C), or (C, H, W) in a list; clips are (B, C, T, H, W) or
    (B, T, C, H, W); (B, C, W) where the network's convolutions have one dimension. Of all other
    inputs with two dimensions or more, the tokens are named: all but the last dimension of numbers,
    all but the first of integers. Masks say nothing.
    """
    number = 0
    first = next((m for m in network.modules() if isinstance(m, nn.modules.conv._ConvNd)), None)
    taken = None if first is None else first.in_channels
    in_a_row = isinstance(first, nn.Conv1d)
    for name, tensor, listed in _tensors(network, args, kwargs):
        layout = _layout(tensor, listed, taken, frames_first=name.startswith("pixel_values"))
        if layout is None and in_a_row and tensor.ndim == 3 and tensor.shape[1] == taken:
            layout = "BCW"
        if number and _are_points(tensor):
            layout = None
        if layout is not None:
            yield tensor, picture(sources, shape_of(tensor), layout, number)
            number += 1
        elif tensor.ndim >= 2 and tensor.dtype.itemsize and str(tensor.dtype) != "torch.bool":
            whole = not tensor.is_floating_point()
            yield tensor, tokens(sources, name, shape_of(tensor), channels_last=not whole)


def picture(sources: Sources, shape: Shape, layout: str, number: int) -> Label:
    """Return the label of a picture's or a clip's pixels.

    Args:
        sources: All sources.
        shape: The tensor's.
        layout: A letter for every dimension: B, T, H, W, or C for channels.
        number: Which of the inputs it is.
    """
    coordinates = {"B": PICTURE, "T": FRAME, "H": ROW, "W": COLUMN}
    sides = tuple(
        None
        if letter == "C" or (letter == "B" and size == 1)
        else Side.whole(coordinates[letter], 0.0 if letter == "B" else 0.5, 1.0, size)
        for letter, size in zip(layout, shape, strict=True)
    )
    fixed = (float(number), 0.0, 0.5, 0.5, 0.5, 1.0, 1.0, 1.0)
    return Label(sources, affine=Affine(fixed, sides))


def tokens(sources: Sources, name: str, shape: Shape, *, channels_last: bool) -> Label:
    """Return the label of an input that is no picture: its tokens by name."""
    text, _ = called(name)
    along = shape[:-1] if channels_last else shape
    varying = [d for d, size in enumerate(along) if size > 1 and d > 0]
    counted = tuple(size if d in varying else 1 for d, size in enumerate(along))
    count = int(np.prod(counted))
    ids = sources.names(text, count)
    return written(sources, ids.reshape(counted + (1,) * (len(shape) - len(along))))


def _layout(
    tensor: Tensor, listed: bool, taken: int | None = None, *, frames_first: bool = False
) -> str | None:
    """Return which dimension of a picture or clip is which, or None if it is neither.

    Args:
        tensor: An input.
        listed: Whether it comes in a list.
        taken: How many channels the network's first convolution takes.
        frames_first: Whether frames of a clip rather come before its channels than after them.
    """
    if not tensor.is_floating_point() and str(tensor.dtype) != "torch.uint8":
        return None
    options = {3: ("CHW",) if listed else (), 4: ("BCHW", "BHWC"), 5: ("BCTHW", "BTCHW", "BTHWC")}
    fitting = options.get(tensor.ndim, ())
    if frames_first and tensor.ndim == 5:
        fitting = ("BTCHW", "BCTHW")
    for channels in CHANNELS if taken is None else (taken, *CHANNELS):
        for layout in fitting:
            if tensor.shape[layout.index("C")] == channels:
                return layout
    return fitting[0] if fitting and min(tensor.shape[-2:]) > 1 else None


def _are_points(tensor: Tensor) -> bool:
    """Return whether an input beside a picture is no further picture but points (x, y) on it."""
    return tensor.ndim == 4 and tensor.shape[-1] == 2


def _tensors(
    network: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Iterator[tuple[str, Tensor, bool]]:
    """Yield all tensors among the inputs: name, tensor, and whether it comes in a list."""
    try:
        names = list(inspect.signature(network.forward).parameters)
    except (TypeError, ValueError):
        names = []
    named = [
        (names[i] if i < len(names) else f"input {i + 1}", value) for i, value in enumerate(args)
    ]
    for name, value in (*named, *kwargs.items()):
        yield from _flat(name, value, listed=False)


def _flat(name: str, value: Any, *, listed: bool) -> Iterator[tuple[str, Tensor, bool]]:
    if isinstance(value, Tensor):
        yield name, value, listed
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _flat(name, part, listed=True)
    elif isinstance(value, Mapping):
        for key, part in value.items():
            yield from _flat(str(key), part, listed=listed)
    elif hasattr(value, "tensors") and isinstance(value.tensors, Tensor):  # DETR's nested tensors
        yield name, value.tensors, listed
