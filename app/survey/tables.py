"""The rows of a survey as tables: per picture, and per network."""

import io
from collections import Counter
from collections.abc import Sequence

import pandas as pd

from nonlocal_lens.analysis.degeneracy import STATISTICS
from nonlocal_lens.analysis.tables.rows import REGIONS, Row, prefix

HANDLES = ["item", "source"]
"""Columns by which a row is found again; they are nobody else's business."""

SERIES = "series"
"""Column with what is told apart in charts: a network; its block, run, head where several."""

LABEL_COLUMNS = {
    "miou": ("mIoU", "Mean intersection over union with the labels, 0 to 1."),
    **{
        f"{prefix(term)}{region}_lift": (
            f"{term.capitalize()} on {words}",
            f"Mass of the {term} attention on {where}, over chance; 1 ignores the labels.",
        )
        for region, words, where in zip(
            REGIONS,
            ("own class", "boundaries"),
            ("pixels of the query's own class", "pixels near a change of label"),
            strict=True,
        )
        for term in ("whole", "pairwise", "unary")
    },
}
"""Column that pictures with labels have -> its heading and what it means."""


def per_picture(rows: Sequence[Row]) -> pd.DataFrame:
    """Return a table with a row per picture, network, block, run and head, in their order."""
    table = pd.DataFrame(list(rows))
    several = table.groupby("network")[["block", "call", "head"]].nunique(dropna=False).gt(1)
    series = table["network"].astype(str)
    for part, sign in (("block", " · "), ("call", ", call "), ("head", ", head ")):
        shown = table["network"].map(several[part])
        series = series.where(~shown, series + sign + table[part].astype(str))
    table.insert(0, SERIES, series)
    return table


def per_network(table: pd.DataFrame) -> pd.DataFrame:
    """Return means over pictures: a row per network, block, run and head.

    Numbers that have no meaning for a picture are left out of the mean. The verdict is the one that
    most pictures have.
    """
    groups = table.groupby(SERIES, sort=False)
    means = groups[numeric_columns(table)].mean()
    means.insert(0, "pictures", groups["item"].nunique())
    means.insert(1, "verdict", groups["verdict"].agg(_common_verdict))
    return means.reset_index()


def numeric_columns(table: pd.DataFrame) -> list[str]:
    """Return the columns to show in a table: statistics, and what labels tell."""
    known = [*STATISTICS, *LABEL_COLUMNS]
    return [name for name in known if name in table and table[name].notna().any()]


def csv_bytes(table: pd.DataFrame) -> bytes:
    """Return a table as CSV: all columns but the handles, empty where a number has no meaning."""
    return _plain(table).to_csv(index=False, lineterminator="\n").encode()


def parquet_bytes(table: pd.DataFrame) -> bytes:
    """Return a table as Parquet: all columns but the handles."""
    buffer = io.BytesIO()
    _plain(table).to_parquet(buffer, index=False)
    return buffer.getvalue()


def _plain(table: pd.DataFrame) -> pd.DataFrame:
    return table.drop(columns=[*HANDLES, SERIES], errors="ignore")


def _common_verdict(verdicts: pd.Series) -> str:
    words = Counter(verdict.partition(":")[0] for verdict in verdicts)
    (word, count), *_ = words.most_common()
    return word if count == len(verdicts) else f"{word} ({count} of {len(verdicts)})"
