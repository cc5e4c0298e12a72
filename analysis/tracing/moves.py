"""Operations that move elements about: their sources move in the same way.

Each rule gets the numbers of an operand's sources, broadcast, with the shape of the operand, the
operation's arguments after it and the shapes of the outputs. It returns the numbers of the output's
sources, broadcast, or those of each output.
"""

from collections.abc import Callable, Mapping, Sequence
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nonlocal_lens.analysis.tracing.label import Shape, spread
from nonlocal_lens.analysis.tracing.sources import PADDING, Ids

Move = Callable[[Ids, Shape, tuple[Any, ...], Mapping[str, Any], list[Shape]], Any]

MOVES: dict[str, Move] = {}
"""Operation -> how sources move, for those that move one operand."""


def move(*names: str) -> Callable[[Move], Move]:
    """Return a decorator that makes a function the rule for some operations."""

    def registered(rule: Move) -> Move:
        MOVES.update(dict.fromkeys(names, rule))
        return rule

    return registered


@move(
    "clone", "contiguous", "alias", "detach", "detach_", "_to_copy", "lift_fresh",
    "lift_fresh_copy", "lift", "_conj", "_neg_view", "dropout", "native_dropout",
    "to_padded_tensor", "to_dense", "to_mkldnn", "to_sparse", "resolve_conj",
)  # fmt: skip
def stay(
    ids: Ids, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: list[Shape]
) -> Ids:
    """Elements that stay where they are, whatever their type."""
    return ids


@move("view", "_unsafe_view", "reshape", "_reshape_alias", "view_copy")
def reshape(
    ids: Ids, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: list[Shape]
) -> Ids:
    """Elements in another shape, in the same order; a view of another type is none."""
    if prod(shape) != prod(out[0]):
        raise UnmovableError
    return reshaped(ids, shape, out[0])


class UnmovableError(ValueError):
    """Sources cannot be moved as elements are."""


def reshaped(ids: Ids, shape: Shape, new: Shape) -> Ids:
    """Return numbers in another shape; dimensions along which all is alike stay so."""
    full, parted = list(ids.shape), []
    for before, after in parts(shape, new):
        if all(ids.shape[d] == 1 for d in before):
            parted += [1] * len(after)
            continue
        for d in before:
            full[d] = shape[d]
        parted += [new[d] for d in after]
    if tuple(full) != ids.shape:
        ids = np.broadcast_to(ids, full)
    return ids.reshape(parted)


def parts(shape: Shape, new: Shape) -> list[tuple[list[int], list[int]]]:
    """Return which dimensions of one shape become which of another, in the smallest parts."""
    result: list[tuple[list[int], list[int]]] = []
    i = j = 0
    while i < len(shape) or j < len(new):
        before: list[int] = []
        after: list[int] = []
        left = right = 1
        if i < len(shape):
            before, left, i = [i], shape[i], i + 1
        if j < len(new) and not (left == 1 and before and new[j] != 1):
            after, right, j = [j], new[j], j + 1
        while left != right:
            if left < right:
                before, left, i = [*before, i], left * shape[i], i + 1
            else:
                after, right, j = [*after, j], right * new[j], j + 1
        result.append((before, after))
    return result


@move("permute", "permute_copy")
def permute(
    ids: Ids, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: list[Shape]
) -> Ids:
    """Dimensions in another order."""
    return ids.transpose(args[0])


@move("transpose", "transpose_")
def transpose(
    ids: Ids, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: list[Shape]
) -> Ids:
    """Two dimensions that change places."""
    return ids.swapaxes(args[0], args[1])


@move("t")
def turn(
    ids: Ids, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: list[Shape]
) -> Ids:
    """A matrix turned about its diagonal."""
    return ids.T


@move("expand", "expand_copy")
def expand(
    ids: Ids, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: list[Shape]
) -> Ids:
    """Elements seen several times along new dimensions or those of length 1."""
    return ids.reshape((1,) * (len(out[0]) - ids.ndim) + ids.shape)


@move("repeat")
def repeat(
    ids: Ids, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: list[Shape]
) -> Ids:
    """All elements several times, one after another."""
    times = list(args[0])
    ids = ids.reshape((1,) * (len(times) - ids.ndim) + ids.shape)
    return np.tile(ids, [t if size > 1 else 1 for t, size in zip(times, ids.shape, strict=True)])


@move("repeat_interleave")
def repeat_interleave(
    ids: Ids, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: list[Shape]
) -> Ids:
    """Every element several times, one beside itself."""
    times, dimension = args[0], args[1] if len(args) > 1 else kwargs.get("dim")
    if dimension is None:
        ids, dimension = np.broadcast_to(ids, shape).ravel(), 0
    times = times.cpu().numpy() if isinstance(times, Tensor) else times
    return np.repeat(spread(ids, shape, dimension) if ids.ndim else ids, times, axis=dimension)


@move("slice", "slice_copy")
def cut(
    ids: Ids, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: list[Shape]
) -> Ids:
    """A part along one dimension."""
    dimension, start, stop, step = sliced(args, kwargs)
    if ids.shape[dimension] == 1:
        return ids
    index = [slice(None)] * ids.ndim
    index[dimension] = slice(start, stop, step)
    return ids[tuple(index)]


def sliced(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> tuple[int, int | None, Any, int]:
    """Return dimension, start, stop and step of `slice`."""
    given: list[Any] = [*args, *(0, None, None, 1)[len(args) :]]
    dimension, start, stop, step = given
    return (
        kwargs.get("dim", dimension), kwargs.get("start", start),
        kwargs.get("end", stop), kwargs.get("step", step),
    )  # fmt: skip


@move("select", "select_copy")
def select(
    ids: Ids, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: list[Shape]
) -> Ids:
    """One element along a dimension, which goes."""
    dimension, index = args[0], args[1]
    along: Ids = np.moveaxis(ids, dimension, 0)
    return np.asarray(along[0 if ids.shape[dimension] == 1 else index])


@move("unsqueeze", "unsqueeze_", "unsqueeze_copy")
def unsqueeze(
    ids: Ids, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: list[Shape]
) -> Ids:
    """A new dimension of length 1."""
    return np.expand_dims(ids, args[0])


@move("squeeze", "squeeze_", "squeeze_copy")
def squeeze(
    ids: Ids, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: list[Shape]
) -> Ids:
    """No more dimensions of length 1, all of them or some."""
    asked = args[0] if args else range(len(shape))
    asked = [asked] if isinstance(asked, int) else asked
    gone = tuple(d for d in (d % max(len(shape), 1) for d in asked) if shape and shape[d] == 1)
    return np.squeeze(ids, gone)


@move("split", "unsafe_split", "split_with_sizes", "unsafe_split_with_sizes", "split_copy",
      "split_with_sizes_copy", "chunk", "unsafe_chunk", "tensor_split")  # fmt: skip
def split(
    ids: Ids, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: list[Shape]
) -> list[Ids]:
    """Parts along one dimension, one after another."""
    dimension = kwargs.get("dim", args[1] if len(args) > 1 else 0)
    if ids.shape[dimension] == 1:
        return [ids] * len(out)
    ends = np.cumsum([part[dimension] for part in out])[:-1]
    return list(np.split(ids, ends, axis=dimension))


@move("unbind", "unbind_copy")
def unbind(
    ids: Ids, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: list[Shape]
) -> list[Ids]:
    """The elements along a dimension, each by itself."""
    dimension = kwargs.get("dim", args[0] if args else 0)
    once = ids.shape[dimension] == 1
    return [ids.take(0 if once else index, axis=dimension) for index in range(len(out))]


@move("flip")
def flip(
    ids: Ids, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: list[Shape]
) -> Ids:
    """Elements in the opposite order."""
    return np.flip(ids, tuple(args[0]))


@move("rot90")
def turn_around(
    ids: Ids, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: list[Shape]
) -> Ids:
    """A map turned by quarters."""
    times, sides = args[0] if args else 1, tuple(args[1]) if len(args) > 1 else (0, 1)
    for side in sides:
        ids = spread(ids, shape, side)
    return np.rot90(ids, times, sides)


@move("roll")
def roll(
    ids: Ids, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: list[Shape]
) -> Ids:
    """Elements moved on, and those that fall off put in at the other end."""
    shifts, dimensions = args[0], args[1] if len(args) > 1 else kwargs.get("dims", ())
    if not dimensions:
        ids = np.broadcast_to(ids, shape)
        return np.roll(ids, shifts[0])
    return np.roll(ids, tuple(shifts), tuple(dimensions))


@move("index_select")
def index_select(
    ids: Ids, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: list[Shape]
) -> Ids:
    """Some elements along a dimension, by number."""
    dimension, index = args[0], args[1].cpu().numpy()
    return ids if ids.shape[dimension] == 1 else ids.take(np.atleast_1d(index), axis=dimension)


@move("index", "_unsafe_index")
def index(
    ids: Ids, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: list[Shape]
) -> Ids:
    """Elements by number or mask, along some dimensions together."""
    indices = [None if i is None else i.cpu().numpy() for i in args[0]]
    indices += [None] * (len(shape) - sum(_dimensions(i) for i in indices))
    used, at = [], 0
    for i in indices:
        used += [(d, i is not None) for d in range(at, at + _dimensions(i))]
        at += _dimensions(i)
    # along what is indexed numbers are written out, along the rest they stay broadcast
    full = [shape[d] if indexed else ids.shape[d] for d, indexed in used]
    taken = np.broadcast_to(ids, full)[tuple(slice(None) if i is None else i for i in indices)]
    return np.asarray(taken)


def _dimensions(index: Any) -> int:
    """Return how many dimensions an index stands for: a mask for all of its own."""
    return index.ndim if index is not None and index.dtype == bool else 1


@move("gather")
def gather(
    ids: Ids, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: list[Shape]
) -> Ids:
    """Elements along a dimension by number, for each of the others by itself."""
    dimension, index = args[0], args[1].cpu().numpy()
    if not ids.ndim or ids.shape[dimension] == 1:
        return _cropped(ids, out[0], dimension)
    for d in range(ids.ndim):  # what is the same for all need not be looked up for each
        if d != dimension and ids.shape[d] == 1 and (index == index.take([0], axis=d)).all():
            index = index.take([0], axis=d)
    full = [
        size if d == dimension else max(size, index.shape[d]) for d, size in enumerate(ids.shape)
    ]
    ids = np.broadcast_to(ids, full) if tuple(full) != ids.shape else ids
    return np.take_along_axis(_cropped(ids, index.shape, dimension), index, dimension)


def _cropped(ids: Ids, shape: Sequence[int], dimension: int) -> Ids:
    kept = tuple(
        slice(None) if d == dimension or size == 1 else slice(shape[d])
        for d, size in enumerate(ids.shape)
    )
    return ids[kept]


@move("take_along_dim")
def take_along(
    ids: Ids, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: list[Shape]
) -> Ids:
    """As `gather`, with the number first."""
    taken: Ids = gather(ids, shape, (args[1], args[0]), kwargs, out)
    return taken


@move("masked_select")
def masked_select(
    ids: Ids, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: list[Shape]
) -> Ids:
    """All elements where a mask is true, one after another."""
    mask = args[0].cpu().numpy()
    full = np.broadcast_shapes(shape, mask.shape)
    chosen: Ids = np.broadcast_to(ids, full)[np.broadcast_to(mask, full)]
    return chosen


@move("constant_pad_nd", "pad")
def pad(
    ids: Ids, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: list[Shape]
) -> Ids:
    """Elements with as many around them of padding around them, or without their border."""
    for dimension, (before, after) in padded(args[0], len(shape)):
        ids = spread(ids, shape, dimension)
        kept = [slice(None)] * ids.ndim
        kept[dimension] = slice(max(-before, 0), ids.shape[dimension] - max(-after, 0))
        width = [(0, 0)] * ids.ndim
        width[dimension] = max(before, 0), max(after, 0)
        ids = np.pad(ids[tuple(kept)], width, constant_values=PADDING)
    return ids


def padded(widths: Sequence[int], dimensions: int) -> list[tuple[int, tuple[int, int]]]:
    """Return which dimensions are padded, and by how much before and after."""
    pairs = zip(widths[::2], widths[1::2], strict=True)
    return [(dimensions - 1 - i, pair) for i, pair in enumerate(pairs) if any(pair)]


@move("reflection_pad1d", "reflection_pad2d", "reflection_pad3d")
def reflect(
    ids: Ids, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: list[Shape]
) -> Ids:
    """Elements with copies of their neighbors around them, mirrored."""
    return _copied_around(ids, shape, args[0], "reflect")


@move("replication_pad1d", "replication_pad2d", "replication_pad3d")
def replicate(
    ids: Ids, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: list[Shape]
) -> Ids:
    """Elements with copies of the outermost around them."""
    return _copied_around(ids, shape, args[0], "edge")


def _copied_around(ids: Ids, shape: Shape, widths: Sequence[int], how: Any) -> Ids:
    around = [(0, 0)] * ids.ndim
    for dimension, pair in padded(widths, len(shape)):
        if ids.shape[dimension] > 1:
            around[dimension] = pair
    return np.pad(ids, around, mode=how)


@move("unfold")
def unfold(
    ids: Ids, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: list[Shape]
) -> Ids:
    """Windows along one dimension, each along a new last one."""
    dimension, size, step = args
    dimension %= len(shape)
    if ids.shape[dimension] == 1:
        return ids[..., None]
    windows = np.lib.stride_tricks.sliding_window_view(ids, size, dimension)
    kept: Ids = windows[(slice(None),) * dimension + (slice(None, None, step),)]
    return kept


@move("im2col")
def im2col(
    ids: Ids, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: list[Shape]
) -> Ids:
    """Patches of pixels, each gathered into channels."""
    kernel, dilation, padding, stride = args
    for i, side in enumerate((-2, -1)):
        width = [(0, 0)] * ids.ndim
        width[side] = (padding[i], padding[i])
        ids = np.pad(spread(ids, shape, side), width, constant_values=PADDING)
    windows = ids
    for i in range(2):
        reach, at = dilation[i] * (kernel[i] - 1) + 1, ids.ndim - 2 + i
        windows = np.lib.stride_tricks.sliding_window_view(windows, reach, at)
        kept: list[Any] = [slice(None)] * windows.ndim
        kept[at], kept[-1] = slice(None, None, stride[i]), slice(None, None, dilation[i])
        windows = windows[tuple(kept)]
    *batch, _, rows, columns, _, _ = windows.shape
    n, count = len(batch), shape[-3]
    windows = np.broadcast_to(windows, (*batch, count, *windows.shape[n + 1 :]))
    windows = windows.transpose(*range(n + 1), n + 3, n + 4, n + 1, n + 2)
    return windows.reshape(*batch, count * kernel[0] * kernel[1], rows * columns)


@move("pixel_shuffle")
def pixel_shuffle(
    ids: Ids, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: list[Shape]
) -> Ids:
    """Groups of channels spread over the cells of a finer grid."""
    factor, *batch = args[0], *shape[:-3]
    channels, rows, columns = shape[-3:]
    parted = (*batch, channels // factor**2, factor, factor, rows, columns)
    ids = reshaped(spread(ids, shape, -3), shape, parted)
    n = len(batch)
    ids = ids.transpose(*range(n + 1), n + 3, n + 1, n + 4, n + 2)
    turned = (*batch, parted[n], rows, factor, columns, factor)
    return reshaped(ids, turned, out[0])


@move("pixel_unshuffle")
def pixel_unshuffle(
    ids: Ids, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: list[Shape]
) -> Ids:
    """Cells of a grid gathered into channels of a coarser one."""
    factor, *batch = args[0], *shape[:-3]
    channels, rows, columns = shape[-3:]
    parted = (*batch, channels, rows // factor, factor, columns // factor, factor)
    n = len(batch)
    ids = reshaped(ids, shape, parted).transpose(*range(n + 1), n + 2, n + 4, n + 1, n + 3)
    turned = (*batch, channels, factor, factor, rows // factor, columns // factor)
    return reshaped(ids, turned, out[0])


@move("channel_shuffle", "native_channel_shuffle")
def channel_shuffle(
    ids: Ids, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: list[Shape]
) -> Ids:
    """Channels in another order."""
    if ids.shape[1] == 1:
        return ids
    parted = (shape[0], args[0], shape[1] // args[0], *shape[2:])
    ids = reshaped(ids, shape, parted).swapaxes(1, 2)
    return reshaped(ids, (parted[0], parted[2], parted[1], *parted[3:]), shape)


@move("diagonal", "diagonal_copy")
def diagonal(
    ids: Ids, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: list[Shape]
) -> Ids:
    """Elements along a diagonal."""
    given: list[Any] = [*args, *(0, 0, 1)[len(args) :]]
    offset, first, second = given
    return np.diagonal(spread(spread(ids, shape, first), shape, second), offset, first, second)


@move("as_strided", "as_strided_", "as_strided_copy")
def as_strided(
    ids: Ids, shape: Shape, args: tuple[Any, ...], kwargs: Mapping[str, Any], out: list[Shape]
) -> Ids:
    """Elements by where they lie in memory: of a tensor that lies there without gaps."""
    given: list[Any] = [*args, *(None, None, None)[len(args) :]]
    size, stride, offset = given
    flat = torch.from_numpy(np.broadcast_to(ids, shape).copy())
    return torch.as_strided(flat, size, stride, offset or 0).numpy()
