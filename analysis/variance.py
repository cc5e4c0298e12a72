"""How much of the logits' variance ignores the query: the unary share, in closed form."""

from math import nan

import torch
from jaxtyping import Float, Int
from torch import Tensor

from analysis import terms
from analysis.parts import part_records
from analysis.record import AttentionRecord
from analysis.streaming import query_chunks


def unary_share(record: AttentionRecord) -> float:
    """Return SS(unary) / (SS(pairwise) + SS(unary)) of the logits, in [0, 1]; NaN if both are 0.

    The two terms are orthogonal, so that this is a true share of variance. For dot products it has
    a closed form, O(positions x channels^2): with whitened Q and K, SS(pairwise) is
    scale^2 <Q'Q, K'K>.

    Logits that no softmax sees count for nothing: where the grid has parts, the sums are those of
    the parts. Where the reaches of queries overlap, the terms are not orthogonal within them, and
    there is no such share: NaN.
    """
    if _overlapping(record):
        return nan
    unary = pairwise = 0.0
    for part in part_records(record):
        unary += _unary_squares(part)
        pairwise += _pairwise_squares(part)
    total = unary + pairwise
    return unary / total if total > 0 else nan


def squares_of_rows(
    record: AttentionRecord, queries: Int[Tensor, " queries"]
) -> tuple[float, float]:
    """Return what the rows of some queries have of SS(unary) and of SS(pairwise).

    Time O(queries x keys x channels), memory O(queries x keys).
    """
    if _overlapping(record):
        return nan, nan
    unary, pairwise = terms.unary_logits(record).double(), terms.pairwise_logits(record, queries)
    if record.reach is None:
        squares = len(queries) * (unary - unary.mean()).square().sum().item()
        return squares, pairwise.double().square().sum().item()
    seen = record.reach.sees(queries).double()
    mean = (seen @ unary) / seen.sum(dim=1)
    unary_squares = ((unary - mean[:, None]).square() * seen).sum().item()
    return unary_squares, (pairwise.double().square() * seen).sum().item()


def _overlapping(record: AttentionRecord) -> bool:
    return record.reach is not None and record.parts is None


def _unary_squares(record: AttentionRecord) -> float:
    """Return SS(unary)."""
    unary_logits = terms.unary_logits(record).double()
    unary = len(record.query) * (unary_logits - unary_logits.mean()).square().sum().item()
    if not record.whitened:  # what every query shares is in both softmaxes
        derived = terms.derived_unary_logits(record).double()
        unary += len(record.query) * derived.square().sum().item()
    return unary


def _pairwise_squares(record: AttentionRecord) -> float:
    """Return SS(pairwise)."""
    if record.form == "concatenation":  # no product of a query and a key
        chunks = (terms.pairwise_logits(record, chunk) for chunk in query_chunks(record))
        return sum(logits.square().sum(dtype=torch.float64).item() for logits in chunks)
    if record.coupling == "unary":  # whatever its queries and keys are, they have no part
        return 0.0
    return (
        record.scale**2 * (_whitened_gram(record.query) * _whitened_gram(record.key)).sum().item()
    )


def _whitened_gram(vectors: Float[Tensor, "pos channels"]) -> Float[Tensor, "channels channels"]:
    """Return V'V of whitened vectors, summed in float64 over pieces in their own precision."""
    channels = vectors.shape[1]
    mean = vectors.mean(dim=0, dtype=torch.float64)
    gram = torch.zeros(channels, channels, dtype=torch.float64)
    for piece in vectors.split(512):
        whitened = (piece - mean).to(vectors.dtype)
        gram += whitened.T @ whitened
    return gram
