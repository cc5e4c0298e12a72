"""Files of weights that strangers made -> tensors, without running anything that is in them.

Three containers are opened: safetensors, PyTorch's own through its `weights_only` reader, and
Caffe2's pickles through `models.checkpoints.caffe2`. What they hold must be plain tensors that are
as large in the file as they claim to be.
"""

import re
import zipfile
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.serialization import safe_globals

from models.checkpoints.caffe2 import read_blobs

MAX_BYTES = 4 << 30  # of all tensors together; the largest published file here has 0.3 GB
TORCH_BEFORE_ZIP = b"\x80\x02\x8a\nl\xfc\x9cF"  # how PyTorch's files began before 1.6
NESTED = ("state_dict", "model", "model_state", "network", "net")
"""Keys under which training programs put the weights, beside epochs and optimizers."""


class Inert:
    """Stands for bookkeeping that is beside the weights: takes anything, does nothing."""

    def __init__(self, *args: object, **kwargs: object) -> None: ...

    def __setstate__(self, state: object) -> None: ...


BOOKKEEPING: list[Any] = [
    (Inert, name)
    for name in (
        "builtins.getattr",  # as which the log's own methods are written, by mmengine's programs
        "mmengine.logging.history_buffer.HistoryBuffer",
        "numpy.core.multiarray._reconstruct",
        "numpy.core.multiarray.scalar",
        "numpy._core.multiarray._reconstruct",
        "numpy._core.multiarray.scalar",
        "numpy.ndarray",
        "numpy.dtype",
    )
]
"""What training programs leave in a checkpoint's log; only the names are known, never the code."""


class Contents(NamedTuple):
    """What a weight file holds."""

    tensors: dict[str, Tensor]  # by the file's own names
    header: dict[str, str]  # of safetensors
    classes: tuple[str, ...] | None  # class names, where the file carries them


def read_contents(path: Path) -> Contents:
    """Return the tensors of a weight file, floating ones in single precision.

    Raises:
        ValueError: The file is damaged, is no weight file, holds more than tensors and plain
            containers, or a tensor is not what it claims to be.
    """
    with path.open("rb") as file:
        start = file.read(9)
    if path.suffix == ".safetensors" or start[8:] == b"{":
        return _read_safetensors(path)
    if start.startswith(b"PK"):
        _check_zip(path)
    elif start.startswith((b"\x80", b"(d")) and not start.startswith(TORCH_BEFORE_ZIP):
        return Contents(_checked(path, read_blobs(path)), {}, None)
    elif not start.startswith(TORCH_BEFORE_ZIP):
        raise ValueError(
            f"{path} is not a readable safetensors file, PyTorch or Caffe2 checkpoint: it begins "
            f"with {start!r}"
        )
    return _read_pytorch(path)


def _read_safetensors(path: Path) -> Contents:
    try:
        with safe_open(path, framework="pt") as file:
            header = dict(file.metadata() or {})
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(f"{path} is not a readable safetensors file: {error}") from error
    return Contents(_checked(path, tensors), header, None)


def _check_zip(path: Path) -> None:
    """Refuse what unpacks to more than is there: PyTorch stores, and never compresses."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, OSError, ValueError) as error:
        raise ValueError(f"{path} is a damaged or truncated archive: {error}") from error
    packed = [member.filename for member in members if member.compress_type != zipfile.ZIP_STORED]
    if packed:
        raise ValueError(f"{path} is not a PyTorch checkpoint: {packed[0]} in it is compressed")
    if sum(member.file_size for member in members) > path.stat().st_size:
        raise ValueError(f"{path} claims to unpack to more than it holds")


def _read_pytorch(path: Path) -> Contents:
    bookkeeping: AbstractContextManager[None] = safe_globals(BOOKKEEPING)
    try:
        with bookkeeping:
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can make its reader raise anything
        unknown = re.search(r"GLOBAL (\S+)", str(error))
        if unknown is not None:
            raise ValueError(
                f"{path} holds more than tensors and plain containers ({unknown[1]}), so it stays "
                "unread: to load that could run code"
            ) from error
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise ValueError(f"{path} is not a readable PyTorch checkpoint: {reason[:200]}") from error
    meta = loaded.get("meta") if isinstance(loaded, Mapping) else None
    for _ in range(2):
        for key in NESTED:
            if isinstance(loaded, Mapping) and isinstance(loaded.get(key), Mapping):
                loaded = loaded[key]
                break
    if not isinstance(loaded, Mapping):
        raise ValueError(f"{path} must hold a dictionary of tensors, got {type(loaded).__name__}")
    strangers = [name for name, value in loaded.items() if not isinstance(value, Tensor)]
    if strangers or not loaded:
        found = f"{strangers[0]!r} is none" if strangers else "it is empty"
        raise ValueError(f"{path} must hold a dictionary of tensors: {found}")
    tensors = {str(name): tensor for name, tensor in loaded.items()}
    return Contents(_checked(path, tensors), {}, _class_names(meta))


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


def _checked(path: Path, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    total = 0
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_complex():
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
        name: tensor.float() if tensor.is_floating_point() else tensor
        for name, tensor in tensors.items()
    }
