"""Files of weights that strangers made -> tensors, without running anything that is in them.

Three containers are opened: safetensors, PyTorch's own (its archives, and its files before 1.6) and
Caffe2's pickles, whose names `models.checkpoints.pickles` and `models.checkpoints.caffe2` never
look up. An index of shards is opened with its shards. What they hold must be plain tensors that are
as large in the file as they claim to be.
"""

import io
import json
import pickle
import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from nonlocal_lens.models.checkpoints.caffe2 import Forbidden, read_blobs
from nonlocal_lens.models.checkpoints.pickles import (
    Inert,
    InertUnpickler,
    NotPlain,
    Storage,
)
from nonlocal_lens.models.checkpoints.weight_sets import WEIGHTS_AT, about, weight_sets
from nonlocal_lens.models.limits import (
    LONGEST_NAME,
    MOST_TENSOR_BYTES,
    MOST_TENSORS,
    error_words,
    most_tensor_bytes,
    shortened,
)

MAX_BYTES = MOST_TENSOR_BYTES
TORCH_BEFORE_ZIP = b"\x80\x02\x8a\nl\xfc\x9cF"  # how PyTorch's files began before 1.6
INDEX = ".index.json"  # how the names of files end that say which tensor is in which shard


class Contents(NamedTuple):
    """What a weight file holds."""

    tensors: dict[str, Tensor]  # by the file's own names; of several sets, the one taken first
    header: dict[str, str]  # of safetensors
    classes: tuple[str, ...] | None  # class names, where the file carries them
    sets: dict[str, dict[str, Tensor]]  # all sets of weights in it, by where they lie
    about: str = ""  # what it says about its training, as text: configuration, experiment's name


def read_contents(path: Path) -> Contents:
    """Return the tensors of a weight file, floating ones in single precision.

    Raises:
        ValueError: The file is damaged, is no weight file, holds something that would have to be
            called, or a tensor is not what it claims to be.
        FileNotFoundError: A shard that an index names is not there.
    """
    if path.name.endswith(INDEX):
        return _read_shards(path)
    with path.open("rb") as file:
        start = file.read(9)
    if path.suffix == ".safetensors" or start[8:] == b"{":
        return _read_safetensors(path)
    if start.startswith(b"PK"):
        return _contents_of(path, _read_pytorch(path, _unpickled_archive))
    if start.startswith(TORCH_BEFORE_ZIP):
        return _contents_of(path, _read_pytorch(path, _unpickled_file))
    if start.startswith((b"\x80", b"(d")):
        tensors = _checked(path, read_blobs(path))
        return Contents(tensors, {}, None, {"": tensors})
    raise ValueError(
        f"{path} is not a readable safetensors file, PyTorch or Caffe2 checkpoint: it begins "
        f"with {start!r}"
    )


def _read_safetensors(path: Path) -> Contents:
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            if len(names) > MOST_TENSORS:
                raise ValueError(
                    f"{path} has {len(names)} tensors; at most {MOST_TENSORS} are read"
                )
            header = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        words = shortened(error_words(error), 150)
        raise ValueError(f"{path} is not a readable safetensors file: {words}") from error
    tensors = _checked(path, tensors)
    return Contents(tensors, header, None, {"": tensors}, json.dumps(header))


def _read_shards(path: Path) -> Contents:
    """Return the tensors of all shards of an index, as Hugging Face's libraries write it."""
    try:
        places = json.loads(path.read_text(encoding="utf-8"))["weight_map"]
        shards = dict.fromkeys(places.values())
        escaping = [name for name in shards if Path(name).name != name or name.endswith(INDEX)]
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path} is no index of shards: it must be JSON with a weight_map from names of "
            "tensors to names of files"
        ) from error
    if escaping:
        raise ValueError(f"{path} names a shard that is no file beside it: {escaping[0]!r}")
    tensors: dict[str, Tensor] = {}
    for name in shards:
        shard = path.with_name(name)
        if not shard.is_file():
            raise FileNotFoundError(
                f"there is no file {shard}: {path.name} says that it holds some of the weights"
            )
        tensors |= read_contents(shard).tensors
    missing = [name for name in places if name not in tensors]
    if missing:
        raise ValueError(f"{path} says that {places[missing[0]]} holds {missing[0]}; it does not")
    tensors = _checked(path, tensors)
    return Contents(tensors, {}, None, {"": tensors})


def _read_pytorch(path: Path, read: Any) -> Any:
    """Return what a file of PyTorch holds, made inert.

    Raises:
        ValueError: It cannot be read, or something in it would have to be called.
    """
    try:
        return read(path)
    except Forbidden as error:
        raise ValueError(
            f"{path} holds more than tensors and plain containers ({error}), so it stays unread: "
            "to load that could run code"
        ) from error
    except _PackedError as error:
        raise ValueError(str(error)) from error
    except Exception as error:  # a damaged pickle can make its reader raise anything
        reason = shortened(error_words(error), 120)
        raise ValueError(f"{path} is not a readable PyTorch checkpoint: {reason}") from error


class _PackedError(ValueError):
    """An archive is damaged, or none that PyTorch makes; the sentence is for users."""


def _unpickled_archive(path: Path) -> Any:
    """Return what the pickle in an archive holds."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise _PackedError(f"{path} is a damaged or truncated archive: {error}") from error
    with archive:
        members = archive.infolist()
        if any(member.filename.endswith("/constants.pkl") for member in members):
            raise ValueError("it is a program (TorchScript); save the network's state_dict")
        # PyTorch stores, and never compresses: what unpacks to more than is there is refused
        packed = [each.filename for each in members if each.compress_type != zipfile.ZIP_STORED]
        if packed:
            raise _PackedError(
                f"{path} is not a PyTorch checkpoint: {packed[0]} in it is compressed"
            )
        if sum(member.file_size for member in members) > path.stat().st_size:
            raise _PackedError(f"{path} claims to unpack to more than it holds")
        names = {member.filename for member in members}
        main = next((name for name in names if name.rpartition("/")[2] == "data.pkl"), None)
        if main is None:
            raise ValueError(f"there is no data.pkl in it, but {', '.join(sorted(names)[:3])}")
        folder = main.removesuffix("data.pkl")
        if f"{folder}byteorder" in names and archive.read(f"{folder}byteorder") != b"little":
            raise ValueError("its numbers are in another order of bytes")
        kept: dict[str, Tensor] = {}

        def storage(key: str, dtype: torch.dtype, _numel: int, _more: Any) -> Storage:
            if key not in kept:
                kept[key] = _bytes(archive.read(f"{folder}data/{key}"))
            return Storage(kept[key], dtype)

        return InertUnpickler(io.BytesIO(archive.read(main)), storage).load()


def _unpickled_file(path: Path) -> Any:
    """Return what a file from before archives holds: pickles, and then the bytes of storages."""
    kept: dict[str, Tensor] = {}
    sizes: dict[str, int] = {}

    def storage(key: str, dtype: torch.dtype, numel: int, more: Any) -> Storage:
        size = numel * dtype.itemsize
        if key not in kept:
            if not 0 <= size <= path.stat().st_size - sum(map(len, kept.values())):
                raise ValueError(f"a storage of {numel} numbers, for which it is too short")
            kept[key], sizes[key] = torch.empty(size, dtype=torch.uint8), dtype.itemsize
        if more and more[0] is not None:  # a part of it, as PyTorch before 0.4 shared memory
            _key, offset, length = more[0]
            start, end = (int(each) * dtype.itemsize for each in (offset, offset + length))
            return Storage(kept[key][start:end], dtype)
        return Storage(kept[key], dtype)

    with path.open("rb") as file:
        for _ in range(3):  # the magic number, the version, and about the machine
            InertUnpickler(file).load()
        loaded = InertUnpickler(file, storage).load()
        for key in InertUnpickler(file).load():
            _fill(file, kept[key], sizes.pop(key))
    if sizes:
        raise ValueError(f"it ends before {len(sizes)} of its storages")
    return loaded


def _fill(file: BinaryIO, data: Tensor, itemsize: int) -> None:
    """Read the bytes of a storage, after the number of its numbers."""
    (numel,) = struct.unpack("<q", file.read(8))
    found = file.read(len(data))
    if numel * itemsize != len(data) or len(found) != len(data):
        raise pickle.UnpicklingError("it ends within a storage, or gives it two sizes")
    data.copy_(_bytes(found))


def _bytes(data: bytes) -> Tensor:
    return torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.empty(0).byte()


def _contents_of(path: Path, loaded: Any) -> Contents:
    """Return the weights in what a file holds, wherever they lie.

    Raises:
        ValueError: There are none.
    """
    if not isinstance(loaded, Mapping):
        raise ValueError(f"{path} must hold a dictionary of tensors, got {_kind(loaded)}")
    if not loaded:
        raise ValueError(f"{path} must hold a dictionary of tensors: it is empty")
    try:
        sets = weight_sets(loaded, most_tensor_bytes(path.stat().st_size))
    except RecursionError as error:
        raise ValueError(
            f"{shortened(str(path), 150)} stays unread: modules lie too deep in one another"
        ) from error
    except ValueError as error:
        raise ValueError(f"{shortened(str(path), 150)} stays unread: {error}") from error
    found = {place: _checked(path, tensors) for place, tensors in sets.items()}
    if not found:
        names = [shortened(key, 40) if isinstance(key, str) else _kind(key) for key in loaded]
        stranger = next(
            (
                name
                for name, value in zip(names, loaded.values(), strict=True)
                if not isinstance(value, Tensor)
            ),
            "",
        )
        keys = ", ".join(map(repr, names[:12]))
        raise ValueError(
            f"{path} must hold a dictionary of tensors: {stranger!r} is none; it has the keys "
            f"{keys}{', ...' if len(loaded) > 12 else ''}, and weights were looked for under all "
            f"of them, first under {', '.join(WEIGHTS_AT[:8])}"
        )
    first = next(iter(found.values()))
    return Contents(first, {}, _class_names(loaded.get("meta")), found, about(loaded))


def _kind(value: Any) -> str:
    name = value.name if isinstance(value, Inert) else ""
    return shortened(name, LONGEST_NAME) or type(value).__name__


def _class_names(meta: object) -> tuple[str, ...] | None:
    """Return the names that OpenMMLab's programs leave in a checkpoint, if they are there."""
    if not isinstance(meta, Mapping):
        return None
    dataset_meta = meta.get("dataset_meta")
    names = meta.get("CLASSES") or (
        dataset_meta.get("classes") if isinstance(dataset_meta, Mapping) else None
    )
    if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
        return None
    return tuple(names)


def _checked(path: Path, tensors: Mapping[str, Tensor | NotPlain]) -> dict[str, Tensor]:
    total = 0
    plain: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if isinstance(tensor, NotPlain):
            raise ValueError(f"{path}: {name} is not a plain tensor, but {tensor.kind}")
        plain[name] = tensor
        scaled = tensor.is_floating_point() and tensor.element_size() < 2  # numbers of 8 bits
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex() or scaled:
            raise ValueError(f"{path}: {name} is not a plain tensor, but {tensor.dtype}")
        claimed = tensor.numel() * tensor.element_size()
        if claimed > tensor.untyped_storage().nbytes():
            raise ValueError(
                f"{path}: {name} claims the shape {tuple(tensor.shape)}, for which the file holds "
                "too few numbers"
            )
        total += claimed
    if total > MAX_BYTES:
        raise ValueError(f"{path} holds {total / 2**30:.1f} GB of tensors; at most 4 are possible")
    return {
        name: tensor.detach().float() if tensor.is_floating_point() else tensor
        for name, tensor in plain.items()
    }
