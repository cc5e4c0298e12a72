"""How much of the logits' variance ignores the query: the unary share, in closed form."""

from collections.abc import Sequence
from math import nan

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.forms import FORMS
from nonlocal_lens.analysis.grams import LogitGrams
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
    return unary_shares([record])[0].item()


def unary_shares(
    records: Sequence[AttentionRecord], grams: LogitGrams | None = None
) -> Float[Tensor, " heads"]:
    """Return the `unary_share` of heads that are alike, see `analysis.head_rows.alike`.

    Args:
        records: The heads.
        grams: Theirs, where they are there already.
    """
    if records[0].reach is None and FORMS[records[0].form].is_product:
        unary, pairwise = _squares_of_products(records, grams)
    else:
        of_heads = [_squares_of_parts(record) for record in records]
        unary, pairwise = torch.tensor(of_heads, dtype=torch.float64).T
    total = unary + pairwise
    return (unary / total).where(total > 0, nan)


def _squares_of_parts(record: AttentionRecord) -> tuple[float, float]:
    """Return what the parts of a block's grid have of both; all of it where it has no parts."""
    if _overlapping(record):
        return nan, nan
    unary = pairwise = 0.0
    for part in part_records(record):
        of_part = (
            _squares_of_products([part]) if FORMS[part.form].is_product else _squares_of_all(part)
        )
        unary += float(of_part[0])
        pairwise += float(of_part[1])
    return unary, pairwise


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


def _squares_of_products(
    records: Sequence[AttentionRecord], grams: LogitGrams | None = None
) -> tuple[Float[Tensor, " heads"], Float[Tensor, " heads"]]:
    """Return SS(unary) and SS(pairwise) of heads whose logits are products of all pairs."""
    first, queries = records[0], terms.meant(records[0])
    grams = LogitGrams(records) if grams is None else grams
    squared_scale = grams.of_keys.new_tensor([record.scale**2 for record in records])
    pairwise = unary = torch.zeros_like(squared_scale)
    if first.coupling != "unary":  # else, whatever queries and keys are, they have no part
        pairwise = squared_scale * (grams.of_queries(queries).gram * grams.of_keys).sum(dim=(1, 2))
    if first.coupling != "pairwise" and (first.unary is None or not first.whitened):
        # where a block leaves it in, what every query shares is in both softmaxes
        mean = grams.mean_query[..., None]
        unary = unary + squared_scale * (mean.mT @ grams.of_keys @ mean)[:, 0, 0]
    if first.unary is not None:
        learned = torch.stack([terms.unary_logits(record) for record in records]).double()
        unary = unary + (learned - learned.mean(dim=1, keepdim=True)).square().sum(dim=1)
    return queries * unary, pairwise


def _squares_of_all(record: AttentionRecord) -> tuple[float, float]:
    """Return SS(unary) and SS(pairwise) of logits that are no products, from all of them."""
    unary = terms.unary_logits(record).double()
    of_unary = terms.meant(record) * (unary - unary.mean()).square().sum().item()
    chunks = (terms.pairwise_logits(record, chunk) for chunk in query_chunks(record))
    return of_unary, sum(rows.square().sum(dtype=torch.float64).item() for rows in chunks)
