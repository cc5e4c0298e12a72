"""Heads as records, each proved: its rows of attention are those that the network computed."""

from collections.abc import Sequence
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.analysis.grid import Grid
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.tracing.head import Head
from nonlocal_lens.analysis.tracing.proof import UnprovedError, differences, prove


def record_of(head: Head, query_axis: Axis, key_axis: Axis) -> AttentionRecord:
    """Return what a head did as a record, proved.

    Raises:
        UnprovedError: The record does not lead to the weights that the network computed.
    """
    (record,) = records_of([head], query_axis, key_axis)
    if isinstance(record, UnprovedError):
        raise record
    return record


def records_of(
    alike: Sequence[Head], query_axis: Axis, key_axis: Axis
) -> list[AttentionRecord | UnprovedError]:
    """Return what heads of the same tokens did as records, proved; of some, why they are not.

    They have the same probes.
    """
    records = _records(alike, query_axis, key_axis)
    probes = alike[0].probes
    rows = terms.rows_of_heads(records, probes)
    apart = differences(rows.attention, terms.stacked([head.own for head in alike]))
    largest = rows.logits.abs().amax(dim=(1, 2)).tolist()
    proved: list[AttentionRecord | UnprovedError] = []
    for record, head, found, logit in zip(records, alike, apart, largest, strict=True):
        try:
            proof = prove(
                max(found, head.error),
                how=head.how,
                queries=len(probes),
                precision=head.precision,
                largest_logit=logit if record.unary is None else max(logit, _largest(record.unary)),
            )
            proved.append(record.with_proof(proof))
        except UnprovedError as error:
            proved.append(error)
    return proved


def _records(alike: Sequence[Head], query_axis: Axis, key_axis: Axis) -> list[AttentionRecord]:
    """Return what heads did as records; of heads that differ in numbers alone one is checked."""
    forms = [_form(head, query_axis, key_axis) for head in alike]
    first, *others = alike
    values = [head.value for head in alike if head.value is not None]
    kinds = {
        (form, head.scale, head.whitened, head.pairwise_gain, head.value is None)
        for form, head in zip(forms, alike, strict=True)
    }
    checked = _record(first, forms[0], query_axis, key_axis)
    if (
        len(kinds) > 1
        or len({value.shape for value in values}) > 1
        or any(head.unary is not None or head.reach is not None for head in alike)
    ):
        rest = zip(others, forms[1:], strict=True)
        return [checked, *(_record(head, form, query_axis, key_axis) for head, form in rest)]
    lengths = terms.stacked(values).norm(dim=2).unbind() if values else [None] * len(alike)
    return [
        checked.beside(head.head, head.query, head.key, head.value, length)
        for head, length in zip(alike, lengths, strict=True)
    ]


def _form(head: Head, query_axis: Axis, key_axis: Axis) -> str:
    if head.form == "embedded_gaussian" and _are_features(head, query_axis, key_axis):
        return "gaussian"
    return head.form


def _record(head: Head, form: str, query_axis: Axis, key_axis: Axis) -> AttentionRecord:
    return AttentionRecord(
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
        value=head.value,
    )


def _are_features(head: Head, query_axis: Axis, key_axis: Axis) -> bool:
    """Return whether keys are the very queries at their places, maybe pooled: plain features."""
    grid, key_grid = query_axis.grid, key_axis.grid
    if grid is None or key_grid is None:
        return False
    if query_axis is key_axis or query_axis == key_axis:
        return torch.equal(head.query, head.key) and bool(head.query.any())
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
    if not head.query.any():
        return False
    features = head.query.T.unflatten(1, grid.shape)
    pooled = [pool(features, (1, *steps)).flatten(1).T for pool in (F.max_pool3d, F.avg_pool3d)]
    return any(
        keys.shape == head.key.shape and torch.allclose(keys, head.key, rtol=1e-5, atol=1e-6)
        for keys in pooled
    )


def _largest(unary: Float[Tensor, " keys"]) -> float:
    return float(unary.abs().max())
