"""How much of the logits' variance ignores the query: the unary share, in closed form."""

from math import nan

import torch
from jaxtyping import Float
from torch import Tensor

from analysis import terms
from analysis.record import AttentionRecord
from analysis.streaming import query_chunks


def unary_share(record: AttentionRecord) -> float:
    """Return SS(unary) / (SS(pairwise) + SS(unary)) of the logits, in [0, 1]; NaN if both are 0.

    The two terms are orthogonal, so that this is a true share of variance. For dot products it has
    a closed form, O(positions x channels^2): with whitened Q and K, SS(pairwise) is
    scale^2 <Q'Q, K'K>.
    """
    unary_logits = terms.unary_logits(record).double()
    unary = len(record.query) * (unary_logits - unary_logits.mean()).square().sum().item()
    if not record.whitened:  # what every query shares is in both softmaxes
        derived = record.scale * (terms.whiten(record.key) @ record.query.mean(dim=0)).double()
        unary += len(record.query) * derived.square().sum().item()
    total = _pairwise_squares(record) + unary
    return unary / total if total > 0 else nan


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
