"""Heads as records, each proved: its rows of attention are those that the network computed."""

from dataclasses import replace
from typing import cast

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn import functional as F

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.analysis.grid import Grid
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.tracing.heads import Head
from nonlocal_lens.analysis.tracing.proof import prove


def record_of(head: Head, query_axis: Axis, key_axis: Axis) -> AttentionRecord:
    """Return what a head did as a record, proved.

    Raises:
        UnprovedError: The record does not lead to the weights that the network computed.
    """
    form = head.form
    if form == "embedded_gaussian" and _are_features(head, query_axis, key_axis):
        form = "gaussian"
    record = AttentionRecord(
        block=head.block,
        form=form,
        coupling=head.coupling,
        scale=head.scale,
        query=head.query,
        key=head.key,
        unary=head.unary,
        query_grid=cast(Grid, query_axis.grid),
        key_grid=cast(Grid, key_axis.grid),
        query_axis=query_axis,
        key_axis=key_axis,
        head=head.head,
        pairwise_gain=head.pairwise_gain,
        whitened=head.whitened,
        reach=head.reach,
        call=head.call,
        value_norm=head.value_norm,
    )
    proof = prove(
        terms.attention(record, head.probes),
        head.own,
        how=head.how,
        precision=head.precision,
        largest_logit=_largest_logit(record, head.probes),
        error=head.error,
    )
    return replace(record, proof=proof)


def _are_features(head: Head, query_axis: Axis, key_axis: Axis) -> bool:
    """Return whether keys are the very queries at their places, maybe pooled: plain features."""
    grid, key_grid = query_axis.grid, key_axis.grid
    if grid is None or key_grid is None or not head.query.any():
        return False
    if query_axis == key_axis:
        return bool(torch.equal(head.query, head.key))
    axes = query_axis.is_whole_grid, key_axis.is_whole_grid
    steps = [
        round(size / own)
        for size, own in (
            (key_grid.cell_height, grid.cell_height),
            (key_grid.cell_width, grid.cell_width),
        )
    ]
    if not all(axes) or min(steps) < 1 or grid.frames != key_grid.frames:
        return False
    features = head.query.T.unflatten(1, grid.shape)
    pooled = [pool(features, (1, *steps)).flatten(1).T for pool in (F.max_pool3d, F.avg_pool3d)]
    return any(
        keys.shape == head.key.shape and torch.allclose(keys, head.key, rtol=1e-5, atol=1e-6)
        for keys in pooled
    )


def _largest_logit(record: AttentionRecord, probes: Int[Tensor, " probes"]) -> float:
    """Return the largest logit of some queries, as the network rounded it."""
    largest = 0.0 if record.unary is None else float(record.unary.abs().max())
    if record.coupling == "unary":
        return largest
    return max(largest, float(terms.logits(record, probes).abs().max()))
