"""What the viewer is given: one safetensors buffer with pictures, queries, keys and a header."""

import hashlib
import json
from dataclasses import asdict
from math import floor, log10

import numpy as np
import torch
from safetensors.numpy import save
from torch import Tensor
from torch.nn import functional as F

from analysis import terms
from analysis.capture import Observation
from analysis.record import ROW_SUM, AttentionRecord
from analysis.render import DIVERGING_PALETTES, PALETTES, indexed_png, jpeg, palette_table
from models.streets import STREET_CLASSES

SAMPLED_QUERIES = 256
SHOWN_QUANTILE = 0.995
LEAST_SCALE_TOP = 3.0  # so that a nearly uniform map, all 1.0, looks flat and sits low on the scale


def pack(observation: Observation, record: AttentionRecord, *, title: str, alt: str) -> bytes:
    """Return the payload of one record on one image.

    Queries and keys travel whitened and in half precision, the rest in single precision: a weight
    that the viewer shows differs from the one `analysis.terms` computes by less than 1 %, a logit
    by less than 1 % of the largest.

    Args:
        observation: The image, and the network's output on it.
        record: The block to show.
        title: What the network is called on the page.
        alt: What the picture shows, in words.
    """
    image = observation.image
    palettes = DIVERGING_PALETTES if signed(record) else PALETTES
    config = {
        "title": title,
        "image": {
            "id": hashlib.sha256(image.tobytes()).hexdigest(),
            "width": image.shape[1],
            "height": image.shape[0],
            "type": "image/jpeg",
            "alt": alt,
        },
        "palettes": palettes,
        "classes": [],
        "records": [
            {
                "block": record.block,
                "form": record.form,
                "coupling": record.coupling,
                "learned": record.unary is not None,
                "scale": record.scale,
                "signed": signed(record),
                "row_sum": None if signed(record) else ROW_SUM[record.coupling],
                "query_grid": asdict(record.query_grid),
                "key_grid": asdict(record.key_grid),
                **color_scale(record),
            }
        ],
    }
    tensors = {
        "image": np.frombuffer(jpeg(image), np.uint8),
        "palettes": palette_table(palettes),
        "0.unary": terms.unary_logits(record).float().numpy(),
    }
    if record.form == "concatenation":  # a number per position: whitening would not commute
        tensors |= {"0.query": record.query.float().numpy(), "0.key": record.key.float().numpy()}
    else:
        tensors["0.query"] = terms.whiten(record.query).half().numpy()
        tensors["0.key"] = terms.whiten(record.key).half().numpy()
    if signed(record):
        every = range(record.query_grid.positions)
        rows = terms.grand_logit(record) + terms.row_logits(record, every)
        tensors["0.row"] = rows.float().numpy()
    prediction = predicted_classes(observation.output)
    if prediction is not None:
        names, colors = list(STREET_CLASSES), np.array(list(STREET_CLASSES.values()), np.uint8)
        share = np.bincount(prediction.ravel(), minlength=len(names)) / prediction.size
        config["classes"] = [
            {"name": name, "color": colors[index].tolist(), "share": share[index]}
            for index, name in enumerate(names)
        ]
        tensors["prediction"] = np.frombuffer(indexed_png(prediction, colors), np.uint8)
        tensors["cell_classes"] = cell_classes(observation.output, record)
    digest = hashlib.sha256(json.dumps(config).encode())
    for name in sorted(tensors):
        digest.update(np.ascontiguousarray(tensors[name]).data)
    config["id"] = digest.hexdigest()
    return save(
        {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()},
        metadata={"config": json.dumps(config)},
    )


def signed(record: AttentionRecord) -> bool:
    """Return whether a record's attention is shown as logits, which have any sign."""
    return record.coupling == "unnormalized"


def color_scale(record: AttentionRecord) -> dict[str, float]:
    """Return the upper ends of the linear and the logarithmic color scale.

    `scale_top` is the 99.5 % quantile of the magnitudes that an evenly spread sample of queries
    sees in all three maps, `peak` the maximum; both rounded up to a readable number. They hold for
    the whole image, so that colors can be compared from query to query. The unit is multiples of
    uniform, or logits where these are shown.
    """
    count = record.query_grid.positions
    queries = torch.linspace(0, count - 1, min(count, SAMPLED_QUERIES)).long()
    keys = record.key_grid.positions
    maps = [terms.attention(record, queries, term).abs() * keys for term in terms.TERMS]
    top = max(_quantile(rows, SHOWN_QUANTILE) for rows in maps)
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


def predicted_classes(output: Tensor) -> np.ndarray | None:
    """Return the most likely class of every pixel; None if the network does not segment streets."""
    if output.ndim != 4 or output.shape[1] != len(STREET_CLASSES):
        return None
    return output[0].argmax(dim=0).to(torch.uint8).numpy()


def cell_classes(output: Tensor, record: AttentionRecord) -> np.ndarray:
    """Return the most likely class of every query cell, flat."""
    grid = record.query_grid
    scores = F.adaptive_avg_pool2d(output, (grid.height, grid.width))
    return scores[0].argmax(dim=0).flatten().to(torch.uint8).numpy()
