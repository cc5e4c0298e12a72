"""What every kind of operation does to a sum of products, a small rule for each.

A rule is given the operands, of which at least one is a `Sum` where the tensor is one, and returns
the sums that the outputs are. An operation without a rule ends what can be followed.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import torch
from torch import Tensor

from nonlocal_lens.analysis.tracing.labelled import (
    Sum,
    UnfollowedError,
    added,
    contracted,
    expanded,
    masked,
    matched,
    narrowed,
    one,
    permuted,
    scaled,
    summed,
    times,
    viewed,
)
from nonlocal_lens.analysis.tracing.logits import HIDDEN

Rule = Callable[..., Sum | Sequence[Sum]]

RULES: dict[str, Rule] = {}
"""Operation, by its name without overload and without "_" at the end -> its rule."""

MAX_TERMS = 16


Function = TypeVar("Function", bound=Rule)


def rule(*names: str) -> Callable[[Function], Function]:
    """Return a decorator that makes a function the rule of some operations."""

    def registered(function: Function) -> Function:
        RULES.update(dict.fromkeys(names, function))
        return function

    return registered


@rule("clone", "alias", "detach", "contiguous", "lift_fresh", "_to_copy", "_conj", "positive")
def same(x: Sum, *_: Any, **__: Any) -> Sum:
    """Copies, and other precision."""
    return x


@rule("copy")
def copy(x: Any, y: Any, *_: Any) -> Sum:
    """Copies into a tensor of the same shape."""
    if not isinstance(y, Sum) or (x.shape != y.shape):
        raise UnfollowedError("it is copied into a part of another tensor")
    return y


@rule("native_dropout")
def dropout(x: Sum, _probability: float, train: bool | None, **_: Any) -> Sum:
    """Dropout that drops nothing."""
    if train:
        raise UnfollowedError("dropout drops some of it")
    return x


@rule("view", "_unsafe_view", "reshape", "_reshape_alias")
def view(x: Sum, shape: Sequence[int], *_: Any, **__: Any) -> Sum:
    """The same entries in another shape."""
    return viewed(x, shape)


@rule("permute")
def permute(x: Sum, order: Sequence[int]) -> Sum:
    """Sides in another order."""
    return permuted(x, order)


@rule("transpose")
def transpose(x: Sum, first: int, second: int) -> Sum:
    """Two sides change places."""
    order = list(range(len(x.sides)))
    order[first], order[second] = order[second], order[first]
    return permuted(x, order)


@rule("t")
def t(x: Sum) -> Sum:
    """Rows and columns change places."""
    return permuted(x, range(len(x.sides))[::-1])


@rule("unsqueeze")
def unsqueeze(x: Sum, side: int) -> Sum:
    """One more side of length 1."""
    side %= len(x.sides) + 1
    return replace(x, sides=(*x.sides[:side], (), *x.sides[side:]))


@rule("squeeze")
def squeeze(x: Sum, sides: int | Sequence[int] | None = None) -> Sum:
    """Without sides of length 1."""
    if sides is None:
        sides = range(len(x.sides))
    gone = {side % len(x.sides) for side in ([sides] if isinstance(sides, int) else sides)}
    kept = [s for at, s in enumerate(x.sides) if at not in gone or s]
    return replace(x, sides=tuple(kept))


@rule("expand")
def expand(x: Sum, shape: Sequence[int], **_: Any) -> Sum:
    """Copies along sides of length 1."""
    return expanded(x, shape)


@rule("select")
def select(x: Sum, side: int, index: int) -> Sum:
    """One entry of a side."""
    side %= len(x.sides)
    part = narrowed(x, side, index % x.shape[side], 1)
    return replace(part, sides=part.sides[:side] + part.sides[side + 1 :])


@rule("slice")
def slice_(
    x: Sum, side: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Sum:
    """Some entries of a side, one after another."""
    first, last, step = slice(start, end, step).indices(x.shape[side])
    if step != 1 and (first, last) != (0, x.shape[side]):
        raise UnfollowedError("every so many entries of a side are taken")
    return narrowed(x, side, first, max(last - first, 0))


@rule("unbind")
def unbind(x: Sum, side: int = 0) -> list[Sum]:
    """Each entry of a side."""
    return [select(x, side, at) for at in range(x.shape[side])]


@rule("split", "split_with_sizes")
def split(x: Sum, sizes: int | Sequence[int], side: int = 0) -> list[Sum]:
    """Parts of a side."""
    length = x.shape[side]
    if isinstance(sizes, int):
        sizes = [min(sizes, length - at) for at in range(0, length, sizes)]
    starts = [sum(sizes[:at]) for at in range(len(sizes))]
    return [narrowed(x, side, start, size) for start, size in zip(starts, sizes, strict=True)]


@rule("mul")
def mul(x: Any, y: Any) -> Sum:
    """Times a number, or a tensor of fewer sides or not."""
    if not isinstance(x, Sum):
        x, y = y, x
    if isinstance(y, Sum):
        raise UnfollowedError("two products of tokens are multiplied, entry by entry")
    number = _number(y)
    return times(x, y) if number is None else scaled(x, number)


@rule("div")
def div(x: Any, y: Any, rounding_mode: str | None = None) -> Sum:
    """Over a number, or a tensor of fewer sides or not."""
    if not isinstance(x, Sum) or isinstance(y, Sum) or rounding_mode is not None:
        raise UnfollowedError("something is divided by it")
    number = _number(y)
    return times(x, 1 / y) if number is None else scaled(x, 1 / number)


@rule("neg")
def neg(x: Sum) -> Sum:
    """Times -1."""
    return scaled(x, -1)


@rule("add")
def add(x: Any, y: Any, alpha: float = 1) -> Sum:
    """Plus a number, or a tensor."""
    return _add(x, y, alpha)


@rule("sub")
def sub(x: Any, y: Any, alpha: float = 1) -> Sum:
    """Minus a number, or a tensor."""
    return _add(x, y, -alpha)


@rule("masked_fill")
def masked_fill(x: Any, mask: Tensor, value: Any) -> Sum:
    """Something that no softmax sees, where a mask is True."""
    number = _number(value)
    if not isinstance(x, Sum) or number is None or number > HIDDEN:
        raise UnfollowedError(f"some of it is set to {number}")
    return masked(x, mask)


@rule("where")
def where(condition: Any, x: Any, y: Any) -> Sum:
    """Something that no softmax sees, where a mask is True or where it is False."""
    if isinstance(x, Sum) and not isinstance(y, Sum):
        return masked_fill(x, ~condition, y)
    if isinstance(y, Sum) and not isinstance(x, Sum):
        return masked_fill(y, condition, x)
    raise UnfollowedError("a choice is made between two products")


@rule("mean")
def mean(x: Sum, over: Sequence[int] | None = None, keep: bool = False, **_: Any) -> Sum:
    """The mean over some sides."""
    sides = range(len(x.sides)) if over is None else over
    count = 1
    for side in sides:
        count *= x.shape[side]
    return scaled(summed(x, sides, keep), 1 / count)


@rule("sum")
def sum_(x: Sum, over: Sequence[int] | None = None, keep: bool = False, **_: Any) -> Sum:
    """The sum over some sides."""
    return summed(x, range(len(x.sides)) if over is None else over, keep)


@rule("bmm")
def bmm(x: Any, y: Any) -> Sum:
    """A matrix product for every group."""
    if isinstance(x, Sum) and isinstance(y, Sum):
        raise UnfollowedError("two products of tokens are multiplied")
    if isinstance(y, Sum):
        turned = bmm(permuted(y, (0, 2, 1)), x.mT)
        return permuted(turned, (0, 2, 1))
    result, others = contracted(x, 2, y, 1)
    sides, names = matched((result.sides[0],), (others[0],))
    renamed = tuple(term.renamed(names) for term in result.terms)
    return Sum((sides[0], result.sides[1], others[1]), renamed)


@rule("mm")
def mm(x: Any, y: Any) -> Sum:
    """A matrix product."""
    if isinstance(x, Sum) and isinstance(y, Sum):
        raise UnfollowedError("two products of tokens are multiplied")
    if isinstance(y, Sum):
        return t(mm(t(y), x.t()))
    result, (columns,) = contracted(x, 1, y, 0)
    return replace(result, sides=(result.sides[0], columns))


@rule("addmm")
def addmm(bias: Any, x: Any, y: Any, beta: float = 1, alpha: float = 1) -> Sum:
    """A matrix product, plus a bias."""
    result = scaled(mm(x, y), alpha)
    return _add(result, bias, beta) if beta else result


@rule("baddbmm")
def baddbmm(bias: Any, x: Any, y: Any, beta: float = 1, alpha: float = 1) -> Sum:
    """A matrix product for every group, plus a bias."""
    result = scaled(bmm(x, y), alpha)
    return _add(result, bias, beta) if beta else result


@rule("convolution")
def convolution(x: Any, weight: Any, bias: Any, *how: Any) -> Sum:
    """A convolution of one cell, which mixes heads."""
    stride, padding, _, transposed, _, groups = how
    cells = weight.shape[2:] if isinstance(weight, Tensor) else (0,)
    if {*cells, *stride} != {1} or any(padding) or transposed or groups != 1:
        raise UnfollowedError("it is convolved")
    result, (outputs,) = contracted(x, 1, weight.flatten(1), 1)
    result = replace(result, sides=(result.sides[0], outputs, *result.sides[1:]))
    if bias is not None:
        result = _add(result, bias.reshape(-1, *[1] * len(cells)), 1)
    return result


def _number(x: Any) -> float | None:
    """Return a number, or what the only entry of a tensor is; None for another tensor."""
    if isinstance(x, Tensor):
        return float(x) if x.numel() == 1 else None
    return None if isinstance(x, Sum) else float(x)


def _add(x: Any, y: Any, factor: float) -> Sum:
    if not isinstance(x, Sum):
        return _add(scaled(y, factor), x, 1)
    if not isinstance(y, Sum):
        if not isinstance(y, Tensor):
            y = torch.tensor(float(y))
        y = one(y)
    result = added(x, scaled(y, factor))
    if len(result.terms) > MAX_TERMS:
        raise UnfollowedError(f"it is a sum of more than {MAX_TERMS} terms")
    return result
