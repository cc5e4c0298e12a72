"""How many different maps there are: effective rank of rows, stable rank of logits."""

from math import nan
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.forms import FORMS
from nonlocal_lens.analysis.record import AttentionRecord

RANKED = 192
"""Random queries whose rows are taken; all of them where there are no more than that."""

STRIPE, COLUMNS = 64, 4096
"""Rows whose products are made at once, and columns that are held in float64."""


class SampledRank(NamedTuple):
    """The effective rank of some rows of attention, 1 to the number of rows or keys."""

    rank: float
    shuffled: float  # of the same rows, each with its keys shuffled; NaN if not asked for
    rows: int


def sampled_rank(
    sample_rows: Float[Tensor, "sample key_pos"],
    *,
    generator: torch.Generator,
    shuffles: bool = True,
) -> SampledRank:
    """Return the effective rank of up to `RANKED` rows, chosen at random.

    A block whose queries all look the same way has 1. It is the rank of these rows and no estimate
    of that of all rows, which has no cheap one: the many small singular values weigh as much as
    the large ones, and those that a randomized decomposition leaves out were half of the rank in
    trained blocks. The same number of rows makes blocks and images comparable.

    Time O(rows^2 x keys), memory O(rows x keys).
    """
    rows = sample_rows[torch.randperm(len(sample_rows), generator=generator)[:RANKED]]
    rank = effective_rank(rows)
    if not shuffles:
        return SampledRank(rank, nan, len(rows))
    seed = int(torch.randint(2**31, (), generator=generator))
    shuffled = np.random.default_rng(seed).permuted(rows.numpy(), axis=1)
    return SampledRank(rank, effective_rank(torch.from_numpy(shuffled)), len(rows))


def effective_rank(matrix: Float[Tensor, "rows columns"]) -> float:
    """Return exp of the entropy of the singular values over their sum (Roy and Vetterli 2007).

    From the eigenvalues of the smaller Gram matrix in float64; what lies within its rounding is
    taken as 0. NaN for a matrix of zeros.
    """
    if matrix.shape[0] > matrix.shape[1]:
        matrix = matrix.T
    gram = _lower_gram(matrix)
    squares = torch.linalg.eigvalsh(gram)  # which looks at the lower triangle alone
    rounding = squares[-1] * len(gram) * torch.finfo(squares.dtype).eps
    values = squares.where(squares > rounding, 0).sqrt()
    rank: float = torch.special.entr(values / values.sum()).sum().exp().item()
    return rank


def _lower_gram(matrix: Float[Tensor, "rows columns"]) -> Float[Tensor, "rows rows"]:
    """Return the products of all rows in float64, on and below the diagonal: half of the work."""
    rows = len(matrix)
    gram = torch.zeros(rows, rows, dtype=torch.float64)
    for columns in matrix.split(COLUMNS, dim=1):
        part = columns.double()
        for start in range(0, rows, STRIPE):
            end = min(start + STRIPE, rows)
            gram[start:end, :end] += part[start:end] @ part[:end].T
    return gram


def stable_rank(matrix: Float[Tensor, "rows columns"]) -> float:
    """Return the squared Frobenius norm over the squared spectral norm; NaN for zeros.

    From the smaller Gram matrix in float64: time O(larger side x smaller side^2).
    """
    matrix = matrix.double()
    gram = matrix.T @ matrix if matrix.shape[0] > matrix.shape[1] else matrix @ matrix.T
    total = gram.diagonal().sum().item()
    return max(total / torch.linalg.eigvalsh(gram)[-1].item(), 1.0) if total > 0 else nan


def stable_rank_of_logits(record: AttentionRecord) -> float:
    """Return the squared Frobenius norm over the squared spectral norm of a block's logits.

    Of logits before a softmax, which does not see a row's mean, that is taken out of every row; of
    blocks with a softmax for each term, the pairwise logits are meant. Both norms come from the
    Gram matrices of queries and keys: time O((queries + keys) x channels^2). NaN where all logits
    are equal and where they are no products (concatenation).
    """
    if not FORMS[record.form].is_product:
        return nan
    if record.coupling == "unary":
        return 1.0 if terms.unary_logits(record).std(unbiased=False) > 0 else nan
    query, key = _factors(record)
    of_queries, of_keys = query.T @ query, key.T @ key
    total = (of_queries * of_keys).sum().item()
    return max(total / _largest_eigenvalue(of_queries, of_keys), 1.0) if total > 0 else nan


def _factors(
    record: AttentionRecord,
) -> tuple[Float[Tensor, "query_pos channels"], Float[Tensor, "key_pos channels"]]:
    """Return float64 queries that count and keys whose products are the logits, up to the scale."""
    every, key = record.query.double(), record.key.double()
    query = every[: record.query_axis.counting]
    mean = every[: terms.meant(record)].mean(dim=0)
    if record.signed:
        return query, key
    key = terms.whiten(key)
    if record.coupling == "pairwise" or (record.coupling == "disentangled" and record.whitened):
        return query - mean, key
    if record.coupling == "coupled" and record.unary is not None:  # one more channel, 1 for all
        unary = (record.unary.double() - record.unary.double().mean()) / record.scale
        query = torch.cat((query - mean, torch.ones_like(query[:, :1])), dim=1)
        return query, torch.cat((key, unary[:, None]), dim=1)
    return query, key


def _largest_eigenvalue(
    one: Float[Tensor, "channels channels"], other: Float[Tensor, "channels channels"]
) -> float:
    """Return the largest eigenvalue of the product of two positive semidefinite matrices."""
    # a little more on the diagonal, below the rounding of the trace, lets singular ones be factored
    more = one.diagonal().sum() * len(one) * torch.finfo(one.dtype).eps
    factor = torch.linalg.cholesky(one + more * torch.eye(len(one), dtype=one.dtype))
    largest: float = torch.linalg.eigvalsh(factor.T @ other @ factor)[-1].item()
    return largest
