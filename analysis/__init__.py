"""Attention as records, their pairwise and unary terms, and how degenerate they are."""

from typing import TYPE_CHECKING, Any

from analysis import degeneracy, terms
from analysis.capture import capture
from analysis.compare import compare
from analysis.interventions import intervene
from analysis.over_dataset import over_dataset
from analysis.record import AttentionRecord
from analysis.watch import watch

if TYPE_CHECKING:
    from analysis.attribution import attributions as attribute

__all__ = [
    "AttentionRecord",
    "attribute",
    "capture",
    "compare",
    "degeneracy",
    "intervene",
    "over_dataset",
    "terms",
    "watch",
]


def __getattr__(name: str) -> Any:
    if name == "attribute":  # captum takes longer to import than all the rest
        from analysis.attribution import attributions

        return attributions
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
