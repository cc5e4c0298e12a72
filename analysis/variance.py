"""How much of the logits' variance ignores the query: the unary share, in closed form."""

from math import nan

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.forms import FORMS
from nonlocal_lens.analysis.parts import part_records
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.streaming import query_chunks


def unary_share(record: AttentionRecord) -> float:
    """Return SS(unary) / (SS(pairwise) + SS(unary)) of the logits, in [0, 1]; NaN if both are 0.

    The two terms are orthogonal, so that this is a true share of variance. For dot products it has
    a closed form, O(positions x channels^2): with whitened Q and K, SS(pairwise) is
    scale^2 <Q'Q, K'K>.

    Of the rows of queries that count, over all keys. Logits that no softmax sees count for nothing:
    where the grid has parts, the sums are those of the parts. Where the reaches of queries overlap,
    the terms are not orthogonal within them, and there is no such share: NaN.
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
    queries = terms.meant(record)
    unary_logits = terms.unary_logits(record).double()
    unary = queries * (unary_logits - unary_logits.mean()).square().sum().item()
    if not record.whitened:  # what every query shares is in both softmaxes
        derived = terms.derived_unary_logits(record).double()
        unary += queries * derived.square().sum().item()
    return unary


def _pairwise_squares(record: AttentionRecord) -> float:
    """Return SS(pairwise)."""
    if not FORMS[record.form].is_product:
        chunks = (terms.pairwise_logits(record, chunk) for chunk in query_chunks(record))
        return sum(logits.square().sum(dtype=torch.float64).item() for logits in chunks)
    if record.coupling == "unary":  # whatever its queries and keys are, they have no part
        return 0.0
    query, key = _whitened_gram(record.query[: terms.meant(record)]), _whitened_gram(record.key)
    return record.scale**2 * (query * key).sum().item()


def _whitened_gram(vectors: Float[Tensor, "pos channels"]) -> Float[Tensor, "channels channels"]:
    """Return V'V of whitened vectors, summed in float64 over pieces in their own precision."""
    channels = vectors.shape[1]
    mean = vectors.mean(dim=0, dtype=torch.float64)
    gram = torch.zeros(channels, channels, dtype=torch.float64)
    for piece in vectors.split(512):
        whitened = (piece - mean).to(vectors.dtype)
        gram += whitened.T @ whitened
    return gram
