"""Whether unary maps are the same in every picture: a line of the summary, over the whole table."""

from base64 import b64decode, b64encode
from collections.abc import Iterable
from math import nan
from typing import Any

import numpy as np
import torch

from nonlocal_lens.analysis.image_independence import UnaryMap, UnaryMaps, unary_map
from nonlocal_lens.analysis.intervals import Interval
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.app.stats.summary import Averages, Group

IMAGE_INDEPENDENCE = "image_independence"

LITTLE_ENDIAN = "<f4"

PackedMap = dict[str, str]


def packed(record: AttentionRecord) -> PackedMap:
    """Return a record's unary map as a journal keeps it."""
    logits, places = unary_map(record)
    return {
        "places": places,
        "logits": b64encode(logits.numpy().astype(LITTLE_ENDIAN).tobytes()).decode(),
    }


def _unpacked(one: PackedMap) -> UnaryMap:
    logits = np.frombuffer(b64decode(one["logits"]), LITTLE_ENDIAN).astype(np.float32)
    return UnaryMap(torch.from_numpy(logits), one["places"])


def add_independence(averages: Averages, entries: Iterable[dict[str, Any]]) -> tuple[str, ...]:
    """Add to the averages of every group how far its unary map is the same in every picture.

    Args:
        averages: Of the table; each group gets the share with its interval, NaN where none is.
        entries: Of the journal, in the order of the inputs; `maps` has what `packed` made.

    Returns:
        Why a group has none, in sentences.
    """
    found: dict[Group, UnaryMaps] = {}
    reasons: dict[Group, str] = {}
    for entry in entries:
        for one in entry["maps"]:
            group = Group(*one["group"])
            try:
                found.setdefault(group, UnaryMaps()).add_map(_unpacked(one), group.block)
            except ValueError as error:
                reasons[group] = str(error)
    for group, intervals in averages.items():
        share, low, high, _, images = found.get(group, UnaryMaps()).independence()
        if group in reasons or share != share:
            share, low, high, images = nan, nan, nan, 0
        intervals[IMAGE_INDEPENDENCE] = Interval(share, low, high, images)
    return tuple(f"no {IMAGE_INDEPENDENCE}: {reason}" for reason in dict.fromkeys(reasons.values()))
