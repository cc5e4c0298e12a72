"""What the board of a survey shows: numbers of every picture, with its thumbnail."""

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import pandas as pd

from nonlocal_lens.analysis.degeneracy import STATISTICS
from nonlocal_lens.app.survey.paired import Paired, interval_of
from nonlocal_lens.app.survey.tables import SERIES

MOST_SERIES = 8
MOST_PICTURES = 200

SERIES_COLORS = (
    "#12807a",
    "#c4681c",
    "#5f6fc9",
    "#b0457f",
    "#7a8a1f",
    "#3d8fc4",
    "#8a6a4f",
    "#7d7f88",
)
"""Of networks, in the order in which they were chosen: the app's own color first."""


def shown_series(table: pd.DataFrame) -> list[str]:
    """Return the series that a board has room for, in the order measured."""
    return list(dict.fromkeys(table[SERIES]))[:MOST_SERIES]


def board_data(
    table: pd.DataFrame, statistic: str, paired: Paired | None, thumbnails: Mapping[int, str]
) -> dict[str, Any]:
    """Return what the board shows, as JSON takes it: what has no meaning is None.

    Args:
        table: As `app.survey.tables.per_picture` gives it.
        statistic: A name of `STATISTICS`, a column of the table.
        paired: The difference of two series, where there are two.
        thumbnails: Picture's number -> data URL.
    """
    names = shown_series(table)
    known = STATISTICS[statistic]
    shown = table[table[SERIES].isin(names)]
    items = list(dict.fromkeys(shown["item"]))[:MOST_PICTURES]
    titles = dict(zip(shown["item"], shown["input"], strict=True))
    shown = shown[shown["item"].isin(items)]
    rows = [
        {
            "item": int(row["item"]),
            "series": names.index(row[SERIES]),
            "value": _finite(row[statistic]),
            "unary": _finite(row["unary_bits"]),
            "query": _finite(row["query_information_bits"]),
            "verdict": row["verdict"],
        }
        for row in shown.to_dict("records")
    ]
    selectivity = [(row["unary"] or 0) + (row["query"] or 0) for row in rows]
    return {
        "known": {"label": known.label, "unit": known.unit, "degenerate": known.degenerate},
        "series": [
            {"name": name, "color": color}
            for name, color in zip(names, SERIES_COLORS, strict=False)
        ],
        "pictures": [
            {"id": int(item), "name": str(titles[item]), "image": thumbnails.get(int(item))}
            for item in items
        ],
        "rows": rows,
        "means": [_mean(table.loc[table[SERIES] == name, statistic]) for name in names],
        "difference": None if paired is None else _difference(paired, names, items),
        "top": max([*selectivity, 1e-6]),
    }


def _mean(values: pd.Series) -> dict[str, float | None]:
    mean, low, high, _ = interval_of(tuple(values.astype(float)))
    return {"mean": _finite(mean), "low": _finite(low), "high": _finite(high)}


def _difference(paired: Paired, names: Sequence[str], items: Sequence[int]) -> dict[str, Any]:
    index = names.index(paired.one) if paired.one in names else 0
    mean, low, high, _ = paired.interval
    return {
        "name": f"{paired.one} \N{MINUS SIGN} {paired.other}",
        "color": SERIES_COLORS[index],
        "mean": _finite(mean),
        "low": _finite(low),
        "high": _finite(high),
        "values": [[item, value] for item, value in paired.by_item.items() if item in items],
    }


def _finite(value: Any) -> float | None:
    number = float(value)
    return number if isfinite(number) else None
