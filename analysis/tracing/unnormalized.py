"""Attention without a softmax: products of queries and keys that weight values as they are.

Such a product is associative, and networks use it: query @ (key' @ value) costs less where there
are more tokens than channels. Which tensor is which, the tokens tell: in a product of queries and
keys both sides are tokens, in one of keys and values both are channels.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nonlocal_lens.analysis.tracing.labelled import (
    Factor,
    Index,
    Side,
    Sum,
    Term,
    UnfollowedError,
    flat,
    leaves,
    new_sides,
)
from nonlocal_lens.analysis.tracing.logits import Logits, Lookup, arranged, logits_of


class Weighted(NamedTuple):
    """Values that are weighted with products, in one of the two orders."""

    logits: Logits
    weights: Sum
    value: Factor
    product: Tensor | None  # the weights, if the network computed them by themselves


def weighted(
    known: Sum, tensor: Tensor, other: Tensor, *, known_is_left: bool, lookup: Lookup | None
) -> Weighted | None:
    """Return queries and keys of a product that is multiplied with another tensor.

    Args:
        known: What the product is.
        tensor: The product.
        other: What it is multiplied with, of as many dimensions.
        known_is_left: Whether it is the left operand.
        lookup: Tells where tokens came from. Without it, the longer sides are taken for tokens.
    """
    terms = [term for term in known.terms if term.is_product]
    if len(known.terms) != 1 or not terms or known.masks or len(terms[0].factors) != 2:
        return None
    for weights, value, product in (
        (known, _as_value(known, other, known_is_left), tensor),
        (*_reassociated(known, other, known_is_left), None),
    ):
        side = -1 if product is None or known_is_left else -2
        try:
            logits = logits_of(weights, side, lookup)
        except UnfollowedError:
            continue
        if _attends(logits, known, lookup, product is not None):
            return Weighted(logits, weights, value, product)
    return None


def _as_value(known: Sum, other: Tensor, known_is_left: bool) -> Factor:
    """Return the other operand as values of the product's keys."""
    sides = list(new_sides(other.shape))
    sides[-2 if known_is_left else -1] = known.sides[-1 if known_is_left else -2]
    if other.ndim == 3:
        sides[0] = known.sides[0]
    return Factor(other, tuple(sides))


def _reassociated(known: Sum, other: Tensor, known_is_left: bool) -> tuple[Sum, Factor]:
    """Return the product of the other operand with the nearer factor, and the farther one."""
    term = known.terms[0]
    contracted = known.sides[-1 if known_is_left else -2]
    near, far = sorted(
        term.factors, key=lambda f: bool(set(f.indices) & set(leaves(contracted))), reverse=True
    )
    out = set(flat(known.sides))
    inner: Side = tuple(i for i in near.indices if i not in out and i in far.indices)
    count = other.shape[-1 if known_is_left else -2]
    rows: Side = (Index(count),) if count != 1 else ()
    sides = (contracted, rows) if known_is_left else (rows, contracted)
    batch = known.sides[:1] if other.ndim == 3 else ()
    query = Factor(other, (*batch, *sides))
    weights = Term(term.number, (query, near), is_product=True)
    return Sum((*known.sides[:-2], rows, inner), (weights,)), far


def _attends(logits: Logits, known: Sum, lookup: Lookup | None, as_it_is: bool) -> bool:
    """Return whether both sides of a product are tokens."""
    if lookup is None:
        channels = logits.query.shape[2]
        return (logits.query.shape[1] > channels) and (logits.key.shape[1] > channels)
    return all(
        side is not None and bool((side[0] != -1).all()) and len(side[0].unique()) == len(side[0])
        for side in (logits.query_from, logits.key_from)
    )


def rows(
    found: Weighted, probes: Int[Tensor, " probes"], out: Tensor, *, known_is_left: bool
) -> tuple[Float[Tensor, "groups probes keys"], float]:
    """Return a few rows of weights, and how far what they lead to is from the output, relative."""
    logits = found.logits
    groups, queries, keys = (leaves(s) for s in (logits.groups, logits.rows, logits.columns))
    if found.product is not None:
        weights = arranged(Factor(found.product, found.weights.sides), (*groups, *queries, *keys))
        weights = weights.expand([i.size for i in (*groups, *queries, *keys)])
        weights = weights.reshape(logits.query.shape[0], logits.query.shape[1], -1)[:, probes]
        return weights.clone(), 0.0
    term = found.weights.terms[0]
    inner = tuple(
        i for i in term.factors[0].indices if i in term.factors[1].indices and i not in groups
    )
    query = arranged(term.factors[0], (*groups, *queries, *inner)).double()
    key = arranged(term.factors[1], (*groups, *inner, *keys)).double()
    query = query.flatten(len(groups) + len(queries)) if inner else query.unsqueeze(-1)
    query = query.reshape(logits.query.shape[0], logits.query.shape[1], -1)[:, probes]
    key = key.reshape(logits.query.shape[0], -1, logits.key.shape[1])
    weights = term.number * query @ key
    value = value_of(found).double()
    own = out.mT if known_is_left else out
    own = own.reshape(len(key), -1, value.shape[2])[:, probes].double()
    most = (weights.abs() @ value.abs()).amax(dim=-1, keepdim=True).clamp_min(1e-30)
    return weights, float(((weights @ value - own).abs() / most).max())


def value_of(found: Weighted) -> Float[Tensor, "groups keys channels"]:
    """Return the values of every group."""
    groups, keys = leaves(found.logits.groups), leaves(found.logits.columns)
    rest = tuple(i for i in found.value.indices if i not in (*groups, *keys))
    value = arranged(found.value, (*groups, *keys, *rest))
    value = value.expand([i.size for i in (*groups, *keys, *rest)])
    return value.reshape(*found.logits.key.shape[:2], -1)


def is_mean(number: float, keys: int) -> bool:
    """Return whether a number divides by the number of keys."""
    return bool(torch.isclose(torch.tensor(number * keys), torch.tensor(1.0), rtol=1e-5))
