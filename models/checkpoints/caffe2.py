"""Caffe2's files of weights: pickled arrays, read without NumPy's or anybody's code being called.

Of a pickle only containers, numbers, strings and arrays of plain numbers are understood. Arrays are
made here from their bytes; any other name in the file is an error.
"""

import pickle
import re
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Shaped
from torch import Tensor

from nonlocal_lens.models.checkpoints.bounded_pickle import ENCODE, BoundedUnpickler, check_sizes
from nonlocal_lens.models.limits import LONGEST_NAME, error_words, most_tensor_bytes, shortened

NUMBERS = re.compile(r"[<>|=]?(f[248]|i[1248]|u[1248])")
ENDINGS = {
    "_bn_s": ".bn.weight",
    "_bn_b": ".bn.bias",
    "_bn_rm": ".bn.running_mean",
    "_bn_riv": ".bn.running_var",
}
"""What normalizations of video-nonlocal-net and SlowFast end in; `riv` holds the variance."""


class Forbidden(pickle.UnpicklingError):
    """The pickle names something that is no array."""


class Dtype:
    """Type of numbers, as a pickle describes it."""

    def __init__(self, name: str, *_flags: object) -> None:
        self.name, self.order = str(name)[:8] if isinstance(name, str | bytes) else "", "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Take the order of bytes."""
        self.order = state[1] if isinstance(state[1], str) else ""


class Array:
    """An array, as a pickle describes it."""

    def __init__(self, *_placeholders: object) -> None:
        self.values: Shaped[np.ndarray, ...] | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _version, shape, dtype, is_fortran, data = state
        name = dtype.order.replace("|", "") + dtype.name if isinstance(dtype, Dtype) else ""
        if not NUMBERS.fullmatch(name):
            raise Forbidden(f"an array of {shortened(name, LONGEST_NAME) or 'no numbers'}")
        check_sizes(shape)
        data = data.encode("latin1") if isinstance(data, str) else data
        values = np.frombuffer(data, np.dtype(name))
        if prod(shape) != len(values):
            raise pickle.UnpicklingError(f"an array of shape {shape} with {len(values)} numbers")
        self.values = values.reshape(shape, order="F" if is_fortran else "C")


class _Scalar:
    """A number that is no weight, such as the learning rate: its value is not read."""

    def __init__(self, *_parts: object) -> None: ...


KNOWN: dict[str, Any] = {
    "numpy.dtype": Dtype,
    "numpy.ndarray": "numpy.ndarray",  # an argument of the next, never called
    "numpy.core.multiarray._reconstruct": Array,
    "numpy._core.multiarray._reconstruct": Array,
    "numpy.core.multiarray.scalar": _Scalar,
    "numpy._core.multiarray.scalar": _Scalar,
}


class ArrayUnpickler(BoundedUnpickler):
    """Reads containers and arrays; names of anything else are refused."""

    takes_state = (Array, Dtype)

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name here; nothing is ever imported."""
        self.note_name(module, name)
        full = f"{module}.{name}"
        if full == ENCODE:
            return self.bytes_of_text()
        if full not in KNOWN:
            raise Forbidden(shortened(full, LONGEST_NAME))
        return KNOWN[full]


def read_blobs(path: Path) -> dict[str, Tensor]:
    """Return the weights in a Caffe2 pickle; non-local blocks are named as SlowFast names them.

    `nonlocal_conv3_1_theta_w` becomes `nonlocal_conv3_1.conv_theta.weight`. Momenta and the
    learning rate are left out.

    Raises:
        ValueError: The file is damaged, or holds anything but arrays and plain containers.
    """
    try:
        with path.open("rb") as file:
            loaded = ArrayUnpickler(file).load()
    except Forbidden as error:
        raise ValueError(
            f"{path} holds more than arrays and plain containers ({error}), so it stays unread: to "
            "load that could run code"
        ) from error
    except Exception as error:  # a damaged pickle can make its reader raise anything
        raise ValueError(
            shortened(f"{path} is not a readable checkpoint: {error_words(error)}")
        ) from error
    blobs = loaded.get("blobs", loaded) if isinstance(loaded, dict) else None
    if not isinstance(blobs, dict):
        raise ValueError(f"{path} must hold a dictionary of arrays, got {type(loaded).__name__}")
    arrays = [blob.values for blob in blobs.values() if isinstance(blob, Array)]
    held = sum(values.size * max(4, values.itemsize) for values in arrays if values is not None)
    if held > most_tensor_bytes(path.stat().st_size):
        raise ValueError(f"{path} stays unread: its arrays together are far larger than the file")
    return {
        _dotted(name): torch.from_numpy(blob.values.astype(blob.values.dtype.newbyteorder("=")))
        for name, blob in blobs.items()
        if isinstance(name, str)
        and not name.endswith("_momentum")
        and isinstance(blob, Array)
        and blob.values is not None
        and name != "lr"
    }


def _dotted(name: str) -> str:
    block = re.match(r"nonlocal_conv\d+_\d+", name)
    if block is None:
        return name
    rest = name[block.end() :]
    if rest in ENDINGS:
        return block[0] + ENDINGS[rest]
    if layer := re.fullmatch(r"_(theta|phi|g|out)_([wb])", rest):
        return f"{block[0]}.conv_{layer[1]}.{'weight' if layer[2] == 'w' else 'bias'}"
    return name
