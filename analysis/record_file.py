"""Anybody's tensors as records: one file, from any framework, with queries and keys or attention.

A file is `.safetensors` or `.npz` (nothing in it is executed). Its fields:

| field | shape | |
|---|---|---|
| `query` | (positions, channels) or (rows, columns, channels) | floats |
| `key` | likewise; positions may be fewer than the queries' | floats |
| `unary` | (key positions,) or (key rows, key columns) | optional: learned logits |
| `value` | as `key`, with channels of its own | optional: tells the kind of a sink, see below |
| `attention` | (query positions, key positions) | instead of query, key and unary; rows sum to 1 |
| `image` | (height, width, 3), uint8 | optional: gray if there is none |
| `scale` | one number | optional, 1: factor on every dot product |
| `query_grid`, `key_grid` | two integers: rows, columns | optional where shapes say it |
| `query_names`, `key_names` | text, see below | optional: tokens that are no places |
| `query_cells`, `key_cells` | (places,), integers | optional: which cells of the grid are there |
| `form`, `coupling`, `block` | text | optional, see `analysis.record` |
| `query_labels`, `key_labels` | (positions,) or (positions, labels) | optional: see `Reach` |
| `reach` | text | optional: what the labels stand for, "part" if not given |

Names are those of tokens that are no places: a class token, registers. There are as many as tokens,
empty for those that are places ("class" and 196 times ""), or fewer, which are then those of the
last tokens. Text with commas between them will do.

Values are what attention weights, best as the layer behind the attention makes them (W_O v of a
head, W_z g(x) of a non-local block): what a sink adds is told by their lengths and directions.

Text and numbers may stand in a safetensors file's metadata. Several blocks or heads have their
names before a dot: `head0.query`, `head0.key`, `head1.query`, ... A file that
`AttentionRecord.save` wrote is read, too.
"""

import re
from collections.abc import Mapping, Sequence
from math import isqrt
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from nonlocal_lens.analysis.grid import Grid
from nonlocal_lens.analysis.images import read_image
from nonlocal_lens.analysis.record import HEADER_KEY, AttentionRecord
from nonlocal_lens.analysis.record_arrays import MOST_MEGABYTES, npz_arrays, safetensors_arrays
from nonlocal_lens.analysis.record_tokens import GRAY_CELL, axes_of, side_of
from nonlocal_lens.models.blocks import Reach
from nonlocal_lens.models.limits import (
    LONGEST_MESSAGE,
    LONGEST_NAME,
    MOST_PIXELS,
    MOST_POSITIONS,
    MOST_RECORD_BYTES,
    MOST_RECORD_NUMBERS,
    MOST_RECORD_WEIGHTS,
    MOST_RECORDS,
    error_words,
    shortened,
)
from nonlocal_lens.models.local_files import read_regular

FIELDS = (
    "query",
    "key",
    "unary",
    "value",
    "attention",
    "image",
    "scale",
    "query_grid",
    "key_grid",
    "query_names",
    "key_names",
    "query_cells",
    "key_cells",
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
MOST_VALUE_CHANNELS = 4096
LOGIT_TOLERANCE = 1e-3
LEAST_WEIGHT = 1e-30


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
    return read_bytes(read_regular(path, MOST_RECORD_BYTES, "record file"), path.name)


def read_bytes(data: bytes, name: str) -> RecordFile:
    """Do what `read` does with a file's contents; `name` is what the file is called.

    Raises:
        ValueError: It is no record file; the sentence names the field.
    """
    stem, _, ending = name.rpartition(".")
    stem, name = shortened(stem, LONGEST_NAME), shortened(name, LONGEST_NAME)
    if ending not in ("npz", "safetensors"):
        raise ValueError(f"a record file must end in .safetensors or .npz, got {name!r}")
    if len(data) > MOST_RECORD_BYTES:
        raise ValueError(f"{name} has {len(data) / 1e6:.0f} MB; at most {MOST_MEGABYTES} are read")
    fields = npz_arrays(data, name) if ending == "npz" else safetensors_arrays(data, name)
    try:
        if HEADER_KEY in fields:
            record = AttentionRecord.from_bytes(data)
            _check_costs([record])
            return RecordFile(stem, _image(fields.get("image"), _grid_of(record)), (record,))
        image, groups = fields.pop("image", None), _groups(fields)
        if len(groups) > MOST_RECORDS:
            raise ValueError(f"it holds {len(groups)} records; at most {MOST_RECORDS} are read")
        image_hw = None if image is None else _image(image, None).shape[:2]
        found = tuple(_record(group, block or stem, image_hw) for block, group in groups.items())
        _check_costs(found)
        return RecordFile(stem, _image(image, _grid_of(found[0])), found)
    except MemoryError:
        raise
    except Exception as error:  # what strangers made can hold whatever does not fit
        words = shortened(error_words(error), LONGEST_MESSAGE - 100)
        raise ValueError(f"{name} is no record file: {words}") from error


def _check_costs(records: Sequence[AttentionRecord]) -> None:
    """Raise ValueError where to compute all weights, and what they add, would take too much."""
    weights = sum(len(record.query) * len(record.key) for record in records)
    if weights > MOST_RECORD_WEIGHTS:
        raise ValueError(
            f"its records have {weights} weights in all, queries times keys; at most "
            f"{MOST_RECORD_WEIGHTS} can be shown: put fewer into one file"
        )
    for channels, positions in (
        (record.value.shape[1], len(record.query) + len(record.key))
        for record in records
        if record.value is not None
    ):
        if channels > MOST_VALUE_CHANNELS or channels * positions > MOST_RECORD_NUMBERS:
            raise ValueError(
                f"field 'value' has {channels} channels; at most {MOST_VALUE_CHANNELS} can be "
                f"measured, and {MOST_RECORD_NUMBERS // positions} for {positions} queries and keys"
            )


def _grid_of(record: AttentionRecord) -> Grid | None:
    return record.query_axis.grid or record.key_axis.grid


def _groups(fields: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the fields of every record by its name; what all share has no name before it."""
    shared: dict[str, Any] = {}
    groups: dict[str, dict[str, Any]] = {}
    for name, value in fields.items():
        block, _, field = name.rpartition(".")
        if field not in FIELDS:
            if isinstance(value, str):  # metadata of other programs
                continue
            raise ValueError(
                f"unknown field {shortened(name, LONGEST_NAME)!r}; available: {', '.join(FIELDS)}"
            )
        (groups.setdefault(block, {}) if block else shared)[field] = value
    if not groups:
        return {"": shared}
    return {block: {**shared, **groups[block]} for block in sorted(groups, key=_natural)}


def _natural(name: str) -> list[tuple[int, str]]:
    """Return a sorting key by which head10 comes after head9."""
    parts = re.findall(r"\d+|\D+", name[:LONGEST_NAME])
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]


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
    value = _value(fields, len(key))
    for side, count in (("query", len(query)), ("key", len(key))):
        if count > MOST_POSITIONS:
            raise ValueError(
                f"field {side!r} has {count} positions; at most {MOST_POSITIONS} can be shown"
            )
    numbers = query.numel() + key.numel()
    if numbers > MOST_RECORD_NUMBERS:
        raise ValueError(
            f"queries and keys have {numbers} numbers; at most {MOST_RECORD_NUMBERS} can be shown"
        )
    sides = {"query": len(query), "key": len(key)}
    tokens = {
        name: side_of(fields, name, count, shapes[name] is not None)
        for name, count in sides.items()
    }
    laid = axes_of(fields, tokens, shapes, image_hw)
    query_order, key_order = tokens["query"].order, tokens["key"].order
    reach = _reach(fields)
    if reach is not None and (len(reach.query), len(reach.key)) == (len(query), len(key)):
        reach = Reach(reach.kind, reach.query[query_order], reach.key[key_order])
    return AttentionRecord(
        block=_text(fields, "block", block),
        form=_text(fields, "form", "embedded_gaussian"),
        coupling=_text(fields, "coupling", "coupled"),
        scale=_number(fields, "scale", 1.0),
        query=query[query_order],
        key=key[key_order],
        unary=None if unary is None else unary[key_order],
        value=None if value is None else value[key_order],
        query_grid=laid["query"].grid,  # type: ignore[arg-type]  # None is possible
        key_grid=laid["key"].grid,  # type: ignore[arg-type]
        query_axis=laid["query"],
        key_axis=laid["key"],
        reach=reach,
    )


def _value(fields: dict[str, Any], keys: int) -> Float[Tensor, "key_pos value_channels"] | None:
    if "value" not in fields:
        return None
    value = _floats(fields, "value", (2, 3)).flatten(0, -2)
    if len(value) != keys:
        raise ValueError(
            f"field 'value' must have one vector for each of the {keys} keys, got {len(value)}"
        )
    return value


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
        if height * width > MOST_PIXELS:
            raise ValueError(
                f"its grid lies on {height} x {width} pixels; at most "
                f"{MOST_PIXELS // 1_000_000} megapixels can be shown"
            )
        return np.full((round(height), round(width), 3), 128, np.uint8)
    try:
        return read_image(image.numpy() if isinstance(image, Tensor) else image)
    except ValueError as error:
        raise ValueError(f"field 'image': {error}") from error
