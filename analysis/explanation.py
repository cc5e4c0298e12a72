"""Is attention an explanation of the output? A number over several attributions, in a sentence."""

from collections.abc import Sequence
from math import isfinite, nan

from nonlocal_lens.analysis.attribution import PointedAt

EXPLAINS, EXPLAINS_IN_PART, EXPLAINS_HARDLY = 0.5, 0.2, 0.05
"""From these scores on attention is called an explanation, one in part, hardly one; below, none."""


def explanation_score(found: Sequence[PointedAt]) -> float:
    """Return how far attention closes the gap between knowing nothing and an attribution.

    Of every attribution, (overlap - uniform overlap) / (1 - uniform overlap): 1 if attention is the
    same map, 0 if it overlaps no more than uniform attention does, below 0 if less. The mean over
    attributions where that is defined; NaN if there are none.
    """
    scores = [
        (one.overlap - one.uniform_overlap) / (1 - one.uniform_overlap)
        for one in found
        if one.uniform_overlap < 1 and isfinite(one.overlap)
    ]
    return sum(scores) / len(scores) if scores else nan


def explanation_verdict(score: float) -> str:
    """Return what a score says, in a sentence."""
    if not isfinite(score):
        return "There is nothing to compare: attention or every attribution is 0 everywhere."
    if score >= EXPLAINS:
        return "Yes: it points largely at what the output depends on."
    if score >= EXPLAINS_IN_PART:
        return "In part: it points at some of what the output depends on."
    if score >= EXPLAINS_HARDLY:
        return "Hardly: it points at the output's reasons little better than looking everywhere."
    return "No: looking everywhere alike would point at the output's reasons as well."
