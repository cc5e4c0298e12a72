"""What the atlas is given: a first buffer with the picture and all heads' names, then parts.

A network's queries and keys may be more than one message can hold, and take longer to measure than
anybody waits. So they come in parts, a few megabytes each, in the order in which heads ran.
"""

import hashlib
import json
from collections.abc import Sequence
from math import isfinite
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import UInt8
from safetensors.numpy import save

from nonlocal_lens.analysis import degeneracy
from nonlocal_lens.analysis.atlas import HEAD_STATISTICS, MeasuredHead, head_title, layers
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.render import DIVERGING_PALETTES, PALETTES, jpeg, palette_table
from nonlocal_lens.analysis.statistics.statistic import share_of
from nonlocal_lens.app import PRODUCT
from nonlocal_lens.app.atlas.means import Means
from nonlocal_lens.app.viewer.payload import color_scale, record_spec, term_tensors
from nonlocal_lens.models.safetensors_header import joined, split

PART_BYTES = 16 << 20
"""A part has at most this many bytes of queries and keys, but always a head."""


class Subject(NamedTuple):
    """What one network did on one picture, and maybe, on average, on several."""

    title: str  # what the network is called
    picture: UInt8[np.ndarray, "height width 3"]
    name: str  # of the picture
    alt: str  # what it shows, in words
    records: tuple[AttentionRecord, ...]  # those with places, see `placed`
    sha256: str = ""  # of the weights
    random: bool = False  # whether the weights are
    means: Means | None = None  # of a wall whose numbers are means over pictures


def parts(records: Sequence[AttentionRecord]) -> list[range]:
    """Return which records go together: those of the first layer, then as many as fit."""
    of_layer = layers(records)
    found: list[range] = []
    start, size = 0, 0
    for number, record in enumerate(records):
        own = 2 * (record.query.numel() + record.key.numel())
        full = size + own > PART_BYTES
        after_first = not found and of_layer[number] > 0
        another_layer = of_layer[number] != of_layer[number - 1] and size > PART_BYTES // 8
        if number > start and (full or after_first or another_layer):
            found.append(range(start, number))
            start, size = number, 0
        size += own
    return [*found, range(start, len(records))] if records else []


def part_bytes(records: Sequence[AttentionRecord], part: range) -> int:
    """Return how many bytes of queries and keys the heads of a part have as they travel."""
    return sum(2 * (records[n].query.numel() + records[n].key.numel()) for n in part)


def parts_within(records: Sequence[AttentionRecord], limit: int) -> int:
    """Return how many of `parts`, the first ones, have at most so many bytes; at least one."""
    total = 0
    for number, part in enumerate(parts(records)):
        total += part_bytes(records, part)
        if number and total > limit:
            return number
    return len(parts(records))


def first_part(subject: Subject) -> bytes:
    """Return the buffer that a wall begins with; `with_view` adds what it is to show.

    Raises:
        ValueError: There is no head to show.
    """
    if not subject.records:
        raise ValueError(f"{subject.title} has no attention block with places in the picture")
    height, width = subject.picture.shape[:2]
    means = subject.means
    config = {
        "product": PRODUCT,
        "id": wall_id(subject),
        "part": 0,
        "parts": 1 + len(parts(subject.records)),
        "title": subject.title,
        "name": subject.name,
        "sha256": subject.sha256,
        "random": subject.random,
        "means": None if means is None else {**means._asdict(), "counted": means.counted},
        "image": {"width": width, "height": height, "type": "image/jpeg", "alt": subject.alt},
        "statistics": [_about(name) for name in HEAD_STATISTICS],
        "palettes": PALETTES,
        "diverging_palettes": DIVERGING_PALETTES,
        "heads": [
            {
                "title": head_title(record),
                "block": record.block,
                "head": record.head,
                "layer": layer,
                "spec": record_spec(record),
            }
            for record, layer in zip(subject.records, layers(subject.records), strict=True)
        ],
    }
    tensors = {
        "palettes": palette_table(PALETTES),
        "diverging_palettes": palette_table(DIVERGING_PALETTES),
        "image": np.frombuffer(jpeg(subject.picture), np.uint8),
    }
    return _saved(tensors, config)


def part(subject: Subject, number: int, measured: Sequence[MeasuredHead]) -> bytes:
    """Return one of the buffers that follow.

    Args:
        subject: What is shown.
        number: Which of `parts`, from 0.
        measured: Of the heads of that part.
    """
    tensors: dict[str, np.ndarray] = {}
    numbers = {}
    for index, known in zip(parts(subject.records)[number], measured, strict=True):
        record = known.record
        own = {name: tensor.numpy() for name, tensor in term_tensors(record).items()}
        own["mean"] = (known.mean * len(record.key)).float().numpy()
        if known.unary is not None:
            own["unary_mean"] = (known.unary * len(record.key)).float().numpy()
        tensors |= {f"{index}.{name}": tensor for name, tensor in own.items()}
        numbers[index] = {
            "statistics": finite_numbers(known.report),
            "twin": None if known.twin is None else known.twin._asdict(),
            **color_scale(record),
        }
    config = {"id": wall_id(subject), "part": number + 1, "numbers": numbers}
    return _saved(tensors, config)


def together(first: bytes, others: Sequence[bytes]) -> bytes:
    """Return all parts as one buffer, for pages of their own: one after the other, with lengths."""
    buffers = [first, *others]
    return b"".join(len(one).to_bytes(8, "little") + one for one in buffers)


def with_view(payload: bytes, view: dict[str, Any], coming: int | None = None) -> bytes:
    """Return a first part that opens with choices; the rest stays the same.

    Args:
        payload: The first part.
        view: What is chosen, see view.js.
        coming: How many parts will follow for now; all if not given.
    """
    header, tensors = split(payload)
    config = json.loads(header["__metadata__"]["config"]) | {"view": view}
    if coming is not None:
        config["parts"] = 1 + coming
    header["__metadata__"] = {"config": json.dumps(config)}
    return joined(header, tensors)


def finite_numbers(report: degeneracy.DegeneracyReport) -> dict[str, float | None]:
    """Return the numbers of a report; None where one is undefined."""
    values = {name: float(getattr(report, name)) for name in HEAD_STATISTICS}
    return {name: value if isfinite(value) else None for name, value in values.items()}


def wall_id(subject: Subject) -> str:
    """Return what tells walls apart."""
    digest = hashlib.sha256(np.ascontiguousarray(subject.picture).data)
    digest.update(f"{subject.title} {subject.sha256} {len(subject.records)}".encode())
    if subject.means is not None:
        digest.update(json.dumps(subject.means).encode())
    return digest.hexdigest()[:32]


def _about(name: str) -> dict[str, Any]:
    known = degeneracy.STATISTICS[name]
    about = {"name": name, "label": known.label, "unit": known.unit, "said": known.definition}
    return about | ({"low": 0, "high": 1} if known.bounds is share_of else {})


def _saved(tensors: dict[str, np.ndarray], config: dict[str, Any]) -> bytes:
    arrays = {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()}
    return save(arrays, metadata={"config": json.dumps(config)})
