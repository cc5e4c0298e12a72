"""What a table says on average: means over inputs with their intervals, as lines of text."""

from array import array
from collections.abc import Iterable, Iterator
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from nonlocal_lens.analysis.catalog import STATISTICS
from nonlocal_lens.analysis.intervals import Interval, mean_interval
from nonlocal_lens.app.stats.columns import Cell, Column

SIDE_BY_SIDE = 3
"""Blocks that a line of the summary has room for."""


class Group(NamedTuple):
    """What is averaged over inputs: one head of one block of one network."""

    network: str
    block: str
    call: int  # which run of it, from 0
    head: int | None

    @property
    def title(self) -> str:
        """How it is called in a table."""
        again = f" call {self.call}" if self.call else ""
        head = "" if self.head is None else f" {self.head}"
        return f"{self.network} {self.block}{again}{head}"


Averages = dict[Group, dict[str, Interval]]


def average(rows: Iterable[dict[str, Cell]], columns: list[Column], *, seed: int) -> Averages:
    """Return for every group the mean of every told column, with its interval over inputs.

    Where an input has several rows, as clips have, it counts once: as its row of the whole clip,
    or as the mean over its frames.
    """
    told = [column.name for column in columns if column.told]
    values: dict[Group, dict[str, array[float]]] = {}
    for _, of_input in groupby(rows, key=itemgetter("input")):
        by_group: dict[Group, list[dict[str, Cell]]] = {}
        for row in of_input:
            group = Group(row["network"], row["block"], row["call"], row["head"])  # type: ignore[arg-type]
            by_group.setdefault(group, []).append(row)
        for group, found in by_group.items():
            of_group = values.setdefault(group, {name: array("d") for name in told})
            whole = [row for row in found if row.get("frame") is None]
            for name in told:
                cells = [row.get(name) for row in whole or found]
                numbers = [cell for cell in cells if isinstance(cell, int | float)]
                if numbers:
                    of_group[name].append(sum(numbers) / len(numbers))
    return {
        group: {name: mean_interval(of_group[name], seed=seed) for name in told}
        for group, of_group in values.items()
    }


def to_json(averages: Averages) -> list[dict[str, Any]]:
    """Return averages as JSON can hold them."""
    return [
        {
            **group._asdict(),
            "statistics": {
                name: {
                    key: None if value != value else value
                    for key, value in interval._asdict().items()
                }
                for name, interval in intervals.items()
            },
        }
        for group, intervals in averages.items()
    ]


def lines(averages: Averages) -> Iterator[str]:
    """Yield a table: a line per statistic, some groups side by side."""
    groups = list(averages)
    for start in range(0, len(groups), SIDE_BY_SIDE):
        some = groups[start : start + SIDE_BY_SIDE]
        yield from [""] if start else []
        table = [["", *(group.title for group in some), ""]]
        for name in averages[some[0]]:
            found = [averages[group][name] for group in some]
            if any(interval.numbers for interval in found):
                unit = STATISTICS[name].unit if name in STATISTICS else ""
                table.append([name, *map(_cell, found), unit])
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        for line in table:
            yield "  ".join(map(str.ljust, line, widths)).rstrip()


def _cell(interval: Interval) -> str:
    if not interval.numbers:
        return "-"
    if interval.low != interval.low:
        return f"{interval.mean:.4g} ({interval.numbers})"
    return f"{interval.mean:.4g} [{interval.low:.4g}, {interval.high:.4g}] ({interval.numbers})"
