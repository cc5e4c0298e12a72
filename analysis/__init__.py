"""Attention as records, their pairwise and unary terms, and how degenerate they are."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.capture import capture
from nonlocal_lens.analysis.compare import compare
from nonlocal_lens.analysis.interventions import intervene
from nonlocal_lens.analysis.over_dataset import over_dataset
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.watch import watch

if TYPE_CHECKING:
    from nonlocal_lens.analysis import degeneracy as degeneracy
    from nonlocal_lens.analysis.attribution import attributions as attribute

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
        from nonlocal_lens.analysis.attribution import attributions

        return attributions
    if name == "degeneracy":  # its catalog loads the statistics of other packages, which import us
        return import_module("nonlocal_lens.analysis.degeneracy")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
