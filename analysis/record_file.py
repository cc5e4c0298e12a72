"""Anybody's tensors as records: one file, from any framework, with queries and keys or attention.

A file is `.safetensors` or `.npz` (nothing in it is executed). Its fields:

| field | shape | |
|---|---|---|
| `query` | (positions, channels) or (rows, columns, channels) | floats |
| `key` | likewise; positions may be fewer than the queries' | floats |
| `unary` | (key positions,) or (key rows, key columns) | optional: learned logits |
| `attention` | (query positions, key positions) | instead of query, key and unary; rows sum to 1 |
| `image` | (height, width, 3), uint8 | optional: gray if there is none |
| `scale` | one number | optional, 1: factor on every dot product |
| `query_grid`, `key_grid` | two integers: rows, columns | optional where shapes say it |
| `form`, `coupling`, `block` | text | optional, see `analysis.record` |
| `query_labels`, `key_labels` | (positions,) or (positions, labels) | optional: see `Reach` |
| `reach` | text | optional: what the labels stand for, "part" if not given |

Text and numbers may stand in a safetensors file's metadata. Several blocks or heads have their
names before a dot: `head0.query`, `head0.key`, `head1.query`, ... A file that
`AttentionRecord.save` wrote is read, too.
"""

import io
import json
import re
import tempfile
import zipfile
from collections.abc import Mapping
from math import isqrt
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors
from torch import Tensor

from analysis.grid import Grid
from analysis.images import read_image
from analysis.record import HEADER_KEY, AttentionRecord
from models.blocks import Reach

FIELDS = (
    "query",
    "key",
    "unary",
    "attention",
    "image",
    "scale",
    "query_grid",
    "key_grid",
    "form",
    "coupling",
    "block",
    "query_labels",
    "key_labels",
    "reach",
)
ROW_SUM_TOLERANCE = 1e-2
MOST_MATRIX_VALUES = 2**24  # a whole attention matrix of 4096 queries and keys
MOST_CHANNELS = 256
LOGIT_TOLERANCE = 1e-3
LEAST_WEIGHT = 1e-30
GRAY_CELL = 16  # pixels of a cell where there is no image


class RecordFile(NamedTuple):
    """What a file holds."""

    name: str  # the file's, without its ending
    image: UInt8[np.ndarray, "height width 3"]
    records: tuple[AttentionRecord, ...]

    @property
    def titled(self) -> dict[str, AttentionRecord]:
        """The records by name: the only one as the file, several by block and head."""
        if len(self.records) == 1:
            return {self.name: self.records[0]}
        return {
            one.block if one.head is None else f"{one.block} head {one.head}": one
            for one in self.records
        }


def read(path: str | Path) -> RecordFile:
    """Read a record file.

    Raises:
        FileNotFoundError: The path does not exist.
        ValueError: It is no record file; the sentence names the field.
    """
    path = Path(path)
    return read_bytes(path.read_bytes(), path.name)


def read_bytes(data: bytes, name: str) -> RecordFile:
    """Do what `read` does with a file's contents; `name` is what the file is called.

    Raises:
        ValueError: It is no record file; the sentence names the field.
    """
    stem, _, ending = name.rpartition(".")
    if ending == "npz":
        fields = _npz(data, name)
    elif ending == "safetensors":
        fields = _safetensors(data, name)
    else:
        raise ValueError(f"a record file must end in .safetensors or .npz, got {name!r}")
    try:
        if HEADER_KEY in fields:
            record = _saved(data)
            return RecordFile(stem, _image(fields.get("image"), record.query_grid), (record,))
        image, groups = fields.pop("image", None), _groups(fields)
        image_hw = None if image is None else _image(image, None).shape[:2]
        found = tuple(_record(group, block or stem, image_hw) for block, group in groups.items())
        return RecordFile(stem, _image(image, found[0].query_grid), found)
    except ValueError as error:
        raise ValueError(f"{name} is no record file: {error}") from error


def _npz(data: bytes, name: str) -> dict[str, Any]:
    if not data.startswith(b"PK"):
        raise ValueError(f"{name} is not a readable .npz file: it is no zip archive")
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            fields = {field: file[field] for field in file.files}
    except (ValueError, OSError, EOFError, zipfile.BadZipFile) as error:
        if "allow_pickle" in str(error):
            raise ValueError(
                f"{name} holds Python objects, which are never loaded; save plain arrays"
            ) from error
        raise ValueError(f"{name} is not a readable .npz file: {error}") from error
    return {
        field: value.item() if value.dtype.kind == "U" and value.ndim == 0 else value
        for field, value in fields.items()
    }


def _safetensors(data: bytes, name: str) -> dict[str, Any]:
    try:
        tensors = load_safetensors(data)
    except SafetensorError as error:
        raise ValueError(f"{name} is not a readable safetensors file: {error}") from error
    return {**_metadata(data), **tensors}


def _metadata(data: bytes) -> dict[str, str]:
    length = int.from_bytes(data[:8], "little")
    return json.loads(data[8 : 8 + length]).get("__metadata__") or {}


def _saved(data: bytes) -> AttentionRecord:
    """Return the record in a file that `AttentionRecord.save` wrote."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "record.safetensors"
        path.write_bytes(data)
        return AttentionRecord.load(path)


def _groups(fields: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the fields of every record by its name; what all share has no name before it."""
    shared: dict[str, Any] = {}
    groups: dict[str, dict[str, Any]] = {}
    for name, value in fields.items():
        block, _, field = name.rpartition(".")
        if field not in FIELDS:
            if isinstance(value, str):  # metadata of other programs
                continue
            raise ValueError(f"unknown field {name!r}; available: {', '.join(FIELDS)}")
        (groups.setdefault(block, {}) if block else shared)[field] = value
    if not groups:
        return {"": shared}
    return {block: {**shared, **groups[block]} for block in sorted(groups, key=_natural)}


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a sorting key by which head10 comes after head9."""
    parts = re.findall(r"\d+|\D+", name)
    return [(int(part), "") if part.isdigit() else (-1, part) for part in parts]


def _record(
    fields: dict[str, Any], block: str, image_hw: tuple[int, int] | None
) -> AttentionRecord:
    attention = fields.get("attention")
    if attention is not None:
        clash = next((name for name in ("query", "key", "unary") if name in fields), None)
        if clash:
            raise ValueError(f"field {clash!r} must not be given beside a whole 'attention'")
        matrix = _floats(fields, "attention", (2,))
        query, key = _factors(matrix)
        shapes: dict[str, torch.Size | None] = {"query": None, "key": None}
        unary = None
    else:
        for name in ("query", "key"):
            if name not in fields:
                raise ValueError(f"field {name!r} is missing (or a whole 'attention')")
        raw = {name: _floats(fields, name, (2, 3)) for name in ("query", "key")}
        shapes = {name: x.shape[:2] if x.ndim == 3 else None for name, x in raw.items()}
        query, key = (x.flatten(0, -2) for x in raw.values())
        if query.shape[1] != key.shape[1]:
            raise ValueError(
                f"field 'key' must have as many channels as 'query', {query.shape[1]}, "
                f"got {key.shape[1]}"
            )
        unary = _floats(fields, "unary", (1, 2)).flatten() if "unary" in fields else None
        if unary is not None and len(unary) != len(key):
            raise ValueError(
                f"field 'unary' must have one number for each of the {len(key)} keys, "
                f"got {len(unary)}"
            )
    query_hw = _grid_hw(fields, "query", len(query), shapes["query"], image_hw)
    image_hw = image_hw or (query_hw[0] * GRAY_CELL, query_hw[1] * GRAY_CELL)
    key_hw = _grid_hw(fields, "key", len(key), shapes["key"], image_hw, like=query_hw)
    return AttentionRecord(
        block=_text(fields, "block", block),
        form=_text(fields, "form", "embedded_gaussian"),
        coupling=_text(fields, "coupling", "coupled"),
        scale=_number(fields, "scale", 1.0),
        query=query,
        key=key,
        unary=unary,
        query_grid=Grid.tiling(image_hw, *query_hw),
        key_grid=Grid.tiling(image_hw, *key_hw),
        reach=_reach(fields),
    )


def _reach(fields: dict[str, Any]) -> Reach | None:
    sides = [name for name in ("query_labels", "key_labels") if name in fields]
    if not sides:
        return None
    if len(sides) == 1:
        raise ValueError(f"field {sides[0]!r} must not be given without the other side's labels")
    query, key = (_labels(fields[name], name) for name in sides)
    return Reach(_text(fields, "reach", "part"), query, key)


def _labels(value: Any, name: str) -> Tensor:
    labels = value if isinstance(value, Tensor) else _plain(value, name)
    if labels.is_floating_point() or labels.ndim not in (1, 2):
        raise ValueError(
            f"field {name!r} must hold one or more integers for every position, "
            f"got {labels.dtype} of shape {tuple(labels.shape)}"
        )
    return labels.reshape(len(labels), -1).long()


def _floats(fields: Mapping[str, Any], name: str, dimensions: tuple[int, ...]) -> Tensor:
    """Return a field as single-precision numbers; it must be finite and have so many dimensions."""
    value = fields[name]
    tensor = value if isinstance(value, Tensor) else _plain(value, name)
    if not tensor.is_floating_point():
        raise ValueError(f"field {name!r} must hold floating-point numbers, got {tensor.dtype}")
    if tensor.ndim not in dimensions or not tensor.numel():
        wanted = " or ".join(map(str, dimensions))
        raise ValueError(
            f"field {name!r} must have {wanted} dimensions and hold numbers, "
            f"got shape {tuple(tensor.shape)}"
        )
    tensor = tensor.to(torch.float32)
    if not tensor.isfinite().all():
        raise ValueError(f"field {name!r} must be finite, got NaN or infinite values")
    return tensor


def _plain(value: Any, name: str) -> Tensor:
    array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"field {name!r} must hold numbers, got {array.dtype}")
    return torch.from_numpy(np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="))))


def _text(fields: Mapping[str, Any], name: str, default: str) -> str:
    value = fields.get(name, default)
    text = value if isinstance(value, str) else np.asarray(value).item()
    if not isinstance(text, str):
        raise ValueError(f"field {name!r} must be text, got {text!r}")
    return text


def _number(fields: Mapping[str, Any], name: str, default: float) -> float:
    value = fields.get(name, default)
    try:
        return float(np.asarray(value).item())
    except (ValueError, TypeError) as error:
        raise ValueError(f"field {name!r} must be one number, got {value!r}") from error


def _grid_hw(
    fields: Mapping[str, Any],
    side: str,
    positions: int,
    shape: tuple[int, ...] | None,
    image_hw: tuple[int, int] | None,
    like: tuple[int, int] | None = None,
) -> tuple[int, int]:
    """Return rows and columns: as given, as the tensor's shape says, or as the image suggests."""
    name = f"{side}_grid"
    given = fields.get(name)
    if given is not None:
        try:
            if isinstance(given, str):
                given = given.replace("x", " ").replace(",", " ").split()
            rows, columns = (int(number) for number in np.asarray(given).ravel())
        except (TypeError, ValueError) as error:
            raise ValueError(f"field {name!r} must be rows, columns, got {given!r}") from error
        if rows < 1 or columns < 1 or rows * columns != positions:
            raise ValueError(
                f"field {name!r} must have as many cells as {side!r} has positions, {positions}, "
                f"got {rows} x {columns}"
            )
        return rows, columns
    if shape is not None:
        return shape[0], shape[1]
    if like is not None and like[0] * like[1] == positions:
        return like
    aspect = 1.0 if image_hw is None else image_hw[0] / image_hw[1]
    fitting = [
        (rows, positions // rows)
        for rows in range(1, positions + 1)
        if positions % rows == 0 and abs(np.log(rows / (positions // rows) / aspect)) < 0.2
    ]
    if not fitting:
        hint = "a square" if image_hw is None else f"an image of {image_hw[0]} x {image_hw[1]}"
        raise ValueError(
            f"field {name!r} is missing: {positions} positions do not fill {hint}; "
            f"give rows, columns"
        )
    return min(fitting, key=lambda hw: abs(np.log(hw[0] / hw[1] / aspect)))


def _factors(
    attention: Float[Tensor, "query_pos key_pos"],
) -> tuple[Float[Tensor, "query_pos channels"], Float[Tensor, "key_pos channels"]]:
    """Return queries and keys whose softmax is a given attention.

    The logarithm of a softmax of dot products has, without its row means, as low a rank as there
    were channels: then few are found again. Of any other matrix the logits themselves are the
    queries, and the keys are the unit vectors.
    """
    if attention.numel() > MOST_MATRIX_VALUES:
        raise ValueError(
            f"field 'attention' must have at most {MOST_MATRIX_VALUES} values (it is better to "
            f"give query and key), got shape {tuple(attention.shape)}"
        )
    if (attention < 0).any():
        raise ValueError(
            f"field 'attention' must not be negative, got {attention.min().item():.3g}"
        )
    sums = attention.sum(dim=1)
    worst = (sums - 1).abs().argmax()
    if abs(sums[worst].item() - 1) > ROW_SUM_TOLERANCE:
        raise ValueError(
            f"field 'attention' must have rows that sum to 1, row {worst.item()} sums to "
            f"{sums[worst].item():.4g}"
        )
    logits = attention.double().clamp_min(LEAST_WEIGHT).log()
    logits = logits - logits.mean(dim=1, keepdim=True)
    most = min(MOST_CHANNELS, isqrt(logits.numel()) // 2)
    if most:
        generator_state = torch.get_rng_state()
        torch.manual_seed(0)  # the factorization starts from random vectors
        left, values, right = torch.svd_lowrank(logits, q=most, niter=4)
        torch.set_rng_state(generator_state)
        kept = max(1, int((values > values[0] * 1e-6).sum()))
        query, key = left[:, :kept] * values[:kept], right[:, :kept]
        if (query @ key.T - logits).abs().max() < LOGIT_TOLERANCE:
            return query.float(), key.float()
    return logits.float(), torch.eye(logits.shape[1])


def _image(image: Any, grid: Grid | None) -> UInt8[np.ndarray, "height width 3"]:
    """Return the image of a file, or gray of the size that the records lie on."""
    if image is None:
        height, width = grid.image_hw if grid else (GRAY_CELL, GRAY_CELL)
        return np.full((round(height), round(width), 3), 128, np.uint8)
    try:
        return read_image(image.numpy() if isinstance(image, Tensor) else image)
    except ValueError as error:
        raise ValueError(f"field 'image': {error}") from error
