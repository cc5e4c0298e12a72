"""How often a layer's input holds the same tokens: copies of a picture in one batch are no heads.

Heads and copies look alike where attention is computed: groups of the same tokens. What tells them
apart is the layer before. It makes heads of its channels, so that its input has every token once;
copies are there already.
"""

from collections.abc import Sequence

import numpy as np

from nonlocal_lens.analysis.tracing.label import Label, Shape
from nonlocal_lens.analysis.tracing.operation import Operation, out_of_place
from nonlocal_lens.analysis.tracing.sources import Ids

LAYERS = {
    "mm": (0, 1), "addmm": (1, 1), "_addmm_activation": (1, 1), "bmm": (0, 2), "baddbmm": (1, 2),
    "linear": (0, -1), "mkldnn_linear": (0, -1), "convolution": (0, 1), "_convolution": (0, 1),
    "mkldnn_convolution": (0, 1), "cudnn_convolution": (0, 1),
}  # fmt: skip
"""Operation of a layer -> which operand it is applied to, and the dimension of its channels.

The layer's weight is the operand after that.
"""

Layers = dict[str, int]
"""Module in which a layer was applied -> how often its input held the same tokens, at least."""


def input_of(operation: Operation) -> tuple[int, int] | None:
    """Return which operand a layer is applied to, and its channels; None if it is no layer."""
    return LAYERS.get(out_of_place(operation.op_name))


def copies(label: Label, shape: Shape, channels: int) -> int | None:
    """Return how many items of a batch, or other parts of a tensor, hold the very same places.

    None if there are no places in it.

    Items that hold them in another order, as flipped ones do, count as others.

    Args:
        label: Of the tensor.
        shape: The tensor's.
        channels: The dimension of the channels.
    """
    channels %= len(shape)
    if label.affine is not None:
        alike = [side is None for side in label.affine.sides]
        return _product(shape, alike, channels)
    ids = label.ids
    if not (ids >= 0).any():
        return None
    # one channel tells: to find what lies at the same place takes time for every number
    ids = ids.take([0], axis=channels) if ids.shape[channels] else ids
    ids = label.sources.canonical(ids)
    alike = [
        bool(size == 1 or (ids == ids.take([0], axis=d)).all()) for d, size in enumerate(ids.shape)
    ]
    for dimension, same in enumerate(alike):
        if same:
            ids = ids.take([0], axis=dimension)
    return _product(shape, alike, channels) * _repeats(ids.ravel())


def _product(shape: Shape, alike: Sequence[bool], channels: int) -> int:
    """Return how many parts there are along all dimensions along which places are alike."""
    sizes = [size for d, size in enumerate(shape) if alike[d] and d != channels]
    return int(np.prod(sizes, dtype=int)) if 0 not in shape else 1


def _repeats(ids: Ids) -> int:
    """Return how often a row of tokens is repeated: as a whole, or each of its tokens."""
    count = int((ids == ids[0]).sum()) if ids.size else 1
    if count < 2 or ids.size % count:
        return 1
    wholes, tokens = ids.reshape(count, -1), ids.reshape(-1, count)
    repeated = (wholes == wholes[:1]).all() or (tokens == tokens[:, :1]).all()
    return count if repeated else 1


def in_block(layers: Layers, block: str) -> int:
    """Return how often a block is given the same tokens; 0 if that is unknown.

    Layers within it may see heads as further items, so that the least number is that of its input.
    A block may have such layers alone: then those around it say otherwise.
    """
    own = _least(layers, block)
    around = block
    while own is None and around:
        around = around.rpartition(".")[0]
        own = _least(layers, around)
    if own is None or own == 1 or _least(layers, around.rpartition(".")[0]) == own:
        return own or 1
    return 0


def _least(layers: Layers, block: str) -> int | None:
    prefix = f"{block}." if block else ""
    found = [n for name, n in layers.items() if name == block or name.startswith(prefix)]
    return min(found, default=None)
