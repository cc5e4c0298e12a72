"""All heads of a network on one picture: their numbers, their order on a wall, their twins."""

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING, Literal, NamedTuple, get_args

import numpy as np
from jaxtyping import Float, Float32
from torch import Tensor

from nonlocal_lens.analysis import degeneracy, terms
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.redundancy import Twin, mean_row, twin

if TYPE_CHECKING:
    import pandas as pd

Order = Literal["layer", "highest", "lowest"]
ORDERS: tuple[Order, ...] = get_args(Order)

HeadMap = Literal["whole", "pairwise", "unary", "mean"]
HEAD_MAPS: tuple[HeadMap, ...] = get_args(HeadMap)
"""What a cell of the wall shows: a map of one query, or what is the same for all: the mean row."""

NOT_OF_RECORDS = ("input_cosine_distance", "output_cosine_distance")
"""Statistics that a record alone does not have."""

HEAD_STATISTICS = tuple(
    name
    for name in dict.fromkeys(
        ["unary_information_share", *degeneracy.HEADLINES, *degeneracy.STATISTICS]
    )
    if name not in NOT_OF_RECORDS
)
"""What heads can be ordered by; the first is what they are ordered by before another is chosen."""


class MeasuredHead(NamedTuple):
    """One block, or one head of it, and what was measured of it, maybe over several pictures."""

    record: AttentionRecord
    layer: int  # 0 for the first block that ran
    report: degeneracy.DegeneracyReport
    mean: Float[Tensor, " key_pos"]  # its mean row
    twin: Twin | None  # the earlier head that makes it redundant
    unary: Float[Tensor, " key_pos"] | None = None  # of several pictures: the mean unary map
    maps_of: int = 1  # pictures that its mean row is over

    @property
    def title(self) -> str:
        """What the head is called in addresses and tables."""
        return head_title(self.record)

    def values(self, shown: HeadMap, query: int) -> Float32[np.ndarray, "rows cols"]:
        """Return a map over the key grid, in multiples of uniform or logits; NaN where no key is.

        Args:
            shown: Which map.
            query: Index of a query; of no matter to the mean row.
        """
        record, axis = self.record, self.record.key_axis
        if shown == "mean":
            row = self.mean
        elif shown == "unary" and self.unary is not None:
            row = self.unary
        else:
            row = terms.attention(record, [query], shown)[0]
        cells: Float32[np.ndarray, " cells"] = axis.on_grid((row * len(record.key)).float()).numpy()
        return cells.reshape(record.key_grid.height, record.key_grid.width)


def placed(records: Sequence[AttentionRecord]) -> tuple[AttentionRecord, ...]:
    """Return the records whose queries and keys lie in one picture, which a wall can show."""
    return tuple(
        record
        for record in records
        if record.query_grid is not None
        and record.key_grid is not None
        and record.query_grid.frames == record.key_grid.frames == 1
    )


def layers(records: Sequence[AttentionRecord]) -> list[int]:
    """Return the layer of every record: blocks are counted from 0 as they ran, each call anew."""
    numbers: dict[tuple[str, int], int] = {}
    return [numbers.setdefault((one.block, one.call), len(numbers)) for one in records]


def head_title(record: AttentionRecord) -> str:
    """Return what a head is called in addresses and tables: `blocks.3.attn.head5`."""
    again = f".call{record.call}" if record.call else ""
    return f"{record.block}{again}" + ("" if record.head is None else f".head{record.head}")


def measure_heads(
    records: Sequence[AttentionRecord],
    *,
    earlier: Sequence[MeasuredHead] = (),
    first_layer: int = 0,
) -> list[MeasuredHead]:
    """Measure heads in the order in which they ran.

    Args:
        records: See `placed`.
        earlier: Heads of the same network that ran before, which may make these redundant.
        first_layer: The layer of the first record.
    """
    rows = [(head.record, head.mean) for head in earlier]
    measured = []
    reports = degeneracy.measure_heads(records, shuffles=False)
    for record, layer, report in zip(records, layers(records), reports, strict=True):
        mean = mean_row(record)
        found = twin(record, mean, rows)
        measured.append(MeasuredHead(record, first_layer + layer, report, mean, found))
        rows.append((record, mean))
    return measured


def arranged(
    heads: Sequence[MeasuredHead],
    *,
    statistic: str = HEAD_STATISTICS[0],
    order: Order = "highest",
    grouped: bool = True,
) -> list[list[int]]:
    """Return the rows of the wall: numbers of heads, in groups by layer or all in one.

    Ties keep the network's order, and heads without a number come last.

    Raises:
        ValueError: There is no such statistic.
    """
    if statistic not in HEAD_STATISTICS:
        raise ValueError(
            f"unknown statistic {statistic!r}; available: {', '.join(HEAD_STATISTICS)}"
        )

    def place(number: int) -> tuple[bool, float]:
        value = float(getattr(heads[number].report, statistic))
        if order == "layer" or not isfinite(value):
            return order != "layer", 0.0
        return False, -value if order == "highest" else value

    numbers = sorted(range(len(heads)), key=place)
    if not grouped:
        return [numbers] if numbers else []
    by_layer = sorted({head.layer for head in heads})
    return [[one for one in numbers if heads[one].layer == layer] for layer in by_layer]


def heads_table(heads: Sequence[MeasuredHead]) -> "pd.DataFrame":
    """Return a row for every head: layer, block, which run of it, head, its twin, every statistic.

    Columns `redundant_with` and `twin_jsd_bits` are empty where no earlier head has nearly the
    same mean row.
    """
    import pandas as pd

    rows = [
        {
            "layer": head.layer,
            "block": head.record.block,
            "call": head.record.call,
            "head": head.record.head,
            "queries": head.report.queries,
            "keys": head.report.keys,
            "redundant_with": None if head.twin is None else heads[head.twin.head].title,
            "twin_jsd_bits": None if head.twin is None else head.twin.bits,
            **{name: getattr(head.report, name) for name in HEAD_STATISTICS},
        }
        for head in heads
    ]
    return pd.DataFrame(rows)
