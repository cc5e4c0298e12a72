"""What values are weighted with: softmaxes, the sums that they are part of, and what they meet."""

from dataclasses import dataclass, replace
from functools import cached_property
from math import prod
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nonlocal_lens.analysis.tracing.labelled import (
    Factor,
    Side,
    Sides,
    Sum,
    Term,
    UnfollowedError,
    flat,
    leaves,
)
from nonlocal_lens.analysis.tracing.logits import Logits, arranged
from nonlocal_lens.analysis.tracing.squares import Squares


@dataclass(frozen=True, eq=False)
class Softmax:
    """Weights that a network computed: what they were made of, and a few rows of them as proof."""

    logits: Logits
    probes: Int[Tensor, " probes"]
    own: Float[Tensor, "groups probes keys"]
    dtype: torch.dtype  # the one the network computed in
    fused: str = ""  # the operation, if the network did not compute the weights by themselves
    normalized: bool = True  # False where products weight the values as they are
    error: float = 0.0  # of the output that `own` leads to, where it is fused; relative
    number: int = 0  # which of the operations that may weight values it is, in order

    @property
    def sides(self) -> Sides:
        """The indices that count groups, queries and keys."""
        return self.logits.groups, self.logits.rows, self.logits.columns

    @cached_property
    def rows(self) -> tuple[Float[Tensor, "probes keys"], ...]:
        """The rows that were kept, of every group."""
        return self.own.unbind()

    @cached_property
    def kept(self) -> "Softmax":
        """The same on the processor, and in single precision at least."""
        logits = self.logits
        query_from, key_from, seen = logits.query_from, logits.key_from, logits.seen
        moved = replace(
            logits,
            query=on_processor(logits.query),
            key=on_processor(logits.key),
            seen=None if seen is None else (seen[0].cpu(), seen[1].cpu()),
            query_from=None if query_from is None else query_from.cpu(),
            key_from=None if key_from is None else key_from.cpu(),
        )
        return replace(self, logits=moved, own=on_processor(self.own), probes=self.probes.cpu())


def on_processor(x: Tensor) -> Tensor:
    """Return a tensor on the processor, in single precision at least."""
    return x.detach().to("cpu", torch.promote_types(x.dtype, torch.float32))


class Part(NamedTuple):
    """One softmax of those whose weights are summed, and the number that it is multiplied by."""

    number: float
    softmax: Softmax
    mixed: bool = False  # whether its heads are mixed with others before they meet the values


@dataclass(eq=False)
class Attended:
    """What one aggregation of values was weighted with, and where in the network."""

    module: str
    call: int  # how often the module had run before
    depth: int  # how many aggregations, one after another, went into it
    parts: tuple[Part, ...]
    value: Float[Tensor, "groups keys channels"] | None = None  # None if its way out is not known
    value_scale: float = 1.0  # of what the weights are for, over what they were multiplied with


@dataclass(frozen=True, eq=False)
class Aggregate:
    """Values that were just weighted, while the tensor lives."""

    attended: Attended
    groups: Side
    columns: Side
    value: Factor

    def values(
        self, weight: Factor | None = None, squares: Squares | None = None
    ) -> Float[Tensor, "groups keys channels"] | None:
        """Return every value, or what a layer makes of it; None if it mixes others.

        What a layer makes of values is turned, so that it takes no more channels than they have:
        all lengths and angles are what they are.

        Args:
            weight: Of the layer.
            squares: Knows layers from the network's last run.
        """
        groups, columns = leaves(self.groups), leaves(self.columns)
        inner = tuple(i for i in self.value.indices if i not in (*groups, *columns))
        order = (*groups, *columns, *inner)
        value = arranged(self.value, order).float()
        sizes, keys = [i.size for i in groups], prod(i.size for i in columns)
        value = value.expand([i.size for i in order]).reshape(prod(sizes), keys, -1)
        if weight is None:
            return value
        outer = tuple(i for i in weight.indices if i not in order)
        if not set(inner) <= set(weight.indices) or set(columns) & set(weight.indices):
            return None
        matrix = arranged(weight, (*groups, *inner, *outer))
        of_groups, channels = matrix.shape[: len(groups)], value.shape[2]
        matrix = matrix.reshape(of_groups.numel(), channels, -1)
        root = (squares or Squares()).of(matrix)
        root = root.reshape(*of_groups, channels, -1).expand(*sizes, channels, -1)
        return value @ root.reshape(-1, *root.shape[-2:]).to(value)


class Refused(NamedTuple):
    """Something that looks like attention and cannot be read, and why."""

    module: str
    call: int
    why: str


class Lost(NamedTuple):
    """What came of a product of tokens and is not followed any more."""

    why: str
    normalized: bool = False


def softmaxes(x: Sum) -> list[Softmax]:
    """Return the softmaxes in a sum."""
    return [f.tensor for t in x.terms for f in t.factors if isinstance(f.tensor, Softmax)]


def is_aggregate(x: Sum) -> bool:
    """Return whether a sum is of values that were weighted."""
    return any(isinstance(f.tensor, Aggregate) for t in x.terms for f in t.factors)


def meets_values(x: Sum) -> bool:
    """Return whether weights of a softmax are summed over tokens that values have, too."""
    out = set(flat(x.sides))
    for term in x.terms:
        for factor in term.factors:
            if isinstance(factor.tensor, Softmax):
                tokens = {*leaves(factor.sides[1]), *leaves(factor.sides[2])}
                rest = [f for f in term.factors if f is not factor]
                if any(tokens & set(f.indices) - out for f in rest):
                    return True
    return False


def part_and_value(term: Term, sides: Sides) -> tuple[Part, Factor]:
    """Return the softmax of a term of what was aggregated, and the values.

    Raises:
        UnfollowedError: It is no softmax over keys that is multiplied with values.
    """
    out = set(flat(sides))
    weights = [f for f in term.factors if isinstance(f.tensor, Softmax)]
    if len(weights) != 1:
        raise UnfollowedError(
            "what is added to the weights, or multiplied with them, is no softmax"
        )
    factor = weights[0]
    softmax: Softmax = factor.tensor
    groups, rows, columns = (set(leaves(side)) for side in factor.sides)
    rest = [f for f in term.factors if f is not factor]
    gone = {i for i in (*groups, *rows, *columns) if i not in out}
    values = [f for f in rest if columns & set(f.indices) & gone]
    if not values and columns:
        if any(rows & set(f.indices) & gone for f in rest):
            raise UnfollowedError(
                "its softmax runs over queries, not over the keys that values are summed over: "
                "what a query gives does not add up to 1"
            )
        raise UnfollowedError("its weights are summed, but not with values")
    if columns - gone or rows & gone:
        raise UnfollowedError("its softmax and its sum of values run over different keys")
    value = values[-1] if values else rest[-1]
    others = [f for f in rest if f is not value]
    if softmax.logits.is_vector and (groups & out) - set(value.indices):
        raise UnfollowedError(
            "its logits are no product of queries and keys: they are predicted for every query"
        )
    number = term.number
    mixed = False
    for other in others:
        if other.tensor.numel() == 1:
            number *= float(other.tensor)
        elif set(other.indices) & {*rows, *columns}:
            raise UnfollowedError("its weights are multiplied by a matrix, entry by entry")
        else:
            mixed = True
    return Part(number, softmax, mixed), value


def is_offset(term: Term, x: Sum) -> bool:
    """Return whether a term of weights is no softmax but the same number for all tokens."""
    if any(isinstance(f.tensor, Softmax) for f in term.factors):
        return False
    softmaxes = [f for t in x.terms for f in t.factors if isinstance(f.tensor, Softmax)]
    tokens = {i for f in softmaxes for side in f.sides[1:] for i in leaves(side)}
    return not any(tokens & set(f.indices) for f in term.factors[:-1])


def constant(term: Term) -> float | None:
    """Return the number that a term is multiplied by; None if it is not the same everywhere."""
    number = term.number
    for factor in term.factors[1:]:
        if factor.tensor.numel() != 1:
            return None
        number *= float(factor.tensor)
    return number


def same(left: Aggregate, right: Aggregate) -> bool:
    """Return whether two values are the same numbers, be they padded with zeros or moved."""
    a, b = left.value.tensor, right.value.tensor
    if a.untyped_storage()._cdata == b.untyped_storage()._cdata:
        return bool(a.storage_offset() == b.storage_offset() and a.numel() == b.numel())
    first, second = left.values(), right.values()
    if first is None or second is None:
        return False
    mine, others = first.norm(dim=2), second.norm(dim=2)
    return mine.shape == others.shape and bool(torch.allclose(mine, others, rtol=1e-5, atol=0))
