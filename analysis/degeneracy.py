"""How query-independent (degenerate) a block's attention is: statistics of one record."""

from collections.abc import Iterator
from dataclasses import dataclass
from math import log, log2
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from analysis import terms
from analysis.record import ROW_SUM, AttentionRecord

CHUNK_VALUES = 2**21
"""Attention values in memory at a time: queries are taken in chunks of this many / keys."""


class Statistic(NamedTuple):
    """What a number means."""

    label: str
    unit: str  # empty where the number is a plain ratio
    definition: str


STATISTICS = {
    "unary_share": Statistic(
        "Unary share",
        "",
        "SS(unary) / (SS(pairwise) + SS(unary)): how much of the logits' variation over keys "
        "ignores the query. 1 is fully degenerate, 0 purely pairwise; NaN where all logits are "
        "equal.",
    ),
    "query_information_bits": Statistic(
        "Query information",
        "bits",
        "H(mean row) - mean H(row): the mutual information between query and attended key, which "
        "is the generalized Jensen-Shannon divergence of the rows. 0 is fully degenerate.",
    ),
    "cosine_distance": Statistic(
        "Cosine distance",
        "",
        "Mean of (1 - cos) / 2 over all ordered pairs of rows, a row with itself included: "
        "`att` of GCNet's Table 1 (Cao et al. 2019). 0 is fully degenerate.",
    ),
    "entropy_bits": Statistic(
        "Row entropy",
        "bits",
        "Mean entropy of a row: how widely a query spreads its attention. log2 of the number of "
        "keys is uniform attention, 0 a single key.",
    ),
}
"""Every statistic of a `DegeneracyReport`, by field name."""


@dataclass(frozen=True)
class DegeneracyReport:
    """The `STATISTICS` of one record's whole attention; `bounds` gives their ranges.

    Rows of the disentangled coupling, which sum to 2, are halved into distributions before anything
    is measured.
    """

    block: str
    queries: int  # N, query positions
    keys: int  # M, key positions
    unary_share: float
    query_information_bits: float
    cosine_distance: float
    entropy_bits: float

    def bounds(self, statistic: str) -> tuple[float, float]:
        """Return the least and the greatest value that a statistic can take for this grid."""
        upper = {
            "unary_share": 1.0,
            "query_information_bits": log2(min(self.queries, self.keys)),
            "cosine_distance": 0.5,
            "entropy_bits": log2(self.keys),
        }
        if statistic not in upper:
            raise ValueError(f"unknown statistic {statistic!r}; available: {', '.join(upper)}")
        return 0.0, upper[statistic]


def measure(record: AttentionRecord) -> DegeneracyReport:
    """Return the degeneracy statistics of a record.

    One pass over chunks of queries: time O(queries x keys x channels), memory O(chunk x keys). Sums
    are kept in float64.

    Raises:
        ValueError: The record holds NaN or infinite values.
    """
    _check_finite(record)
    queries, keys = record.query.shape[0], record.key.shape[0]
    row_sum = torch.zeros(keys, dtype=torch.float64)
    unit_sum = torch.zeros(keys, dtype=torch.float64)
    entropy_sum = 0.0
    for chunk in query_chunks(record):
        rows = terms.attention(record, chunk) / ROW_SUM[record.coupling]
        row_sum += rows.sum(dim=0, dtype=torch.float64)
        unit_sum += torch.nn.functional.normalize(rows, dim=1).sum(dim=0, dtype=torch.float64)
        entropy_sum += torch.special.entr(rows).sum(dtype=torch.float64).item()

    mean_entropy = entropy_sum / queries / log(2)
    entropy_of_mean = torch.special.entr(row_sum / queries).sum().item() / log(2)
    return DegeneracyReport(
        block=record.block,
        queries=queries,
        keys=keys,
        unary_share=unary_share(record),
        query_information_bits=max(0.0, entropy_of_mean - mean_entropy),
        # |mean unit row|^2 is the mean cosine over all ordered pairs, so no pair is ever visited
        cosine_distance=max(0.0, (1 - (unit_sum / queries).square().sum().item()) / 2),
        entropy_bits=mean_entropy,
    )


def unary_share(record: AttentionRecord) -> float:
    """Return SS(unary) / (SS(pairwise) + SS(unary)) of the logits, in [0, 1]; NaN if both are 0.

    Closed form, O(positions x channels^2): with whitened Q and K, SS(pairwise) is
    scale^2 <Q'Q, K'K>. The two terms are orthogonal, so that this is a true share of variance.
    """
    query = terms.whiten(record.query.double())
    key = terms.whiten(record.key.double())
    pairwise = record.scale**2 * ((query.T @ query) * (key.T @ key)).sum().item()
    unary_logits = terms.unary_logits(record).double()
    unary = query.shape[0] * (unary_logits - unary_logits.mean()).square().sum().item()
    total = pairwise + unary
    return unary / total if total > 0 else float("nan")


def query_chunks(record: AttentionRecord) -> Iterator[Int[Tensor, " queries"]]:
    """Yield all query positions in order, as many at a time as memory should hold rows of."""
    size = max(1, CHUNK_VALUES // record.key.shape[0])
    yield from torch.arange(record.query.shape[0]).split(size)


def _check_finite(record: AttentionRecord) -> None:
    tensors: dict[str, Float[Tensor, ...] | None] = {
        "query": record.query,
        "key": record.key,
        "unary": record.unary,
    }
    for name, tensor in tensors.items():
        if tensor is not None and not torch.isfinite(tensor).all():
            raise ValueError(f"block {record.block!r} has NaN or infinite values in its {name}")
