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
from safetensors.numpy import save
from torch import Tensor
from torch.nn import functional as F

from analysis import terms
from analysis.record import AttentionRecord
from analysis.render import DIVERGING_PALETTES, PALETTES, indexed_png, jpeg, palette_table
from analysis.streaming import query_chunks
from app import PRODUCT
from app.export.provenance import split_safetensors
from app.viewer.view import View
from models.streets import STREET_CLASSES

SAMPLED_QUERIES = 256
SHOWN_QUANTILE = 0.995
SHOWN_QUANTILE_IN_REACH = 0.95  # where rows are short: a few of 49 cells, too
LEAST_SCALE_TOP = 3.0  # so that a nearly uniform map, all 1.0, looks flat and sits low on the scale


class Shown(NamedTuple):
    """One record to show, and where it comes from."""

    title: str  # what the network is called on the page
    record: AttentionRecord
    output: Tensor | None = None  # the network's own, for its predicted segmentation
    sha256: str = ""  # of the weights, or of the record's file; what is taken away says so


def pack_all(
    image: UInt8[np.ndarray, "height width 3"],
    shown: Sequence[Shown],
    *,
    alt: str,
    name: str | None = None,
    linkable: bool = False,
) -> bytes:
    """Return the payload of records of one image: networks, blocks or heads to compare.

    Queries and keys travel whitened and in half precision, the rest in single precision: a weight
    that the viewer shows differs from the one `analysis.terms` computes by less than 1 %, a logit
    by less than 1 % of the largest.

    Args:
        image: The image, as given.
        shown: At least one record; the viewer shows the first four until told otherwise.
        alt: What the picture shows, in words.
        name: What the picture is called, for example its file's name; `alt` if not given.
        linkable: Whether the host keeps the view in its address, so that a link can be copied.

    Raises:
        ValueError: There is no record, or one lies on an image of another size.
    """
    if not shown:
        raise ValueError("at least one record must be given to show")
    for _, record, *_ in shown:
        if record.query_grid.image_hw != image.shape[:2]:
            raise ValueError(
                f"block {record.block!r} must lie on the image shown, (height, width) = "
                f"{image.shape[:2]}, got one of {record.query_grid.image_hw}"
            )
    config: dict[str, Any] = {
        "product": PRODUCT,
        "name": name,
        "linkable": linkable,
        "image": {
            "id": hashlib.sha256(image.tobytes()).hexdigest(),
            "width": image.shape[1],
            "height": image.shape[0],
            "type": "image/jpeg",
            "alt": alt,
        },
        "palettes": PALETTES,
        "diverging_palettes": DIVERGING_PALETTES,
        "records": [record_config(one) for one in shown],
    }
    tensors = {
        "image": np.frombuffer(jpeg(image), np.uint8),
        "palettes": palette_table(PALETTES),
        "diverging_palettes": palette_table(DIVERGING_PALETTES),
    }
    for index, one in enumerate(shown):
        for field, tensor in record_tensors(one).items():
            tensors[f"{index}.{field}"] = tensor
    digest = hashlib.sha256(json.dumps(config).encode())
    for key in sorted(tensors):
        digest.update(np.ascontiguousarray(tensors[key]).data)
    config["id"] = digest.hexdigest()
    return save(
        {key: np.ascontiguousarray(tensor) for key, tensor in tensors.items()},
        metadata={"config": json.dumps(config)},
    )


def config_of(payload: bytes) -> dict[str, Any]:
    """Return the configuration in a payload's header."""
    header, _ = split_safetensors(payload)
    config: dict[str, Any] = json.loads(header["__metadata__"]["config"])
    return config


def with_view(payload: bytes, view: View) -> bytes:
    """Return a payload that opens with pinned queries and settings; its records stay the same."""
    header, tensors = split_safetensors(payload)
    config = config_of(payload) | {"view": view.as_json()}
    header["__metadata__"] = {"config": json.dumps(config)}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + tensors


def record_config(one: Shown) -> dict[str, Any]:
    """Return what the viewer must know of a record beside its numbers."""
    record = one.record
    head = "" if record.head is None else f", head {record.head}"
    about = f"{one.title} · {record.block}{head} · {record.form}, {record.coupling}"
    return {
        "title": one.title,
        "about": about + (f" · sha256 {one.sha256}" if one.sha256 else ""),
        **record_spec(record),
        "classes": class_legend(one.output),
        **color_scale(record),
    }


def record_spec(record: AttentionRecord) -> dict[str, Any]:
    """Return what a browser needs beside `term_tensors` to compute rows."""
    return {
        "block": record.block,
        "head": record.head,
        "form": record.form,
        "coupling": record.coupling,
        "learned": record.unary is not None,
        "scale": record.scale,
        "signed": signed(record),
        "row_sum": None if signed(record) else record.row_sum,
        "pairwise_gain": record.pairwise_gain,
        "whitened": record.whitened,
        "reach": record.reach and record.reach.kind,
        "query_grid": asdict(record.query_grid),
        "key_grid": asdict(record.key_grid),
    }


def term_tensors(record: AttentionRecord) -> dict[str, Tensor]:
    """Return what a browser computes rows from, as it travels: query, key, unary and maybe row."""
    if record.coupling == "unary":  # no query takes part, whatever the block computes of it
        query, key = record.query[:, :0].half(), record.key[:, :0].half()
    elif record.form == "concatenation":  # a number per position: whitening would not commute
        query, key = record.query.float(), record.key.float()
    else:
        query = terms.whitened_query(record) if record.whitened else record.query
        query, key = query.half(), terms.whitened_key(record).half()
    tensors = {"query": query, "key": key, "unary": terms.unary_logits(record).float()}
    if signed(record):
        every = range(record.query_grid.positions)
        rows = terms.grand_logit(record) + terms.row_logits(record, every)
        tensors["row"] = rows.float()
    if record.reach is not None:
        tensors["query_labels"] = record.reach.query.int()
        tensors["key_labels"] = record.reach.key.int()
    return tensors


def record_tensors(one: Shown) -> dict[str, np.ndarray]:
    """Return the numbers of a record as they travel."""
    record = one.record
    tensors = term_tensors(record)
    query, key = tensors["query"], tensors["key"]
    if query.dtype == torch.float16:  # added again where a record is saved
        some = slice(1 if record.reach is None else None)  # one mean, or that of every part
        query_mean = record.query[some] - terms.whitened_query(record)[some]
        key_mean = record.key[some] - terms.whitened_key(record)[some]
        tensors["query_mean"] = query_mean[:, : query.shape[1]].float() * record.whitened
        tensors["key_mean"] = key_mean[:, : key.shape[1]].float()
    if not signed(record):
        tensors |= row_norms(record, query.float(), key.float(), tensors["unary"])
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    prediction = predicted_classes(one.output)
    if prediction is not None and one.output is not None:
        colors = np.array(list(STREET_CLASSES.values()), np.uint8)
        arrays["prediction"] = np.frombuffer(indexed_png(prediction, colors), np.uint8)
        arrays["cell_classes"] = cell_classes(one.output, record)
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
    for chunk in query_chunks(record):
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


def signed(record: AttentionRecord) -> bool:
    """Return whether a record's attention is shown as logits, which have any sign."""
    return record.coupling == "unnormalized"


def color_scale(record: AttentionRecord) -> dict[str, float]:
    """Return the upper ends of the linear and the logarithmic color scale.

    `scale_top` is the 99.5 % quantile of the magnitudes that an evenly spread sample of queries
    sees in all three maps, `peak` the maximum; both rounded up to a readable number. They hold for
    the whole image, so that colors can be compared from query to query. Where queries do not look
    at all keys, it is the 95 % quantile of those in reach. The unit is multiples of uniform, or
    logits where these are shown.
    """
    count = record.query_grid.positions
    queries = torch.linspace(0, count - 1, min(count, SAMPLED_QUERIES)).long()
    keys = record.key_grid.positions
    maps = [terms.attention(record, queries, term).abs() * keys for term in terms.TERMS]
    if record.reach is not None:
        seen = record.reach.sees(queries)
        maps = [rows[seen] for rows in maps]
    share = SHOWN_QUANTILE if record.reach is None else SHOWN_QUANTILE_IN_REACH
    top = max(_quantile(rows, share) for rows in maps)
    peak = max(rows.max().item() for rows in maps)
    least = 0.0 if signed(record) else LEAST_SCALE_TOP
    return {"scale_top": readable(max(top, least)), "peak": readable(max(peak, least))}


def readable(value: float) -> float:
    """Round a number up to 1, 1.5, 2, 3, 4, 5, 6, 8 or 10 times a power of ten; 0 becomes 1."""
    if value <= 0:
        return 1.0
    power = 10.0 ** floor(log10(value))
    steps = (1, 1.5, 2, 3, 4, 5, 6, 8, 10)
    return next(step * power for step in steps if step * power >= value * (1 - 1e-9))


def _quantile(rows: Tensor, share: float) -> float:
    values = rows.flatten()
    return values.kthvalue(max(1, round(share * values.numel()))).values.item()


def class_legend(output: Tensor | None) -> list[dict[str, Any]]:
    """Return every street class with its color and its share of the prediction; none without."""
    prediction = predicted_classes(output)
    if prediction is None:
        return []
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
