"""The pairwise and the unary term of attention: the split, and how the parts make a map.

Logits are a matrix of numbers s_ij, and like any such matrix they have one two-way decomposition
(the analysis of variance of a two-way table without replication):

    s_ij = grand + row_i + unary_j + pairwise_ij

where `grand` is the mean over all i and j, `row_i` and `unary_j` are what the means over j and over
i add to it, and `pairwise_ij` is the rest: the interaction, whose every row and column sums to 0.
Means over j are over all keys, the tokens that are no places among them. Means over i are over the
queries that count: those that are places, or all where none is. The row of a query that does not
count, as a class token among patches, is split by the same means, and the split is as exact.
Where a logit is a dot product, s_ij = scale * query_i . key_j, this is

    unary_j     = scale * mean_query . (key_j - mean_key)
    pairwise_ij = scale * (query_i - mean_query) . (key_j - mean_key)

`pairwise` is the whitened dot product and `unary` the key-only term of Yin et al. 2020 (arXiv
2006.06668), up to a constant. `grand` and `row_i` cancel in a softmax over j, so that
softmax(s) = softmax(pairwise + unary), exactly.

| coupling     | whole attention of query i                    | its rows sum to    |
|--------------|-----------------------------------------------|--------------------|
| coupled      | softmax(pairwise + unary)                     | 1                  |
| disentangled | gain * softmax(pairwise) + softmax(unary)     | 1 + gain           |
| pairwise     | softmax(pairwise)                             | 1                  |
| unary        | softmax(unary)                                | 1                  |
| unnormalized | (grand + row + unary + pairwise) / keys       | anything, any sign |

Whether a block learns its unary logits m_j (`record.unary`) or they are derived from the mean query
as above is independent of that: a non-local block is coupled and derived, a disentangled one is
disentangled and learned. Blocks that learn them whiten their queries and keys, so that
`mean_query . key_j` has no part in their attention. In the disentangled coupling the gain is 1 but
in the code of the block's authors, which learns it; and where that code takes out less than the
mean of every channel (`record.whitened` is False), what it calls pairwise still holds the derived
unary logits, and so does the pairwise term here: pairwise_ij + scale * mean_query . (key_j -
mean_key), whose rows sum to 0 but whose columns do not.

In the unnormalized coupling nothing cancels (Wang et al. 2018, equations 4 and 5: C(x) = N). The
logit of the concatenation form is ReLU(query_i + key_j), whose row and column means take a sort and
a running sum, not the matrix.

Where queries do not look at all keys (`record.reach`), every softmax is over those that they look
at. If these are parts of the grid that attend to themselves, logits between two parts do not exist,
and every mean above is one over the part: the terms are those of each part by itself. If reaches
overlap, as a row and a column do, no such decomposition exists within them, and it is that of all
logits, seen by a softmax or not.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Literal, NamedTuple, TypeVar, get_args
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nonlocal_lens.analysis.forms import FORMS
from nonlocal_lens.analysis.record import AttentionRecord

Term = Literal["whole", "pairwise", "unary"]
TERMS: tuple[Term, ...] = get_args(Term)

Queries = Sequence[int] | Int[Tensor, " queries"]
"""Indices of queries, see `AttentionRecord.query_axis`: of a whole grid its flat positions."""


Result = TypeVar("Result")


def once_per_record(
    compute: Callable[[AttentionRecord], Result],
) -> Callable[[AttentionRecord], Result]:
    """Keep what is computed of a record as long as it lives: every chunk of queries asks again."""
    found: WeakKeyDictionary[AttentionRecord, Result] = WeakKeyDictionary()

    @wraps(compute)
    def kept(record: AttentionRecord) -> Result:
        if record not in found:
            found[record] = compute(record)
        return found[record]

    return kept


def whiten(x: Float[Tensor, "pos channels"]) -> Float[Tensor, "pos channels"]:
    """Subtract the mean over positions; the variance stays, as in the paper."""
    return x - x.mean(dim=0)


def logits(record: AttentionRecord, queries: Queries) -> Float[Tensor, "queries key_pos"]:
    """Return what the form makes of some queries and every key, nothing taken out, seen or not.

    Raises:
        ValueError: A query is not a position of the record's query grid.
    """
    query = record.query[positions(record, queries)]
    return FORMS[record.form].logits(query, record.key, record.scale)


def meant(record: AttentionRecord) -> int:
    """Return how many queries, the first ones, are those whose mean is taken out of queries.

    Those that count; where a block takes the mean out by itself, all that it has.
    """
    takes_it_out = record.coupling in ("disentangled", "pairwise") or record.unary is not None
    return len(record.query) if takes_it_out else record.query_axis.counting


def mean_query(record: AttentionRecord) -> Float[Tensor, " channels"]:
    """Return the mean of the queries that count."""
    return record.query[: meant(record)].mean(dim=0)


def pairwise_logits(record: AttentionRecord, queries: Queries) -> Float[Tensor, "queries key_pos"]:
    """Return the part of the logits that depends on query and key together.

    Each row sums to 0, and so does each column over the queries that count, unless the record is
    not `whitened`; where the grid has parts, within them. All 0 where the block has no pairwise
    term.

    Raises:
        ValueError: A query is not a position of the record's query grid.
    """
    index = positions(record, queries)
    if record.coupling == "unary":
        return record.key.new_zeros(len(index), record.key.shape[0])
    if (means := _mean_logits(record)) is not None:
        row, column = means
        mean = row[: meant(record)].mean()
        rest = logits(record, index).double() - row[index, None] - column + mean
        return rest.to(record.key.dtype)
    query = whitened_query(record) if record.whitened else record.query
    return record.scale * query[index] @ whitened_key(record).T


@once_per_record
def unary_logits(record: AttentionRecord) -> Float[Tensor, " key_pos"]:
    """Return the logits that all queries share: learned where the block has them, else derived.

    Derived ones have mean 0, in every part where the grid has parts; learned ones are the block's
    own, with whatever mean they have. All 0 where the block has no unary term.
    """
    if record.unary is not None:
        return record.unary
    if record.coupling == "pairwise":
        return record.key.new_zeros(record.key.shape[0])
    if (means := _mean_logits(record)) is not None:
        _, column = means
        return (column - column.mean()).to(record.key.dtype)
    return derived_unary_logits(record)


def derived_unary_logits(record: AttentionRecord) -> Float[Tensor, " key_pos"]:
    """Return what dot products with the mean query make of whitened keys."""
    if record.parts is None:
        return record.scale * (whitened_key(record) @ mean_query(record))
    means = _mean_query_by_part(record)
    of_keys: Tensor = torch.linalg.vecdot(whitened_key(record), means[record.parts.of_keys])
    return record.scale * of_keys


def unary_map(record: AttentionRecord) -> Float[Tensor, " key_pos"]:
    """Return the weight that the unary term gives to every key, for whoever looks at it.

    It sums to 1 over all keys or, where the grid has parts, over every one of them.
    """
    unary = unary_logits(record)
    if record.parts is None:
        return _weights(record, unary)
    weights = torch.empty_like(unary)
    for part in range(record.parts.number):
        keys = record.parts.of_keys == part
        weights[keys] = unary[keys].softmax(dim=0)
    return weights


def row_logits(record: AttentionRecord, queries: Queries) -> Float[Tensor, " queries"]:
    """Return the part of the logits that depends on the query alone: what its row's mean adds.

    It has mean 0 over the queries that count, cancels in every softmax, and matters in the
    unnormalized coupling only.

    Raises:
        ValueError: A query is not a position of the record's query grid.
    """
    index = positions(record, queries)
    if (means := _mean_logits(record)) is not None:
        row, _ = means
        return (row - row[: meant(record)].mean())[index].to(record.query.dtype)
    return record.scale * (record.query[index] - mean_query(record)) @ record.key.mean(dim=0)


def grand_logit(record: AttentionRecord) -> Float[Tensor, ""]:
    """Return the mean of all logits; like `row_logits`, it cancels in every softmax.

    It has no meaning where queries do not look at all keys, and `row_logits` has none either.
    """
    if (means := _mean_logits(record)) is not None:
        row, _ = means
        return row[: meant(record)].mean().to(record.query.dtype)
    return record.scale * mean_query(record) @ record.key.mean(dim=0)


def attention(
    record: AttentionRecord, queries: Queries, term: Term = "whole"
) -> Float[Tensor, "queries key_pos"]:
    """Return rows of attention: of the block as a whole, or of one term alone.

    Values are weights. Where the coupling has a softmax they are at least 0, and times the number
    of keys they are multiples of uniform attention; a term's rows are its own softmax and sum to 1,
    those of a term that the block does not have are uniform. In the unnormalized coupling weights
    have any sign, and times the number of keys they are logits, of the whole or of the term.

    Rows of the whole sum to `record.row_sum`. The rows of the unary term are all the same, but for
    the keys that a query looks at where it does not look at all. With a negative gain, weights of
    the whole may be below 0.

    Raises:
        ValueError: A query is not a position of the record's query grid, or the term is unknown.
    """
    if term not in TERMS:
        raise ValueError(f"unknown term {term!r}; available: {', '.join(TERMS)}")
    index = positions(record, queries)
    unary = unary_logits(record)
    unseen = None if record.reach is None else ~record.reach.sees(index)
    if term == "unary":
        return _weights(record, unary, unseen).expand(len(index), -1)
    if term == "whole" and record.signed:
        return _weights(record, logits(record, index))  # whose reach is always everything
    pairwise = pairwise_logits(record, index)
    if term == "pairwise":
        return _weights(record, pairwise, unseen)
    if record.coupling == "disentangled":
        weights, shared = (_weights(record, one, unseen) for one in (pairwise, unary))
        return torch.add(shared, weights, alpha=record.pairwise_gain, out=weights)
    # in couplings of one term, the other is 0
    return _weights(record, pairwise.add_(unary), unseen)


class HeadRows(NamedTuple):
    """Rows of several heads: what goes into their softmax, nothing taken out, and what comes."""

    logits: Float[Tensor, "heads queries key_pos"]
    attention: Float[Tensor, "heads queries key_pos"]


def rows_of_heads(records: Sequence[AttentionRecord], queries: Queries) -> HeadRows:
    """Return what `logits` and `attention` give of the same queries of several heads.

    All are computed in one go where nothing but numbers tells one from another: then the keys' mean
    is taken out of their products instead of out of every key.

    Raises:
        ValueError: A query is not a position of the records' query grid.
    """
    first = records[0]
    index = positions(first, queries)
    if not _differ_in_numbers_alone(records):
        return HeadRows(
            torch.stack([logits(record, index) for record in records]),
            torch.stack([attention(record, index) for record in records]),
        )
    query, key = stacked([one.query for one in records]), stacked([one.key for one in records])
    scale = query.new_tensor([one.scale for one in records])[:, None, None]
    mean_key = key.mean(dim=1, keepdim=True).mT
    mean = scale * query[:, : meant(first)].mean(dim=1, keepdim=True)
    chosen = scale * query[:, index]
    sides = torch.cat((chosen - mean, mean), dim=1)
    parts = sides @ key.mT
    parts -= sides @ mean_key
    pairwise, unary = parts[:, :-1], parts[:, -1:]
    split = pairwise + unary
    weights = (pairwise if first.coupling == "pairwise" else split).softmax(dim=-1)
    return HeadRows(split.add_(chosen @ mean_key), weights)


def _differ_in_numbers_alone(records: Sequence[AttentionRecord]) -> bool:
    """Return whether records are of products of all queries and keys under one softmax."""
    kinds = {(one.coupling, one.query.shape, one.key.shape) for one in records}
    return (
        len(records) > 1
        and len(kinds) == 1
        and records[0].coupling in ("coupled", "pairwise")
        and all(
            one.reach is None
            and one.unary is None
            and FORMS[one.form].means is None
            and one.query_axis is records[0].query_axis
            for one in records
        )
    )


def stacked(tensors: Sequence[Tensor]) -> Tensor:
    """Return tensors of one shape along a new first side; without a copy where they lie so."""
    first, *others = tensors
    if not others:
        return first[None]
    start, step = first.storage_offset(), others[0].storage_offset() - first.storage_offset()
    memory, form = first.untyped_storage()._cdata, (first.shape, first.stride())
    if step <= 0:
        return torch.stack(list(tensors))
    for at, one in enumerate(others, start=1):
        if (
            one.storage_offset() != start + step * at
            or (one.shape, one.stride()) != form
            or one.untyped_storage()._cdata != memory
            or one.dtype != first.dtype
        ):
            return torch.stack(list(tensors))
    return first.as_strided((len(tensors), *first.shape), (step, *first.stride()))


def positions(record: AttentionRecord, queries: Queries) -> Int[Tensor, " queries"]:
    """Return flat query positions as a tensor of indices; ValueError if one is not on the grid."""
    index = torch.as_tensor(queries, dtype=torch.long)
    count = len(record.query)
    if index.numel() and not 0 <= int(index.amin()) <= int(index.amax()) < count:
        outside = index[(index < 0) | (index >= count)]
        raise ValueError(f"queries must be positions in [0, {count}), got {outside[0].item()}")
    return index


@once_per_record
def whitened_query(record: AttentionRecord) -> Float[Tensor, "query_pos channels"]:
    """Return the queries without the mean of those that count, or of those in their part."""
    if record.parts is None:
        return record.query - mean_query(record)
    return record.query - _mean_query_by_part(record)[record.parts.of_queries]


@once_per_record
def whitened_key(record: AttentionRecord) -> Float[Tensor, "key_pos channels"]:
    """Return the keys without their mean, or that of their part."""
    if record.parts is None:
        return whiten(record.key)
    part = record.parts.of_keys
    return record.key - _mean_by_part(record.key, part, record.parts.number)[part]


def _mean_query_by_part(record: AttentionRecord) -> Float[Tensor, "parts channels"]:
    """Return the mean of the queries that count in every part; of all where none of it counts."""
    assert record.parts is not None
    part, number = record.parts.of_queries, record.parts.number
    count = meant(record)
    means = _mean_by_part(record.query[:count], part[:count], number)
    if count < len(part):
        uncounted = part[:count].bincount(minlength=number) == 0
        means[uncounted] = _mean_by_part(record.query, part, number)[uncounted]
    return means


def _mean_by_part(
    x: Float[Tensor, "pos channels"], part: Int[Tensor, " pos"], parts: int
) -> Float[Tensor, "parts channels"]:
    """Return the mean over the positions of every part; 0 where it has none."""
    count = part.bincount(minlength=parts).clamp_min(1).to(x)[:, None]
    return x.new_zeros(parts, x.shape[1]).index_add_(0, part, x) / count


def _weights(
    record: AttentionRecord,
    logits: Float[Tensor, "..."],
    unseen: Bool[Tensor, "queries key_pos"] | None = None,
) -> Float[Tensor, "..."]:
    """Return what the coupling makes of logits, row by row."""
    if record.signed:
        return logits / record.key.shape[0]
    if unseen is not None:
        logits = logits.masked_fill(unseen, -torch.inf)
    return logits.softmax(dim=-1)


@once_per_record
def _mean_logits(
    record: AttentionRecord,
) -> tuple[Float[Tensor, " query_pos"], Float[Tensor, " key_pos"]] | None:
    """Return the row and the column means of logits that are no products; None where they are.

    Columns are over the queries that count.
    """
    means = FORMS[record.form].means
    if means is None:
        return None
    rows, columns = means(record.query, record.key)
    if meant(record) < len(record.query):
        _, columns = means(record.query[: meant(record)], record.key)
    return rows, columns
