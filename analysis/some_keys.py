"""A block as if some keys were not there: labelled views of attention, and never the default."""

from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nonlocal_lens.analysis.grid import Grid
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.models.blocks import Reach

ON_PICTURE = "of what falls on the picture"
"""What views made by `on_picture` are labelled with."""

MOST_NAMED = 3
"""Tokens that are named where it is told what lies off the picture."""

WITHOUT_SINK = "without its sink"
"""What views made by `without_keys` of the sink are labelled with."""


def on_picture(record: AttentionRecord) -> AttentionRecord:
    """Return the block as if keys that are no places were not there; the record if there are none.

    Its rows are those of the block divided by what of them falls on places. Say so wherever they
    are shown: `ON_PICTURE`.

    Raises:
        ValueError: No key has a place, or see `without_keys`.
    """
    axis = record.key_axis
    if not axis.placed:
        raise ValueError(f"none of the keys of block {record.block!r} is a place of the picture")
    return without_keys(record, range(axis.placed, len(axis))) if axis.names else record


def without_keys(
    record: AttentionRecord, keys: Sequence[int] | Int[Tensor, " some"]
) -> AttentionRecord:
    """Return the block as if some keys were not there: its rows divided by the rest of them.

    Args:
        record: The block.
        keys: Indices of its key axis.

    Raises:
        ValueError: No key is left, a query is left without any, or the block adds two softmaxes, of
            which each would be divided by something else.
    """
    if record.coupling == "disentangled":
        raise ValueError(
            f"block {record.block!r} adds two softmaxes: without some keys they would no longer "
            "weigh what they do"
        )
    kept = torch.ones(len(record.key), dtype=torch.bool)
    kept[torch.as_tensor(keys, dtype=torch.long)] = False
    if not kept.any():
        raise ValueError(f"no key of block {record.block!r} would be left")
    index = kept.nonzero()[:, 0]
    axis, reach = record.key_axis.subset(index), record.reach
    return replace(
        record,
        key=record.key[index],
        unary=None if record.unary is None else record.unary[index],
        value_norm=None if record.value_norm is None else record.value_norm[index],
        value=None if record.value is None else record.value[index],
        key_grid=cast(Grid, axis.grid),
        key_axis=axis,
        reach=reach and Reach(reach.kind, reach.query, reach.key[index]),
        proof=None,
    )


def off_picture(record: AttentionRecord, row: Float[Tensor, " key_pos"]) -> str:
    """Return in words how much of a row lies on tokens that are no places: "41 % on class".

    Empty where there are none, and where weights have a sign. The three that have most are named.
    """
    axis = record.key_axis
    if not axis.names or bool((row < 0).any()):
        return ""
    shares = (row[axis.placed :] / row.sum()).tolist()
    ranked = sorted(zip(shares, axis.names, strict=True), key=lambda one: -one[0])
    words = [f"{100 * share:.0f} % on {name}" for share, name in ranked[:MOST_NAMED]]
    rest = sum(share for share, _ in ranked[MOST_NAMED:])
    more = [f"{100 * rest:.0f} % on {len(ranked) - MOST_NAMED} more"]
    return ", ".join(words + (more if len(ranked) > MOST_NAMED else []))
