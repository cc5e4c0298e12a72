"""Tensors as sums of products whose indices have names: what is linear in how weights come about.

A tensor of logits is, entry by entry, a sum of products: queries times keys summed over channels,
times a scale, plus a bias. Moving it about, scaling it, mixing its heads or adding to it keeps it
one. A `Sum` holds such a tensor as its factors, each the network's own tensor with an `Index` for
every side, and never as the matrix: each function here is what one kind of operation does to it.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

from torch import Tensor


class UnfollowedError(ValueError):
    """An operation does to a sum of products what these functions do not follow."""


@dataclass(eq=False)
class Index:
    """A name for one side of a tensor, which is parted when a view parts the side."""

    size: int
    parts: "tuple[Index, Index] | None" = None  # outer and inner, once it has been parted

    def part(self, outer: int) -> None:
        """Part it, for every tensor that has it."""
        self.parts = Index(outer), Index(self.size // outer)


Side = tuple[Index, ...]
"""One side of a tensor, the outermost index first; empty where it has the length 1."""

Sides = tuple[Side, ...]


def leaves(indices: Iterable[Index]) -> Side:
    """Return what some indices now consist of, the outermost first."""
    found: list[Index] = []
    for index in indices:
        if index.parts is None:
            found.append(index)
        else:
            found += leaves(index.parts)
    return tuple(found)


def flat(sides: Sides) -> Side:
    """Return the indices of all sides."""
    return leaves([index for side in sides for index in side])


def new_sides(shape: Sequence[int]) -> Sides:
    """Return an index of its own for every side that is longer than 1."""
    return tuple((Index(size),) if size != 1 else () for size in shape)


@dataclass(frozen=True, eq=False)
class Factor:
    """A tensor with an index for every side; or, as `tensor`, something else that has indices."""

    tensor: Any
    sides: Sides
    part_of: Tensor | None = None  # the network's own tensor that it is a part of
    taken: tuple[tuple[int, int, int], ...] = ()  # which: side, start and length, one after another

    @property
    def indices(self) -> Side:
        """The indices of all sides."""
        return flat(self.sides)

    def renamed(self, names: dict[Index, Index]) -> "Factor":
        """Return the same with some indices replaced by others."""
        sides = tuple(tuple(names.get(i, i) for i in leaves(side)) for side in self.sides)
        return replace(self, sides=sides)


@dataclass(frozen=True, eq=False)
class Term:
    """A number times some factors, summed over all indices that the sum has no side for."""

    number: float
    factors: tuple[Factor, ...]
    is_product: bool = False  # whether the first two are the operands of a matrix product
    told: float = 1.0  # what these were multiplied by before, of `number` times all factors

    def renamed(self, names: dict[Index, Index]) -> "Term":
        """Return the same with some indices replaced by others."""
        return replace(self, factors=tuple(factor.renamed(names) for factor in self.factors))

    @property
    def indices(self) -> set[Index]:
        """The indices of all factors."""
        return {index for factor in self.factors for index in factor.indices}


@dataclass(frozen=True, eq=False)
class Sum:
    """A tensor with these sides; where a mask is True, it holds something that no softmax sees."""

    sides: Sides
    terms: tuple[Term, ...]
    masks: tuple[Factor, ...] = field(default=())

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the sides."""
        return tuple(prod(index.size for index in side) for side in self.sides)


def one(tensor: Tensor) -> Sum:
    """Return a tensor as it is, as the only factor of the only term."""
    sides = new_sides(tensor.shape)
    return Sum(sides, (Term(1.0, (Factor(tensor, sides),)),))


def product(left: Tensor, right: Tensor, number: float = 1.0, told: float = 1.0) -> Sum:
    """Return left @ right, of two or three sides each."""
    *batch, rows, inner = new_sides(left.shape)
    (columns,) = new_sides(right.shape[-1:])
    term = Term(
        number,
        (Factor(left, (*batch, rows, inner)), Factor(right, (*batch, inner, columns))),
        is_product=True,
        told=told,
    )
    return Sum((*batch, rows, columns), (term,))


def viewed(x: Sum, shape: Sequence[int]) -> Sum:
    """Return the same entries in another shape."""
    total = prod(x.shape)
    known = prod(size for size in shape if size != -1)
    sizes = [total // known if size == -1 else size for size in shape]
    rest = list(flat(x.sides))
    sides = []
    for size in sizes:
        side: list[Index] = []
        length = 1
        while length < size:
            index = rest.pop(0)
            if length * index.size > size:
                outer = size // length
                if length * outer != size or index.size % outer:
                    raise UnfollowedError("a view joins parts of two sides")
                index.part(outer)
                assert index.parts is not None  # it has just been parted
                index, inner = index.parts
                rest.insert(0, inner)
            side.append(index)
            length *= index.size
        if length != size:
            raise UnfollowedError("a view joins parts of two sides")
        sides.append(tuple(side))
    return replace(x, sides=tuple(sides))


def permuted(x: Sum, order: Sequence[int]) -> Sum:
    """Return the sides in another order."""
    return replace(x, sides=tuple(x.sides[side] for side in order))


def expanded(x: Sum, shape: Sequence[int]) -> Sum:
    """Return copies along sides of length 1 and along new first ones."""
    sides = ((),) * (len(shape) - len(x.sides)) + x.sides
    lengths = (1,) * (len(shape) - len(x.sides)) + x.shape
    return replace(
        x,
        sides=tuple(
            side if size in (-1, length) else (Index(size),)
            for side, length, size in zip(sides, lengths, shape, strict=True)
        ),
    )


def scaled(x: Sum, number: float) -> Sum:
    """Return every term times a number, which must be above 0 where something is masked."""
    if x.masks and not number > 0:
        raise UnfollowedError("masked logits are multiplied by a number that is not above 0")
    return replace(x, terms=tuple(replace(term, number=number * term.number) for term in x.terms))


def times(x: Sum, other: Tensor) -> Sum:
    """Return x times a tensor, entry by entry."""
    factor = Factor(other, new_sides(other.shape))
    sides, names = matched(x.sides, factor.sides)
    factor = factor.renamed(names)
    terms = tuple(replace(term, factors=(*term.factors, factor)) for term in x.terms)
    return replace(x, sides=sides, terms=terms)


def added(x: Sum, other: Sum) -> Sum:
    """Return x + other."""
    sides, names = matched(x.sides, other.sides)
    return Sum(
        sides,
        x.terms + tuple(term.renamed(names) for term in other.terms),
        x.masks + tuple(mask.renamed(names) for mask in other.masks),
    )


def masked(x: Sum, mask: Tensor) -> Sum:
    """Return x with something that no softmax sees where a mask is True."""
    factor = Factor(mask, new_sides(mask.shape))
    sides, names = matched(x.sides, factor.sides)
    return replace(x, sides=sides, masks=(*x.masks, factor.renamed(names)))


def summed(x: Sum, over: Sequence[int], keep: bool) -> Sum:
    """Return the sums over some sides, which go or stay with the length 1."""
    if x.masks:
        raise UnfollowedError("masked logits are summed")
    over = [side % len(x.sides) for side in over]
    gone = leaves(index for side in over for index in x.sides[side])
    terms = []
    for term in x.terms:
        copies = prod(index.size for index in gone if index not in term.indices)
        named = term.renamed({index: Index(index.size) for index in gone})
        terms.append(replace(named, number=term.number * copies))
    sides = [
        () if at in over else side for at, side in enumerate(x.sides) if keep or at not in over
    ]
    return Sum(tuple(sides), tuple(terms))


def contracted(x: Sum, side: int, other: Tensor, other_side: int) -> tuple[Sum, Sides]:
    """Return x times a tensor, summed over a side of each, and the other sides of that tensor.

    The sides of the result are those of x without the one summed over; where those of the tensor
    go, the caller knows.
    """
    if x.masks:
        raise UnfollowedError("masked logits are mixed")
    side %= len(x.sides)
    inner = leaves(x.sides[side])
    copies = tuple(Index(index.size) for index in inner)
    names = dict(zip(inner, copies, strict=True))
    sides = list(new_sides(other.shape))
    sides[other_side] = copies
    factor = Factor(other, tuple(sides))
    terms = tuple(replace(term, factors=(*term.renamed(names).factors, factor)) for term in x.terms)
    del sides[other_side % len(sides)]
    rest = tuple(s for at, s in enumerate(x.sides) if at != side)
    return Sum(rest, terms), tuple(sides)


def narrowed(x: Sum, side: int, start: int, length: int) -> Sum:
    """Return the entries along one side from `start` on."""
    side %= len(x.sides)
    if length == x.shape[side]:
        return x
    indices = leaves(x.sides[side])
    if len(indices) != 1:
        raise UnfollowedError("a part is taken of a side that was put together")
    old, new = indices[0], Index(length)

    def taken(factor: Factor) -> Factor:
        if old not in factor.indices:
            return factor
        at = next(n for n, s in enumerate(factor.sides) if old in leaves(s))
        if len(leaves(factor.sides[at])) != 1:
            raise UnfollowedError("a part is taken of a side that was put together")
        sides = tuple(
            ((new,) if length != 1 else ()) if n == at else s for n, s in enumerate(factor.sides)
        )
        if not isinstance(factor.tensor, Tensor):
            return replace(factor, sides=sides)
        whole = factor.tensor if factor.part_of is None else factor.part_of
        part = factor.tensor.narrow(at, start, length)
        return Factor(part, sides, whole, (*factor.taken, (at, start, length)))

    return Sum(
        tuple(((new,) if length != 1 else ()) if n == side else s for n, s in enumerate(x.sides)),
        tuple(replace(term, factors=tuple(map(taken, term.factors))) for term in x.terms),
        tuple(map(taken, x.masks)),
    )


def matched(left: Sides, right: Sides) -> tuple[Sides, dict[Index, Index]]:
    """Return the sides of two tensors broadcast together, and new names for indices of the right.

    Raises:
        UnfollowedError: The two part a side differently.
    """
    count = max(len(left), len(right))
    pairs = zip(
        ((),) * (count - len(left)) + left, ((),) * (count - len(right)) + right, strict=True
    )
    sides: list[Side] = []
    names: dict[Index, Index] = {}
    for mine, others in pairs:
        if mine and others:
            for own, other in _paired(mine, others):
                names[other] = own
        sides.append(leaves(mine) or leaves(others))
    return tuple(sides), names


def _paired(left: Side, right: Side) -> list[tuple[Index, Index]]:
    """Part two sides alike, and return their indices in pairs."""
    pairs = []
    mine, others = list(leaves(left)), list(leaves(right))
    while mine and others:
        small, large = sorted((mine[0], others[0]), key=lambda index: index.size)
        if small.size != large.size:
            if large.size % small.size:
                raise UnfollowedError("two sides are parted differently")
            large.part(small.size)
            mine, others = list(leaves(mine)), list(leaves(others))
        pairs.append((mine.pop(0), others.pop(0)))
    if mine or others:
        raise UnfollowedError("two sides are not equally long")
    return pairs
