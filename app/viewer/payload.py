"""What the viewer is given: one safetensors buffer with pictures, queries, keys and a header."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict
from math import floor, log10
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from safetensors.numpy import save
from torch import Tensor
from torch.nn import functional as F

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.analysis.clips import Clip
from nonlocal_lens.analysis.forms import FORMS
from nonlocal_lens.analysis.query_map import most_different
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.render import (
    DIVERGING_PALETTES,
    PALETTES,
    indexed_png,
    jpeg,
    palette_table,
)
from nonlocal_lens.analysis.scene import Records
from nonlocal_lens.analysis.streaming import query_chunks
from nonlocal_lens.analysis.tracking import CellFlow
from nonlocal_lens.app import PRODUCT
from nonlocal_lens.app.viewer.view import View
from nonlocal_lens.models.safetensors_header import joined, split
from nonlocal_lens.streets.classes import STREET_CLASSES

SAMPLED_QUERIES = 256
SHOWN_QUANTILE = 0.995
SHOWN_QUANTILE_IN_REACH = 0.95  # where rows are short: a few of 49 cells, too
LEAST_SCALE_TOP = 3.0  # so that a nearly uniform map, all 1.0, looks flat and sits low on the scale

FRAME_SIDE = 640
"""Frames of clips are reduced to this for the screen; what networks see is not affected."""


class Shown(NamedTuple):
    """What one block, or one head of it, did: one record, or those of the frames of a clip."""

    title: str  # what the network is called on the page
    record: AttentionRecord | Records
    output: Tensor | Sequence[Tensor] | None = None  # the network's, for its predicted segmentation
    sha256: str = ""  # of the weights, or of the record's file; what is taken away says so
    flow: CellFlow | None = None  # how cells move, for queries that are tracked

    @property
    def records(self) -> tuple[AttentionRecord, ...]:
        """One record, or those of the frames (or of groups of frames) in their order."""
        return self.record.records if isinstance(self.record, Records) else (self.record,)

    @property
    def outputs(self) -> tuple[Tensor | None, ...]:
        """The network's output for each of the records."""
        if self.output is None or isinstance(self.output, Tensor):
            return (self.output,) * len(self.records)
        return tuple(self.output)


def pack_all(
    picture: UInt8[np.ndarray, "height width 3"] | Clip,
    shown: Sequence[Shown],
    *,
    alt: str,
    name: str | None = None,
    linkable: bool = False,
) -> bytes:
    """Return the payload of records of one picture or clip: networks, blocks or heads to compare.

    Queries and keys travel whitened and in half precision, the rest in single precision: a weight
    that the viewer shows differs from the one `analysis.terms` computes by less than 1 %, a logit
    by less than 1 % of the largest. A picture travels whole, the frames of a clip reduced for the
    screen.

    Args:
        picture: The image, as given, or the frames of a clip.
        shown: At least one; the viewer shows the first four until told otherwise.
        alt: What the picture shows, in words.
        name: What the picture is called, for example its file's name; `alt` if not given.
        linkable: Whether the host keeps the view in its address, so that a link can be copied.

    Raises:
        ValueError: There is no record, or one lies on an image of another size or on other frames.
    """
    if not shown:
        raise ValueError("at least one record must be given to show")
    clip = picture if isinstance(picture, Clip) else None
    frames = picture.frames if isinstance(picture, Clip) else picture[None]
    for one in shown:
        _check(one, frames.shape[:3])
    config: dict[str, Any] = {
        "product": PRODUCT,
        "name": name,
        "linkable": linkable,
        "image": {
            "id": hashlib.sha256(frames.tobytes()).hexdigest(),
            "width": frames.shape[2],
            "height": frames.shape[1],
            "type": "image/jpeg",
            "alt": alt,
        },
        "palettes": PALETTES,
        "diverging_palettes": DIVERGING_PALETTES,
        "records": [record_config(one) for one in shown],
    }
    tensors = {
        "palettes": palette_table(PALETTES),
        "diverging_palettes": palette_table(DIVERGING_PALETTES),
    }
    if clip is None:
        tensors["image"] = np.frombuffer(jpeg(frames[0]), np.uint8)
    else:
        config["frames"] = [{"time": float(time)} for time in clip.times]
        config["fps"] = float(clip.fps)
        for number, frame in enumerate(frames):
            tensors[f"frame.{number}"] = np.frombuffer(jpeg(_reduced(frame)), np.uint8)
        for one, said in zip(shown, config["records"], strict=True):
            said |= _over_time(one, len(clip))
    for index, one in enumerate(shown):
        for field, tensor in _tensors(one).items():
            tensors[f"{index}.{field}"] = tensor
    digest = hashlib.sha256(json.dumps(config).encode())
    for key in sorted(tensors):
        digest.update(np.ascontiguousarray(tensors[key]).data)
    config["id"] = digest.hexdigest()
    return save(
        {key: np.ascontiguousarray(tensor) for key, tensor in tensors.items()},
        metadata={"config": json.dumps(config)},
    )


def _check(one: Shown, shape: tuple[int, ...]) -> None:
    """Raise ValueError where records are not those of frames of this number, height and width."""
    frames, *size = shape
    for record in one.records:
        for axis in (record.query_axis, record.key_axis):
            if axis.grid is not None and axis.grid.image_hw != tuple(size):
                raise ValueError(
                    f"block {record.block!r} must lie on the image shown, (height, width) = "
                    f"{tuple(size)}, got one of {axis.grid.image_hw}"
                )
    of = one.record.frames if isinstance(one.record, Records) else 1
    if of != frames:
        raise ValueError(f"{one.title} must have looked at the {frames} frames shown, got {of}")


def _over_time(one: Shown, frames: int) -> dict[str, Any]:
    """Return how the records of a network lie in time; see over_time.js."""
    if not (isinstance(one.record, Records) and one.record.of_clips):
        return {"parts": len(one.records)}
    axes = [(record.query_axis, record.key_axis) for record in one.records]
    query, key = (
        [[_frame_at(axis[side], frame, frames) for frame in range(frames)] for axis in axes]
        for side in (0, 1)
    )
    return {
        "parts": len(one.records),
        "spacetime": True,
        "query_frames": query,
        "key_frames": key,
    }


def _frame_at(axis: Axis, frame: int, frames: int) -> int | None:
    """Return the frame of an axis's grid that a frame is in; tokens that lie nowhere are in all."""
    return 0 if axis.grid is None else axis.grid.frame_at(frame, frames)


def _reduced(frame: UInt8[np.ndarray, "height width 3"]) -> UInt8[np.ndarray, "rows cols 3"]:
    picture = Image.fromarray(frame)
    picture.thumbnail((FRAME_SIDE, FRAME_SIDE))
    return np.asarray(picture)


def _tensors(one: Shown) -> dict[str, np.ndarray]:
    """Return the numbers of all records of a network as they travel."""
    several = len(one.records) > 1
    tensors = {}
    for part, (record, output) in enumerate(zip(one.records, one.outputs, strict=True)):
        for field, tensor in record_tensors(record, output).items():
            tensors[f"{part}.{field}" if several else field] = tensor
    if one.flow is not None:
        tensors |= {"flow.forward": one.flow.forward, "flow.backward": one.flow.backward}
    return tensors


def config_of(payload: bytes) -> dict[str, Any]:
    """Return the configuration in a payload's header."""
    header, _ = split(payload)
    config: dict[str, Any] = json.loads(header["__metadata__"]["config"])
    return config


def with_view(payload: bytes, view: View) -> bytes:
    """Return a payload that opens with pinned queries and settings; its records stay the same."""
    header, tensors = split(payload)
    config = config_of(payload) | {"view": view.as_json()}
    header["__metadata__"] = {"config": json.dumps(config)}
    return joined(header, tensors)


def record_config(one: Shown) -> dict[str, Any]:
    """Return what the viewer must know of a record beside its numbers."""
    record = one.records[0]
    scales = [color_scale(part) for part in one.records]
    head = "" if record.head is None else f", head {record.head}"
    again = f", run {record.call + 1}" if record.call else ""
    about = f"{one.title} · {record.block}{again}{head} · {record.form}, {record.coupling}"
    return {
        "title": one.title,
        "about": about + (f" · sha256 {one.sha256}" if one.sha256 else ""),
        **record_spec(record),
        "most_different": _most_different(one.records[len(one.records) // 2]),
        "classes": class_legend(one.outputs),
        **{end: max(scale[end] for scale in scales) for end in scales[0]},
    }


def _most_different(record: AttentionRecord) -> list[int]:
    """Return the two queries that differ most; none where there are no two that attend."""
    try:
        return list(most_different(record))
    except ValueError:
        return []


def record_spec(record: AttentionRecord) -> dict[str, Any]:
    """Return what a browser needs beside `term_tensors` to compute rows."""
    return {
        "block": record.block,
        "head": record.head,
        "form": record.form,
        "coupling": record.coupling,
        "learned": record.unary is not None,
        "scale": record.scale,
        "signed": record.signed,
        "row_sum": None if record.signed else record.row_sum,
        "pairwise_gain": record.pairwise_gain,
        "whitened": record.whitened,
        "reach": record.reach and record.reach.kind,
        **_side("query", record.query_axis),
        **_side("key", record.key_axis),
    }


def _side(side: str, axis: Axis) -> dict[str, Any]:
    """Return where the tokens of one side lie, and what those that lie nowhere are called."""
    grid = None if axis.grid is None else asdict(axis.grid)
    return {f"{side}_grid": grid, f"{side}_names": list(axis.names)}


def term_tensors(record: AttentionRecord) -> dict[str, Tensor]:
    """Return what a browser computes rows from, as it travels: query, key, unary and maybe row."""
    if record.coupling == "unary":  # no query takes part, whatever the block computes of it
        query, key = record.query[:, :0].half(), record.key[:, :0].half()
    elif not FORMS[record.form].is_product:  # whitening would not commute
        query, key = record.query.float(), record.key.float()
    else:
        query = terms.whitened_query(record) if record.whitened else record.query
        query, key = query.half(), terms.whitened_key(record).half()
    tensors = {"query": query, "key": key, "unary": terms.unary_logits(record).float()}
    if record.signed:
        every = range(len(record.query))
        rows = terms.grand_logit(record) + terms.row_logits(record, every)
        tensors["row"] = rows.float()
    if record.reach is not None:
        tensors["query_labels"] = record.reach.query.int()
        tensors["key_labels"] = record.reach.key.int()
    for side, axis in (("query", record.query_axis), ("key", record.key_axis)):
        if axis.cells is not None:
            tensors[f"{side}_cells"] = torch.from_numpy(axis.cells).int()
    return tensors


def record_tensors(record: AttentionRecord, output: Tensor | None) -> dict[str, np.ndarray]:
    """Return the numbers of a record as they travel, with what the network made of the frame."""
    tensors = term_tensors(record)
    query, key = tensors["query"], tensors["key"]
    if query.dtype == torch.float16:  # added again where a record is saved
        some = slice(1 if record.reach is None else None)  # one mean, or that of every part
        query_mean = record.query[some] - terms.whitened_query(record)[some]
        key_mean = record.key[some] - terms.whitened_key(record)[some]
        tensors["query_mean"] = query_mean[:, : query.shape[1]].float() * record.whitened
        tensors["key_mean"] = key_mean[:, : key.shape[1]].float()
    if not record.signed:
        tensors |= row_norms(record, query.float(), key.float(), tensors["unary"])
        tensors |= placed_shares(record)
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    prediction = predicted_classes(output)
    if prediction is not None and output is not None and record.query_axis.grid is not None:
        colors = np.array(list(STREET_CLASSES.values()), np.uint8)
        arrays["prediction"] = np.frombuffer(indexed_png(prediction, colors), np.uint8)
        arrays["cell_classes"] = cell_classes(output, record)
    return arrays


def row_norms(
    record: AttentionRecord,
    query: Float[Tensor, "query_pos channels"],
    key: Float[Tensor, "key_pos channels"],
    unary: Float[Tensor, " key_pos"],
) -> dict[str, Tensor]:
    """Return the logarithm of every row's softmax denominator, of the numbers that travel.

    Who looks at a key is a column of the attention: it takes one weight of every row, and with
    these the viewer need not compute the rows. Memory O(chunk x keys).
    """
    norms: dict[str, list[Tensor]] = {}
    for chunk in query_chunks(record, torch.arange(len(record.query))):
        logits = {"pairwise": record.scale * query[chunk] @ key.T}
        if record.coupling != "disentangled":
            logits["whole"] = logits["pairwise"] + unary
        if record.reach is not None:
            seen = record.reach.sees(chunk)
            logits = {
                term: values.where(seen, -torch.inf)
                for term, values in (*logits.items(), ("unary", unary))
            }
        for term, values in logits.items():
            norms.setdefault(f"{term}_norm", []).append(values.logsumexp(dim=1))
    return {name: torch.cat(chunks) for name, chunks in norms.items()}


def placed_shares(record: AttentionRecord) -> dict[str, Tensor]:
    """Return which share of every row, of every term, lies on the picture.

    A column of what falls on the picture is divided by these. None where all keys are places, or
    none is. Memory O(chunk x keys).
    """
    if not 0 < record.key_axis.placed < len(record.key):
        return {}
    shares: dict[str, list[Tensor]] = {}
    for chunk in query_chunks(record, torch.arange(len(record.query))):
        for term in terms.TERMS:
            rows = terms.attention(record, chunk, term)
            on_it = rows[:, : record.key_axis.placed].sum(dim=1) / rows.sum(dim=1)
            shares.setdefault(f"{term}_placed", []).append(on_it.float())
    return {name: torch.cat(chunks) for name, chunks in shares.items()}


def color_scale(record: AttentionRecord) -> dict[str, float]:
    """Return the upper ends of the linear and the logarithmic color scale.

    `scale_top` is the 99.5 % quantile of the magnitudes that an evenly spread sample of queries
    sees in all three maps, `peak` the maximum; both rounded up to a readable number. They hold for
    the whole image, so that colors can be compared from query to query. Where queries do not look
    at all keys, it is the 95 % quantile of those in reach. The unit is multiples of uniform, or
    logits where these are shown. Keys that lie nowhere are not painted and have no part in it;
    where there are some, `picture_scale_top` and `picture_peak` are of what falls on the picture,
    taken for itself.
    """
    count = record.query_axis.placed or len(record.query)
    queries = torch.linspace(0, count - 1, min(count, SAMPLED_QUERIES)).long()
    placed, keys = record.key_axis.placed, len(record.key)
    painted = slice(0, placed or keys)
    rows = [terms.attention(record, queries, term) for term in terms.TERMS]
    seen = None if record.reach is None else record.reach.sees(queries)[:, painted]
    scale = _scale_of([one[:, painted] * keys for one in rows], seen, record.signed)
    if 0 < placed < keys and not record.signed:
        alone = [one.sum(1, True) * one[:, painted] / one[:, painted].sum(1, True) for one in rows]
        of_picture = _scale_of([one * placed for one in alone], seen, signed=False)
        scale |= {f"picture_{name}": value for name, value in of_picture.items()}
    return scale


def _scale_of(maps: Sequence[Tensor], seen: Tensor | None, signed: bool) -> dict[str, float]:
    """Return the ends of the scale of maps, of which queries look at some keys, or at all."""
    sizes = [rows.abs() if seen is None else rows[seen].abs() for rows in maps]
    share = SHOWN_QUANTILE if seen is None else SHOWN_QUANTILE_IN_REACH
    least = 0.0 if signed else LEAST_SCALE_TOP
    top = max(_quantile(rows, share) for rows in sizes)
    peak = max(rows.max().item() for rows in sizes)
    return {"scale_top": readable(max(top, least)), "peak": readable(max(peak, least))}


def readable(value: float) -> float:
    """Round a number up to 1, 1.5, 2, 3, 4, 5, 6, 8 or 10 times a power of ten; 0 becomes 1."""
    if value <= 0:
        return 1.0
    power = 10.0 ** floor(log10(value))
    steps = (1, 1.5, 2, 3, 4, 5, 6, 8, 10)
    return next(step * power for step in steps if step * power >= value * (1 - 1e-9))


def _quantile(rows: Tensor, share: float) -> float:
    values = rows.flatten().numpy()  # which selects seven times as fast as torch does
    at = max(1, round(share * values.size)) - 1
    return float(np.partition(values, at)[at])


def class_legend(outputs: Sequence[Tensor | None]) -> list[dict[str, Any]]:
    """Return every street class with its color and its share of the predictions; none without."""
    predictions = [found for one in outputs if (found := predicted_classes(one)) is not None]
    if not predictions:
        return []
    prediction = np.stack(predictions)
    share = np.bincount(prediction.ravel(), minlength=len(STREET_CLASSES)) / prediction.size
    return [
        {"name": name, "color": list(color), "share": share[index]}
        for index, (name, color) in enumerate(STREET_CLASSES.items())
    ]


def predicted_classes(output: Tensor | None) -> np.ndarray | None:
    """Return the most likely class of every pixel; None if the network does not segment streets."""
    if output is None or output.ndim != 4 or output.shape[1] != len(STREET_CLASSES):
        return None
    return output[0].argmax(dim=0).to(torch.uint8).numpy()


def cell_classes(output: Tensor, record: AttentionRecord) -> np.ndarray:
    """Return the most likely class of every query cell, flat."""
    grid = record.query_grid
    scores = F.adaptive_avg_pool2d(output, (grid.height, grid.width))
    return scores[0].argmax(dim=0).flatten().to(torch.uint8).numpy()
