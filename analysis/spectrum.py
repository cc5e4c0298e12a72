"""How many different maps there are: effective rank of rows, stable rank of logits."""

from collections.abc import Sequence
from math import nan
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.forms import FORMS
from nonlocal_lens.analysis.grams import LogitGrams, bordered, gram, outer
from nonlocal_lens.analysis.record import AttentionRecord

RANKED = 192
"""Random queries whose rows are taken; all of them where there are no more than that."""

STRIPE, COLUMNS = 48, 4096
"""Rows whose products are made at once, and columns that are held in float64."""

PRODUCTS = 2**17
"""Products in memory at a time, of as many matrices."""


class SampledRank(NamedTuple):
    """The effective rank of some rows of attention, 1 to the number of rows or keys."""

    rank: float
    shuffled: float  # of the same rows, each with its keys shuffled; NaN if not asked for
    rows: int


def sampled_ranks(
    sample_rows: Float[Tensor, "heads sample key_pos"],
    *,
    generator: torch.Generator,
    shuffles: bool = True,
) -> list[SampledRank]:
    """Return the effective rank of up to `RANKED` rows of every head, chosen at random.

    A block whose queries all look the same way has 1. It is the rank of these rows and no estimate
    of that of all rows, which has no cheap one: the many small singular values weigh as much as
    the large ones, and those that a randomized decomposition leaves out were half of the rank in
    trained blocks. The same number of rows makes blocks and images comparable, and those of all
    heads are of the same queries and shuffled alike.

    Time O(rows^2 x keys), memory O(rows x keys), of every head.
    """
    heads, count, keys = sample_rows.shape
    chosen = torch.randperm(count, generator=generator)[:RANKED]
    rows = sample_rows.index_select(1, chosen.to(sample_rows.device))
    ranks, shuffled = effective_rank(rows).tolist(), [nan] * heads
    if shuffles:
        seed = int(torch.randint(2**31, (), generator=generator))
        in_order = np.tile(np.arange(keys), (len(chosen), 1))
        order = torch.from_numpy(np.random.default_rng(seed).permuted(in_order, axis=1))
        shuffled = effective_rank(rows.gather(2, order.to(rows.device).expand(rows.shape))).tolist()
    return [SampledRank(*both, len(chosen)) for both in zip(ranks, shuffled, strict=True)]


def effective_rank(matrix: Float[Tensor, "*heads rows columns"]) -> Float[Tensor, "*heads"]:
    """Return exp of the entropy of the singular values over their sum (Roy and Vetterli 2007).

    From the eigenvalues of the smaller Gram matrix in float64; what lies within its rounding is
    taken as 0. NaN for a matrix of zeros.
    """
    if matrix.shape[-2] > matrix.shape[-1]:
        matrix = matrix.mT
    *heads, rows, columns = matrix.shape
    some = matrix.reshape(-1, rows, columns).split(max(1, PRODUCTS // max(1, rows**2)))
    squares = torch.cat([_eigenvalues(_lower_gram(part)) for part in some]).view(*heads, rows)
    rounding = squares[..., -1:] * rows * torch.finfo(squares.dtype).eps
    values = squares.where(squares > rounding, 0).sqrt()
    rank: Tensor = torch.special.entr(values / values.sum(dim=-1, keepdim=True)).sum(dim=-1).exp()
    return rank


def _lower_gram(
    matrices: Float[Tensor, "heads rows columns"],
) -> Float[Tensor, "heads rows rows"]:
    """Return the products of all rows in float64, on and below the diagonal: half of the work."""
    heads, rows, _ = matrices.shape
    products = matrices.new_zeros(heads, rows, rows, dtype=torch.float64)
    for columns in matrices.split(COLUMNS, dim=2):
        part = columns.double()
        for start in range(0, rows, STRIPE):
            end = min(start + STRIPE, rows)
            products[:, start:end, :end].baddbmm_(part[:, start:end], part[:, :end].mT)
    return products


def _eigenvalues(matrix: Float[Tensor, "*heads size size"]) -> Float[Tensor, "*heads size"]:
    """Return the eigenvalues of symmetric matrices in rising order, from their lower triangles."""
    # what computes them takes columns one after another: so given, nothing is copied into them
    values: Tensor = torch.linalg.eigvalsh(matrix.mT, UPLO="U")
    return values


def stable_rank(matrix: Float[Tensor, "*heads rows columns"]) -> Float[Tensor, "*heads"]:
    """Return the squared Frobenius norm over the squared spectral norm; NaN for zeros.

    NaN, too, where a number is not finite. From the smaller Gram matrix: time O(larger side x
    smaller side^2).
    """
    rows, columns = matrix.shape[-2:]
    products = gram(matrix if rows > columns else matrix.mT)
    finite = products.isfinite().all(dim=-1).all(dim=-1)
    products = products.where(finite[..., None, None], 0.0)
    total = products.diagonal(dim1=-2, dim2=-1).sum(dim=-1)
    return _over_largest(total, _eigenvalues(products)[..., -1])


def stable_ranks_of_logits(
    records: Sequence[AttentionRecord], grams: LogitGrams | None = None
) -> Float[Tensor, " heads"]:
    """Return the squared Frobenius norm over the squared spectral norm of heads' logits.

    Of logits before a softmax, which does not see a row's mean, that is taken out of every row; of
    blocks with a softmax for each term, the pairwise logits are meant. Both norms come from the
    Gram matrices of queries and keys: time O((queries + keys) x channels^2). NaN where all logits
    are equal and where they are no products (concatenation).

    Args:
        records: Of heads that are alike, see `analysis.head_rows.alike`.
        grams: Theirs, where they are there already.
    """
    first = records[0]
    if not FORMS[first.form].is_product:
        return torch.full((len(records),), nan, dtype=torch.float64)
    if first.coupling == "unary":
        spread = [terms.unary_logits(record).std(unbiased=False) for record in records]
        return torch.tensor([1.0 if one > 0 else nan for one in spread], dtype=torch.float64)
    of_queries, of_keys = _grams_of_factors(
        records, LogitGrams(records) if grams is None else grams
    )
    total = (of_queries * of_keys).sum(dim=(1, 2))
    return _over_largest(total, _largest_eigenvalue(of_queries, of_keys))


def _over_largest(
    total: Float[Tensor, "*heads"], largest: Float[Tensor, "*heads"]
) -> Float[Tensor, "*heads"]:
    """Return sums of eigenvalues over the largest of them, at least 1; NaN where all are 0."""
    return (total / largest).clamp_min(1).where(total > 0, nan)


def _grams_of_factors(
    records: Sequence[AttentionRecord], grams: LogitGrams
) -> tuple[Float[Tensor, "heads channels channels"], Float[Tensor, "heads channels channels"]]:
    """Return the Gram matrices of vectors whose products are the logits, up to the scale.

    One for all queries that count, and one for the keys.
    """
    first, count = records[0], records[0].query_axis.counting
    of_queries, rest = grams.of_queries(count)
    if first.coupling == "pairwise" or (first.coupling == "disentangled" and first.whitened):
        return of_queries, grams.of_keys
    if first.coupling == "coupled" and first.unary is not None:  # one more channel, 1 for all
        scale = rest.new_tensor([record.scale for record in records])[:, None]
        learned = terms.stacked([terms.unary_logits(record) for record in records]).double()
        unary = (learned - learned.mean(dim=1, keepdim=True)) / scale
        ones = torch.full_like(rest[:, 0], count)
        return bordered(of_queries, rest, ones), grams.with_unary(unary)
    mean = grams.mean_query  # which the queries have again
    of_queries = of_queries + outer(rest, mean) + outer(mean, rest) + count * outer(mean, mean)
    if not first.signed:
        return of_queries, grams.of_keys
    return of_queries, grams.of_keys + len(first.key) * outer(grams.mean_key, grams.mean_key)


def _largest_eigenvalue(
    one: Float[Tensor, "heads channels channels"], other: Float[Tensor, "heads channels channels"]
) -> Float[Tensor, " heads"]:
    """Return the largest eigenvalue of the product of two positive semidefinite matrices."""
    # a little more on the diagonal, below the rounding of the trace, lets singular ones be factored
    channels = one.shape[-1]
    more = one.diagonal(dim1=1, dim2=2).sum(dim=1) * channels * torch.finfo(one.dtype).eps
    more = more.where(more > 0, 1)[:, None].expand(-1, channels)
    factor = torch.linalg.cholesky(one + torch.diag_embed(more))
    largest: Tensor = _eigenvalues(factor.mT @ other @ factor)[:, -1]
    return largest
