"""What is measured of a record as a row: one vocabulary of columns for all tables.

A number of the whole attention has the name of the statistic; one of a term has the term before it
(`pairwise_own_category_mass`), one of a baseline the baseline after it (`entropy_bits_uniform`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import Integer

from nonlocal_lens.analysis import degeneracy
from nonlocal_lens.analysis.catalog import STATISTICS as STATISTICS
from nonlocal_lens.analysis.catalog import WITH_BASELINES as WITH_BASELINES
from nonlocal_lens.analysis.degeneracy import QUANTILES, DegeneracyReport
from nonlocal_lens.analysis.labels import value_name
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.terms import TERMS
from nonlocal_lens.analysis.vectors import Unattended, VectorDistances

Row = dict[str, Any]
Labels = Integer[np.ndarray, "height width"]

Agreed = Mapping[str, Any]
"""Term -> its `analysis.consistency.Consistency`, whose module is imported late."""

NUMBERS: dict[str, type] = {
    **{"queries": int, "keys": int},
    **dict.fromkeys(STATISTICS, float),
    **{"jsd_standard_error": float, "effective_rank_rows": int, "farthest": float, "sink": int},
}
"""The numbers of a report, under the names of its attributes, with their types."""

QUANTILED = ("entropy_bits", "perplexity")
"""Statistics whose quantiles over queries a report has."""

BASELINES = ("uniform", "mean_row", "shuffled")

REGIONS = ("own_category", "boundary")
"""Where labels say that attention may lie; see `analysis.consistency`."""

AGREEMENTS = ("mass", "chance", "lift", "precision", "precision_chance", "queries")


def measure_row(
    record: AttentionRecord,
    *,
    vectors: VectorDistances | Unattended | None = None,
    labels: Labels | None = None,
    classes: Sequence[str] = (),
    seed: int = 0,
    shuffles: bool = True,
) -> Row:
    """Return everything that is measured of one record, by column.

    Args:
        record: The block and head.
        vectors: What was measured of its vectors, see `analysis.degeneracy.measure`.
        labels: The class of every pixel of the image; a record of a clip has none.
        classes: Their names. Unsigned labels are void from their number on; signed ones are those
            of any data set, see `analysis.labels`, and void where negative.
        seed: Of everything random.
        shuffles: See `analysis.degeneracy.measure`.
    """
    (row,) = measure_rows(
        [record],
        vectors=[vectors],
        labels=labels,
        classes=classes,
        seed=seed,
        shuffles=shuffles,
    )
    return row


def measure_rows(
    records: Sequence[AttentionRecord],
    *,
    vectors: Sequence[VectorDistances | Unattended | None] | None = None,
    labels: Labels | None = None,
    classes: Sequence[str] = (),
    seed: int = 0,
    shuffles: bool = True,
) -> list[Row]:
    """Return what `measure_row` does of each of some records; heads that are alike go together.

    Args:
        records: Heads of a block one after the other, see `analysis.degeneracy.measure_heads`.
        vectors: Of each record's block, see `analysis.vectors.distances_of_all`; none if not given.
        labels: See `measure_row`.
        classes: Likewise.
        seed: Likewise.
        shuffles: Likewise.
    """
    reports = degeneracy.measure_heads(records, vectors=vectors, seed=seed, shuffles=shuffles)
    rows: list[Row] = []
    for record, report in zip(records, reports, strict=True):
        row = {"block": record.block, "call": record.call, "head": record.head}
        row |= report_cells(report)
        if labels is not None:
            row |= label_cells(agreements(record, labels, classes))
        rows.append(row)
    return rows


def report_cells(report: DegeneracyReport) -> Row:
    """Return the numbers of a report with their quantiles and baselines, and its verdict."""
    row: Row = {name: getattr(report, name) for name in NUMBERS}
    for statistic in QUANTILED:
        values = getattr(report, f"{statistic}_quantiles")
        row |= {
            quantile_name(statistic, at): value for at, value in zip(QUANTILES, values, strict=True)
        }
    for statistic in WITH_BASELINES:
        of_statistic = report.baselines[statistic]
        row |= {
            f"{statistic}_{baseline}": getattr(of_statistic, baseline) for baseline in BASELINES
        }
    return {**row, "token_shares": shares_in_words(report), "verdict": report.verdict}


def shares_in_words(report: DegeneracyReport) -> str:
    """Return the share of each key that is no place: "class 0.312; register 1 0.027"."""
    return "; ".join(f"{name} {share:.4f}" for name, share in report.token_shares.items())


def agreements(record: AttentionRecord, labels: Labels, classes: Sequence[str]) -> Agreed:
    """Return how every term of a record agrees with labels, by term; measured once for all rows."""
    from nonlocal_lens.analysis import consistency  # draws in OpenCV and scikit-image

    known = _known(labels, classes)
    return {term: consistency.measure(record, labels, known, term=term) for term in TERMS}


def label_cells(agreed: Agreed) -> Row:
    """Return the cells of what `agreements` found: of the whole, and on boundaries."""
    row: Row = {}
    for term, found in agreed.items():
        for region in REGIONS:
            agreement = getattr(found, region)
            for name, value in {**asdict(agreement), "lift": agreement.lift}.items():
                row[f"{prefix(term)}{region}_{name}"] = value
        row[f"{prefix(term)}picture_share"] = found.picture_share
        row["boundary_pixels"] = found.boundary_pixels
    return row


def label_columns() -> list[str]:
    """Return the names of the columns of `label_cells`."""
    agreements = [f"{prefix(t)}{r}_{name}" for t in TERMS for r in REGIONS for name in AGREEMENTS]
    shares = [f"{prefix(term)}picture_share" for term in TERMS]
    return [*agreements, *shares, "boundary_pixels"]


def class_rows(
    record: AttentionRecord,
    agreed: Agreed,
    labels: Labels,
    classes: Sequence[str],
) -> list[Row]:
    """Return how every term agrees with the own category of the queries of each class.

    Args:
        record: The block and head.
        agreed: What `agreements` found of them.
        labels: The class of every pixel of the image.
        classes: Their names.
    """
    known = _known(labels, classes)
    named = known is not None or labels.max() < len(classes)
    colored = bool(labels.max() > 0xFFFF)
    return [
        {
            "block": record.block,
            "call": record.call,
            "head": record.head,
            "class": classes[value] if named else value_name(value, colored),
            "term": term,
            "queries": agreement.queries,
            "mass": agreement.mass,
            "chance": agreement.chance,
            "lift": agreement.lift,
        }
        for term, found in agreed.items()
        for value, agreement in found.by_class.items()
    ]


def _known(labels: Labels, classes: Sequence[str]) -> int | None:
    """Return how many of the label values are classes; None where all are that are not void."""
    return len(classes) if labels.dtype.kind == "u" else None


def prefix(term: str) -> str:
    """Return what the names of a term's columns begin with: nothing for the whole attention."""
    return "" if term == "whole" else f"{term}_"


def quantile_name(statistic: str, at: float) -> str:
    """Return the name of the column of a quantile, like `entropy_bits_q05`."""
    return f"{statistic}_q{round(100 * at):02d}"
