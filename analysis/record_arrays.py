"""The arrays in a record file of anybody's, none larger than the file says before: no code runs."""

import io
import zipfile
from math import prod
from typing import Any

import numpy as np
from safetensors.torch import load as load_safetensors

from nonlocal_lens.models.limits import (
    LONGEST_MESSAGE,
    LONGEST_NAME,
    MOST_RECORD_BYTES,
    MOST_RECORD_MEMBERS,
    error_words,
    shortened,
)
from nonlocal_lens.models.safetensors_header import split

MOST_MEGABYTES = MOST_RECORD_BYTES // 1_000_000


def npz_arrays(data: bytes, name: str) -> dict[str, Any]:
    """Return the arrays in the bytes of a .npz file, and text as text; `name` is the file's.

    Raises:
        ValueError: It is none, or it holds too much, or Python objects.
    """
    if not data.startswith(b"PK"):
        raise ValueError(f"{name} is not a readable .npz file: it is no zip archive")
    try:
        return _unpacked(data)
    except _ObjectsError as error:
        raise ValueError(
            f"{name} holds Python objects, which are never loaded; save plain arrays"
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # of a damaged archive, whatever goes wrong in it
        words = shortened(error_words(error), LONGEST_MESSAGE - 120)
        raise ValueError(f"{name} is not a readable .npz file: {words}") from error


class _ObjectsError(ValueError):
    """An array of Python objects."""


def _unpacked(data: bytes) -> dict[str, Any]:
    """Return the arrays in an archive, none of them larger than the archive says before."""
    fields: dict[str, Any] = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        if len(members) > MOST_RECORD_MEMBERS:
            raise ValueError(f"it has {len(members)} members, at most {MOST_RECORD_MEMBERS}")
        if sum(member.file_size for member in members) > MOST_RECORD_BYTES:
            raise ValueError(f"it unpacks to more than {MOST_MEGABYTES} MB")
        for member in members:
            field = member.filename.removesuffix(".npy")
            if member.flag_bits & 1:
                raise ValueError(f"{shortened(field, LONGEST_NAME)} is encrypted")
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ValueError(f"{shortened(field, LONGEST_NAME)} is compressed in an odd way")
            with archive.open(member) as file:
                content = file.read(member.file_size + 1)
            fields[field] = _array_in(content, shortened(field, LONGEST_NAME))
    return {
        field: value.item() if value.dtype.kind == "U" and value.ndim == 0 else value
        for field, value in fields.items()
    }


def _array_in(content: bytes, field: str) -> np.ndarray:
    """Return the array in the bytes of a .npy file, which must have as many as its shape says."""
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    reads = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in reads:
        raise ValueError(f"{field} is of version {version}")
    shape, is_fortran, dtype = reads[version](file, max_header_size=10_000)
    if dtype.hasobject:
        raise _ObjectsError(field)
    held = content[file.tell() :]
    if min(shape, default=0) < 0 or prod(shape) * dtype.itemsize != len(held):
        raise ValueError(f"{field} has {len(held)} bytes for the shape {tuple(shape)[:8]}")
    values = np.frombuffer(held, dtype) if dtype.itemsize and held else np.zeros(prod(shape), dtype)
    return values.reshape(shape, order="F" if is_fortran else "C")


def safetensors_arrays(data: bytes, name: str) -> dict[str, Any]:
    """Return the tensors in the bytes of a safetensors file, and what its metadata say.

    Raises:
        ValueError: It is none, or it holds too much.
    """
    try:
        header = split(data)[0]  # before memory is taken for what it claims
        if len(header) > MOST_RECORD_MEMBERS:
            raise ValueError(f"it has {len(header)} members, at most {MOST_RECORD_MEMBERS}")
        return {**(header.get("__metadata__") or {}), **load_safetensors(data)}
    except MemoryError:
        raise
    except Exception as error:  # of a damaged file, whatever goes wrong in it
        words = shortened(error_words(error), LONGEST_MESSAGE - 120)
        raise ValueError(f"{name} is not a readable safetensors file: {words}") from error
