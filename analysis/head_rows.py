"""Rows of heads that are alike, made together: one product and one exponential for all of them."""

from collections.abc import Iterator, Sequence
from itertools import groupby, pairwise
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.record import AttentionRecord


class Rows(NamedTuple):
    """Some rows of every head, as they are; or of softmaxes, not divided by their sums yet."""

    rows: Float[Tensor, "heads queries key_pos"]
    logarithms: Float[Tensor, "heads queries"] | None  # sums of w ln w; None: rows are as they are


class HeadRows:
    """The attention of heads that are `alike`, as rows of any queries."""

    def __init__(self, records: Sequence[AttentionRecord]) -> None:
        self._records = records
        self._products = _Products.of(records) if _is_one_softmax(records[0]) else None

    def of(self, queries: Int[Tensor, " queries"]) -> Rows:
        """Return rows of attention of every head, over all keys.

        Where they are softmaxes of logits z whose largest is 0, the rows are w = exp(z): nothing is
        divided by the sum, and no weight takes a logarithm, which is z.
        """
        if self._products is None:
            every = [terms.attention(record, queries) for record in self._records]
            return Rows(terms.stacked(every), None)
        logits = self._products.logits(queries)
        logits -= logits.amax(dim=2, keepdim=True)
        rows = logits.exp()
        return Rows(rows, logits.mul_(rows).sum(dim=2))


def alike(records: Sequence[AttentionRecord], values: int) -> Iterator[range]:
    """Yield which neighbors among some records are measured together, as numbers from 0 on.

    Alike are heads of one run of a block that differ in nothing but the numbers in their tensors,
    and in what queries see. There are as many in one go as have so many attention values between
    them, or one. Which go together depends on nothing that is beside their run, and so do the last
    digits of what comes of them.

    Args:
        records: In any order; heads of a block follow each other, as a rule.
        values: Attention values that memory should hold at a time.
    """
    start = 0
    for _, run in groupby(records, _kind):
        of_kind = list(run)
        first, count = of_kind[0], len(of_kind)
        at_once = max(1, values // max(1, first.query_axis.counting * len(first.key)))
        parts = -(-count // at_once)
        edges = [start + count * part // parts for part in range(parts + 1)]
        yield from (range(*both) for both in pairwise(edges))
        start += count


def _kind(record: AttentionRecord) -> tuple[Any, ...]:
    """Return what two heads have in common that are alike."""
    tensors = (record.query, record.key, record.unary, record.value, record.value_norm)
    return (
        (record.block, record.call),
        (record.form, record.coupling, record.whitened, record.reach is None),
        [x if x is None else (x.shape, x.dtype, x.device) for x in tensors],
        (record.query_axis, record.key_axis),
    )


def _is_one_softmax(record: AttentionRecord) -> bool:
    """Return whether rows are softmaxes of products over all keys."""
    return record.coupling in ("coupled", "pairwise") and record.reach is None


class _Products(NamedTuple):
    """What makes the logits of heads under one softmax: the pairwise and the unary ones."""

    query: Float[Tensor, "heads query_pos channels"]  # less their mean, scaled
    key: Float[Tensor, "heads key_pos channels"]  # less their mean
    unary: Float[Tensor, "heads 1 key_pos"]

    @classmethod
    def of(cls, records: Sequence[AttentionRecord]) -> "_Products":
        first = records[0]
        query = terms.stacked([record.query for record in records])
        key = terms.stacked([record.key for record in records])
        scale = query.new_tensor([record.scale for record in records])[:, None, None]
        mean = query[:, : terms.meant(first)].mean(dim=1, keepdim=True)
        key = key - key.mean(dim=1, keepdim=True)
        if first.coupling == "pairwise":
            unary = key.new_zeros(len(records), 1, key.shape[1])
        elif first.unary is None:
            unary = scale * mean @ key.mT
        else:
            unary = terms.stacked([_learned(record) for record in records])[:, None]
        return cls((query - mean).mul_(scale), key, unary)

    def logits(self, queries: Int[Tensor, " queries"]) -> Float[Tensor, "heads queries key_pos"]:
        """Return the logits of some queries, in a tensor of their own."""
        chosen = self.query.index_select(1, queries.to(self.query.device))
        return torch.baddbmm(self.unary.to(chosen), chosen, self.key.mT)


def _learned(record: AttentionRecord) -> Float[Tensor, " key_pos"]:
    assert record.unary is not None  # whoever asks has looked
    return record.unary
