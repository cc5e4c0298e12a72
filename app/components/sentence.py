"""One plain sentence: from what is pinned, at what does the network look, and does it matter?"""

from collections.abc import Sequence
from html import escape
from math import isfinite
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn import functional as F

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.streaming import query_chunks
from nonlocal_lens.app.components.bits_bar import Bits

NUMBERS = "①②③④⑤⑥⑦⑧⑨⑩⑪⑫⑬⑭⑮⑯"


class Looks(NamedTuple):
    """What a query looks at more than uniform attention would."""

    origin: str  # predicted class of the query, or the token that it is
    at: str  # the predicted class whose share of the attention exceeds that of the keys most
    share: float  # of the query's attention that lies on it
    lift: float  # over the class's share of the keys
    is_token: bool = False  # whether the origin is a token that lies nowhere
    is_all: bool = False  # whether it is the mean of all of its class


def looks_of(
    record: AttentionRecord, queries: Sequence[int], output: Tensor, classes: tuple[str, ...]
) -> Looks | None:
    """Return what queries favor over uniform attention, in the mean of their rows.

    The origin is the first one's. None where rows are no distributions.
    """
    if record.coupling == "unnormalized":
        return None
    if record.key_axis.grid is None:
        return None
    keys = cell_classes(output, record.key_axis)
    row = torch.zeros(record.key_axis.placed, dtype=torch.float64)
    for chunk in query_chunks(record, torch.tensor(queries)):
        rows = terms.attention(record, chunk).double()
        row += (rows / rows.sum(dim=1, keepdim=True))[:, : len(row)].sum(dim=0) / len(queries)
    query = queries[0]
    mass = torch.zeros(len(classes), dtype=torch.float64).index_add_(0, keys, row)
    count = torch.bincount(keys, minlength=len(classes)).double()
    chance = count / len(keys)
    at = int((mass - chance).argmax())
    origin = record.query_axis.name(query)
    if origin is None:
        origin = classes[int(cell_classes(output, record.query_axis)[query])]
    return Looks(
        origin,
        classes[at],
        float(mass[at]),
        float(mass[at] / chance[at]),
        query >= record.query_axis.placed,
        len(queries) > 1,
    )


def cell_classes(output: Tensor, axis: Axis) -> Int[Tensor, " placed"]:
    """Return the most likely class of every token that is a place."""
    grid = axis.grid
    assert grid is not None  # whoever asks has looked
    scores = F.adaptive_avg_pool2d(output, (grid.height, grid.width))
    classes = scores[0].argmax(dim=0).flatten()
    return classes if axis.cells is None else classes[torch.from_numpy(axis.cells)]


def sentence(
    looks: Looks | None, number: int | None, place: str, bits: Bits, unary_only: bool
) -> str:
    """Return the sentence as HTML.

    Args:
        looks: What the pinned query looks at, where classes are known.
        number: Which of several pins it is, from 0; None if it is the only one.
        place: Where it is, in words; empty if nothing is pinned.
        bits: Of the block.
        unary_only: Whether no query takes part in the block.
    """
    pin = "" if number is None or number >= len(NUMBERS) else f" {NUMBERS[number]}"
    if not place:
        start = "Point at the picture and see where the network looks from there."
    elif looks is None:
        start = f"Pinned{pin}: {escape(place)}."
    else:
        start = (
            f"From {'all' if looks.is_all else 'the'} "
            f"{'' if looks.is_token else 'predicted '}<b>{escape(looks.origin)}</b>"
            f"{' token' if looks.is_token else ''}{pin} it favors "
            f"<b>{escape(looks.at)}</b>: {looks.share:.0%} of the attention, "
            f"{looks.lift:.1f} times its share of the picture."
        )
    return f'<p class="nl-sentence">{start} {matters(bits, unary_only)}</p>'


def matters(bits: Bits, unary_only: bool) -> str:
    """Return how much of what the block prefers depends on the query, in words."""
    share = bits.query_share
    if unary_only:
        return "No query takes part: wherever you point, the map is the same."
    if not isfinite(bits.selectivity):
        return "Its weights are no distribution, so there is no share to tell."
    if not np.isfinite(share):
        return "It attends to everything alike, wherever you point."
    return f"<b>{share:.0%}</b> of what it prefers depends on where you point."
