"""Attention through the layers of a network: statistics by depth, and rollout of a query."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nonlocal_lens.analysis import degeneracy, terms
from nonlocal_lens.analysis.over_dataset import Labeled, over_dataset
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.streaming import query_chunks

if TYPE_CHECKING:
    import pandas as pd


def depth_profile(
    network: nn.Module, images: str | Path | Iterable[Labeled], *, seed: int = 0
) -> "pd.DataFrame":
    """Return every statistic by layer and head, tidy: a row for each number.

    Args:
        network: Any module that `analysis.capture` can read.
        images: See `analysis.over_dataset`.
        seed: Of everything random in the statistics.

    Returns:
        Columns: `image`, `layer` (0 for the first block that runs), `block`, `call` (which run of
        it), `head` (<NA> where there is one only), `statistic` (a name of
        `analysis.degeneracy.STATISTICS`), `value`.

    Raises:
        FileNotFoundError: The folder or a file does not exist.
        ValueError: There is no image, or one cannot be used; the network has no block to measure.
    """
    wide = over_dataset(network, images, seed=seed)
    wide.insert(1, "layer", wide.groupby(["block", "call"], sort=False).ngroup())
    return wide.melt(
        id_vars=["image", "layer", "block", "call", "head"],
        value_vars=[*degeneracy.STATISTICS],
        var_name="statistic",
    )


def rollout(
    records: Sequence[AttentionRecord], query: int, *, residual: float = 0.5
) -> Float[Tensor, " pos"]:
    """Return where a query of the last layer looks in the first one, through all layers between.

    Attention rollout (Abnar and Zuidema 2020, arXiv 2005.00928): the product of all layers'
    matrices, each the mean of its heads mixed with the identity for the residual connection. Only
    the row of one query is wanted, so that the product is taken from its end, a vector at a time:
    time O(layers x heads x pos^2 x channels), memory O(chunk x pos), never pos x pos.

    Args:
        records: Of all layers and heads in the order in which they ran, as `capture` gives them.
        query: An index of their one axis: a flat position, or `record.query_axis.index("class")`.
        residual: Share of the identity in every layer, 0 to 1.

    Returns:
        float64 shares of the first layer's tokens, which sum to 1.

    Raises:
        ValueError: There is no record, a share or a query that does not exist, weights with a
            sign, or layers whose queries and keys are not the same positions.
    """
    if not records:
        raise ValueError("there is no record to roll out")
    if not 0 <= residual <= 1:
        raise ValueError(f"residual must be in [0, 1], got {residual}")
    layers = _layers(records)
    (row_of,) = terms.positions(records[-1], [query]).tolist()
    row = torch.zeros(len(records[-1].key), dtype=torch.float64)
    row[row_of] = 1
    for heads in reversed([*layers.values()]):
        passed = torch.stack([_applied(row, record) for record in heads]).mean(dim=0)
        row = residual * row + (1 - residual) * passed
    return row


def _layers(records: Sequence[AttentionRecord]) -> Mapping[str, list[AttentionRecord]]:
    """Return the heads of every layer, in the order in which layers ran."""
    layers: dict[str, list[AttentionRecord]] = {}
    for record in records:
        if record.signed:
            raise ValueError(
                f"block {record.block!r} has weights of any sign: they pass on no shares"
            )
        for axis in (record.query_axis, record.key_axis):
            if axis != records[0].query_axis:
                raise ValueError(
                    f"queries and keys of block {record.block!r} are not the tokens of "
                    f"{records[0].block!r}: the {axis.described} against the "
                    f"{records[0].query_axis.described}"
                )
        layers.setdefault(record.block, []).append(record)
    return layers


def _applied(
    row: Float[Tensor, " query_pos"], record: AttentionRecord
) -> Float[Tensor, " key_pos"]:
    """Return a row of shares times a layer's matrix, whose rows are divided by their sums."""
    passed = torch.zeros(len(record.key), dtype=torch.float64)
    for chunk in query_chunks(record, row.nonzero()[:, 0]):
        rows = terms.attention(record, chunk).double()
        passed += (row[chunk] / rows.sum(dim=1)) @ rows
    return passed
