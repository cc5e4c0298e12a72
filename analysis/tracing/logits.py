"""What goes into a softmax, as queries, keys and what each may see: the channels of a record.

Given is a sum of products (`analysis.tracing.labelled`) and the side that is normalized. Indices of
that side are keys; those that only the other operand of the matrix product has are queries; all
others count groups: pictures of a batch, windows, heads. Of every term, what has no key in it is
one side of its channels and what has keys is the other; a matrix that has both is parted into
channels where its rank is low. A term without keys is the same for all of them and cancels.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from math import prod

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nonlocal_lens.analysis.tracing import low_rank, masks
from nonlocal_lens.analysis.tracing.labelled import (
    Factor,
    Index,
    Side,
    Sum,
    Term,
    UnfollowedError,
    flat,
    leaves,
)
from nonlocal_lens.analysis.tracing.sources import NOTHING, PADDING, SPREAD

HIDDEN = -1000.0  # a bias below this hides a key
ALMOST_HIDDEN = -50.0  # and so does one below this, if others lie as far above it

Lookup = Callable[[Tensor], Tensor | None]
"""Tensor -> a label for each of its entries, of the same shape: where they came from."""


@dataclass(frozen=True, eq=False)
class Logits:
    """Queries and keys of every group, whose scaled products are logits up to a number per query.

    Where `is_vector`, no query takes part: the one channel of the keys is all there is. Labels say
    where tokens came from, (groups, queries) and (groups, keys), None where nobody told.
    """

    groups: Side
    rows: Side
    columns: Side
    query: Float[Tensor, "groups queries channels"]
    key: Float[Tensor, "groups keys channels"]
    scale: float = 1.0
    is_vector: bool = False
    precision: torch.dtype = torch.float32  # the coarsest that the network computed them in
    seen: masks.Labels | None = None
    query_from: Int[Tensor, "groups queries"] | None = None
    key_from: Int[Tensor, "groups keys"] | None = None

    # of every group, each taken out once: there may be hundreds
    @cached_property
    def queries(self) -> tuple[Float[Tensor, "queries channels"], ...]:
        """The queries of every group."""
        return self.query.unbind()

    @cached_property
    def keys(self) -> tuple[Float[Tensor, "keys channels"], ...]:
        """The keys of every group."""
        return self.key.unbind()

    @cached_property
    def queries_from(self) -> tuple[Int[Tensor, " queries"], ...] | None:
        """Where the queries of every group came from."""
        return None if self.query_from is None else self.query_from.unbind()

    @cached_property
    def keys_from(self) -> tuple[Int[Tensor, " keys"], ...] | None:
        """Where the keys of every group came from."""
        return None if self.key_from is None else self.key_from.unbind()

    @cached_property
    def tokens(self) -> list[tuple[bytes, ...]]:
        """What tells of every group whether others have the same tokens; none if nobody knows."""
        sides = [x.numpy() for x in (self.query_from, self.key_from) if x is not None]
        return [tuple(row.tobytes() for row in rows) for rows in zip(*sides, strict=True)]

    def of(self, rows: Int[Tensor, " probes"]) -> Float[Tensor, "groups probes keys"]:
        """Return the logits of some queries in double precision, -inf for keys that are unseen."""
        logits = self.scale * self.query[:, rows].double() @ self.key.double().mT
        if self.seen is None:
            return logits
        query, key = self.seen
        seen = (query[:, rows, None] == key[:, None]).any(dim=-1)
        return logits.masked_fill(~seen, -torch.inf)


def logits_of(x: Sum, side: int, lookup: Lookup | None = None, heads: Side = ()) -> Logits:
    """Return the queries and keys of a tensor that is normalized along one side.

    Args:
        x: The tensor.
        side: The side that is normalized.
        lookup: Tells where the entries of a tensor came from.
        heads: Indices that count heads though keys do not have them: several heads share keys.

    Raises:
        UnfollowedError: It is no such tensor, or its queries and keys have no few channels.
    """
    columns = leaves(x.sides[side])
    products = [term for term in x.terms if term.is_product]
    if not products:
        return _vector(x, columns, lookup)
    out = flat(x.sides)
    # the one of all keys, not one of relative rows
    products.sort(key=lambda term: _tokens(term, columns), reverse=True)
    query, key = _operands(products[0], columns)
    in_key = set(key.indices)
    heads = leaves(heads) + _heads_of(query, in_key, lookup)
    rows = tuple(i for i in out if i in query.indices and i not in {*in_key, *columns, *heads})
    groups = tuple(i for i in out if i not in rows and i not in columns)
    sides = groups, rows, columns
    seen = _Mask(sides)
    for mask in x.masks:
        seen.hide(arranged(mask, out).bool())
    number = products[0].number * products[0].told
    if number == 0:
        raise UnfollowedError("the product of queries and keys is multiplied by 0")
    parts = [part for term in x.terms if (part := _channels(term, sides, number, seen))]
    return Logits(
        groups,
        rows,
        columns,
        query=torch.cat([q for q, _ in parts], dim=2),
        key=torch.cat([k for _, k in parts], dim=2),
        scale=number,
        precision=_coarsest(x),
        seen=seen.labels(),
        query_from=_places(query, groups, rows, lookup),
        key_from=_places(key, groups, columns, lookup),
    )


def _vector(x: Sum, columns: Side, lookup: Lookup | None) -> Logits:
    """Return logits that are no product: keys of one channel, where there is one query only."""
    groups = tuple(i for i in flat(x.sides) if i not in columns)
    total: Tensor | None = None
    if x.masks:
        raise UnfollowedError("the logits are no product of queries and keys, and masked")
    for term in x.terms:
        value = term.number * _einsum(term.factors, (*groups, *columns))
        total = value if total is None else total + value
    assert total is not None  # a sum has terms
    sizes = [prod(i.size for i in side) for side in (groups, columns)]
    of_keys = [f for term in x.terms for f in term.factors if set(f.indices) >= set(columns)]
    key = _single(total).reshape(sizes[0], sizes[1], 1)
    return Logits(
        groups,
        (),
        columns,
        torch.ones_like(key[:, :1]),
        key,
        is_vector=True,
        precision=_coarsest(x),
        key_from=_places(of_keys[0], groups, columns, lookup) if of_keys else None,
    )


def _coarsest(x: Sum) -> torch.dtype:
    """Return the type with the fewest digits of all that is multiplied or added."""
    types = [f.tensor.dtype for term in x.terms for f in term.factors]
    coarsest: torch.dtype = max(
        (t for t in types if t.is_floating_point), key=lambda t: torch.finfo(t).eps
    )
    return coarsest


def _operands(term: Term, columns: Side) -> tuple[Factor, Factor]:
    """Return the operand of a product that has the queries, and that which has the keys."""
    left, right = term.factors[:2]
    in_left, in_right = (set(columns) & set(f.indices) for f in (left, right))
    if in_left and in_right:
        raise UnfollowedError("its softmax runs over an axis that queries and keys share")
    if columns and not in_left and not in_right:
        raise UnfollowedError("its softmax runs over heads, not over keys")
    return (right, left) if in_left else (left, right)


def _heads_of(query: Factor, in_key: set[Index], lookup: Lookup | None) -> Side:
    """Return indices of queries along which these are of the same tokens: heads that share keys."""
    labels = None if lookup is None else _labels(query, lookup)
    if labels is None or labels.ndim < 3:
        return ()
    own = [(n, i) for n, i in enumerate(query.indices) if i not in in_key]
    for side in range(labels.ndim):  # most sides are written once, and seen again and again
        if labels.stride(side) == 0 and labels.shape[side] > 1:
            labels = labels.narrow(side, 0, 1)
    same = [i for n, i in own if bool((labels == labels.narrow(n, 0, 1)).all())]
    return tuple(same) if len(same) < len(own) else ()


def _tokens(term: Term, columns: Side) -> tuple[int, int]:
    """Return how many keys a product tells apart, and how many other tokens."""
    left, right = (set(f.indices) for f in term.factors[:2])
    one_sided = left ^ right
    keys = prod(i.size for i in one_sided & set(columns))
    return keys, prod(i.size for i in one_sided) // keys


class _Mask:
    """What is hidden, of every query and key; held only while the channels are made."""

    def __init__(self, sides: tuple[Side, Side, Side]) -> None:
        self.sides = sides
        self.hidden: Tensor | None = None

    def hide(self, hidden: Bool[Tensor, "..."]) -> None:
        """Hide more: a side for each index of groups, rows and columns, maybe of length 1."""
        if bool(hidden.any()):
            self.hidden = hidden if self.hidden is None else self.hidden | hidden

    def labels(self) -> masks.Labels | None:
        """Return labels for what is not hidden: for all groups, or a single one if all agree."""
        if self.hidden is None:
            return None
        groups, rows, columns = self.sides
        hidden = self.hidden
        one_group = hidden.shape[: len(groups)].numel() == 1
        shape = [1] * len(groups) if one_group else [i.size for i in groups]
        hidden = hidden.expand(*shape, *(i.size for i in (*rows, *columns)))
        hidden = hidden.reshape(prod(shape), prod(i.size for i in rows), -1)
        if len(hidden) > 1 and bool((hidden == hidden[:1]).all()):
            hidden = hidden[:1]
        try:
            return masks.labels(~hidden)
        except masks.NoLabelsError as error:
            raise UnfollowedError(str(error)) from error


def _channels(
    term: Term, sides: tuple[Side, Side, Side], number: float, seen: _Mask
) -> tuple[Tensor, Tensor] | None:
    """Return queries and keys whose product is a term, over `number`; None if it cancels."""
    groups, rows, columns = sides
    of_keys = [f for f in term.factors if set(f.indices) & set(columns)]
    others = [f for f in term.factors if f not in of_keys]
    if not of_keys:
        return None
    weight = term.number / number
    if any(set(f.indices) & set(rows) for f in of_keys):
        matrix = _einsum(term.factors, (*groups, *rows, *columns), expand=False)
        parted = _parted(matrix, sides, seen, hides=len(term.factors) == 1)
        if parted is None:
            return None
        left, right = parted
        return _whole(left * weight, groups, rows, 1), _whole(right, groups, columns, 1)
    if len(term.factors) == 1:
        seen_columns = _hidden_in(arranged(of_keys[0], (*groups, *rows, *columns)))
        if seen_columns is not None:
            seen.hide(seen_columns)
            of_keys = [replace(of_keys[0], tensor=_without_hidden(of_keys[0].tensor))]
        if not bool(of_keys[0].tensor.any()):
            return None
    left_has = {i for f in others for i in f.indices}
    right_has = {i for f in of_keys for i in f.indices}
    inner = tuple(i for i in _ordered(term) if i in left_has and i in right_has and i not in groups)
    inner = tuple(i for i in inner if i not in rows and i not in columns)
    right = _einsum(of_keys, (*groups, *columns, *inner), expand=False)
    if others:
        left = _einsum(others, (*groups, *rows, *inner), expand=False)
    else:
        left = right.new_ones([1] * len((*groups, *rows, *inner)))
    if not inner:
        left, right = left.unsqueeze(-1), right.unsqueeze(-1)
    n = max(len(inner), 1)
    return _whole(left * weight if weight != 1 else left, groups, rows, n), _whole(
        right, groups, columns, n
    )


def _whole(x: Tensor, groups: Side, tokens: Side, channels: int) -> Tensor:
    """Return (groups, tokens, channels), expanded where x has the length 1."""
    inner = x.shape[x.ndim - channels :]
    x = x.expand(*(i.size for i in (*groups, *tokens)), *inner)
    return x.reshape(prod(i.size for i in groups), prod(i.size for i in tokens), inner.numel())


def _parted(
    matrix: Tensor, sides: tuple[Side, Side, Side], seen: _Mask, hides: bool
) -> tuple[Tensor, Tensor] | None:
    """Return a bias of queries and keys as channels of both, (*groups, *tokens, channels).

    None if it is 0, but for what it hides. Where it is the same for all rows or columns of keys, as
    a bias for relative rows and one for relative columns are, only the others are looked at.
    """
    groups, rows, _ = sides
    hidden = _hidden_in(matrix) if hides else None
    if hidden is not None:
        seen.hide(hidden)
        matrix = _without_hidden(matrix)
    if not bool(matrix.any()):
        return None
    at, end = len(groups), len(groups) + len(rows)
    shape = matrix.shape
    flat_matrix = matrix.reshape(shape[:at].numel(), shape[at:end].numel(), shape[end:].numel())
    if len(flat_matrix) > 1 and bool((flat_matrix == flat_matrix[:1]).all()):
        flat_matrix, shape = flat_matrix[:1], torch.Size([*[1] * at, *shape[at:]])
    try:
        left, right = low_rank.factors(flat_matrix)
    except low_rank.FullRankError as error:
        raise UnfollowedError(str(error)) from error
    return (
        left.reshape(*shape[:end], -1),
        right.mT.reshape(*shape[:at], *shape[end:], left.shape[2]),
    )


def _hidden_in(bias: Tensor) -> Tensor | None:
    """Return where a bias hides keys; None if it hides none."""
    if not bias.is_floating_point():
        return None
    lowest = bias.amin()
    if lowest > ALMOST_HIDDEN:
        return None
    if lowest <= HIDDEN:
        return bias <= HIDDEN
    hidden = bias <= ALMOST_HIDDEN
    if bool(hidden.all()) or bias[~hidden].amin() - bias[hidden].amax() < -ALMOST_HIDDEN:
        return None
    return hidden


def _without_hidden(bias: Tensor) -> Tensor:
    """Return a bias with nothing hidden: masks of -100 are taken off, others had no bias below."""
    hidden = _hidden_in(bias)
    if hidden is None:
        return bias
    rest = (bias + 100) * (bias > HIDDEN)
    return torch.where(hidden, rest.nan_to_num(), bias)


def arranged(factor: Factor, order: Sequence[Index]) -> Tensor:
    """Return a tensor with a side for every index in this order, of length 1 if it has it not.

    Raises:
        UnfollowedError: It has another index.
    """
    indices = factor.indices
    if not set(indices) <= set(order):
        raise UnfollowedError("a bias or a mask has sides that its logits do not have")
    tensor: Tensor = factor.tensor.reshape([i.size for i in indices])
    at = {index: n for n, index in enumerate(indices)}
    tensor = tensor.permute([at[i] for i in order if i in at])
    return tensor.reshape([i.size if i in at else 1 for i in order])


def _einsum(factors: Sequence[Factor], out: Sequence[Index], expand: bool = True) -> Tensor:
    """Return the product of tensors summed over all indices but some; in single precision."""
    number = {i: n for n, i in enumerate(dict.fromkeys(i for f in factors for i in f.indices))}
    if len(factors) == 1 and set(number) <= set(out):
        tensor = _single(arranged(factors[0], out))
    else:
        operands: list[object] = []
        for factor in factors:
            tensor = _single(factor.tensor).reshape([i.size for i in factor.indices])
            operands += [tensor, [number[i] for i in factor.indices]]
        tensor = torch.einsum(*operands, [number[i] for i in out if i in number])
        tensor = tensor.reshape([i.size if i in number else 1 for i in out])
    return tensor.expand([i.size for i in out]) if expand else tensor


def _single(x: Tensor) -> Tensor:
    return x.to(torch.promote_types(x.dtype, torch.float32))


def _ordered(term: Term) -> Side:
    return tuple(dict.fromkeys(i for factor in term.factors for i in factor.indices))


def _labels(factor: Factor, lookup: Lookup) -> Tensor | None:
    """Return where the entries of a factor came from, one number each."""
    labels = lookup(factor.tensor if factor.part_of is None else factor.part_of)
    if labels is None:
        return None
    for side, start, length in factor.taken:
        labels = labels.narrow(side, start, length)
    return labels.reshape([i.size for i in factor.indices])


def _places(factor: Factor, groups: Side, tokens: Side, lookup: Lookup | None) -> Tensor | None:
    """Return where the tokens of every group came from, if it is one place for all channels."""
    labels = None if lookup is None else _labels(factor, lookup)
    if labels is None:
        return None
    order = (*groups, *tokens)
    inner = [n for n, i in enumerate(factor.indices) if i not in order]
    for side in reversed(inner):
        if labels.stride(side) == 0:  # as most are: nobody wrote a number for every channel
            labels = labels.select(side, 0)
            continue
        known = (labels != NOTHING) & (labels != PADDING)
        one = labels.masked_fill(~known, -(1 << 60)).amax(dim=side)
        spread = (known & (labels != one.unsqueeze(side))).any(dim=side)
        one = torch.where(known.any(dim=side), one, labels.select(side, 0))
        labels = one.masked_fill(spread, SPREAD)
    kept = Factor(labels, tuple((i,) for i in factor.indices if i in order))
    labels = arranged(kept, order).expand([i.size for i in order])
    return labels.reshape(prod(i.size for i in groups), -1)
