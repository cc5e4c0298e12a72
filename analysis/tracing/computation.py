"""How the weights came about that meet values: attention is what is computed.

An observer of every operation. It follows what is linear: products of two tensors before a softmax,
and the softmax's weights after it (`computation_rules`). Attention is found where the keys of
a softmax are summed over together with values. Nothing as large as queries x keys is kept: of the
weights that the network computed, a few rows stay, to prove the record by.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from math import isfinite
from typing import Any

import torch
from torch import Tensor, nn

from nonlocal_lens.analysis.tracing import fused
from nonlocal_lens.analysis.tracing.attended import (
    Aggregate,
    Attended,
    Lost,
    Refused,
    Softmax,
    constant,
    is_aggregate,
    is_offset,
    meets_values,
    part_and_value,
    same,
    softmaxes,
)
from nonlocal_lens.analysis.tracing.by_identity import ByIdentity
from nonlocal_lens.analysis.tracing.computation_rules import RULES, add
from nonlocal_lens.analysis.tracing.labelled import (
    Factor,
    Sides,
    Sum,
    Term,
    UnfollowedError,
    flat,
    leaves,
    masked,
    new_sides,
    one,
    product,
)
from nonlocal_lens.analysis.tracing.logits import Logits, Lookup, arranged, logits_of
from nonlocal_lens.analysis.tracing.mode import Observer
from nonlocal_lens.analysis.tracing.operation import Operation, out_of_place
from nonlocal_lens.analysis.tracing.other_weights import weighs_places
from nonlocal_lens.analysis.tracing.running import Running
from nonlocal_lens.analysis.tracing.squares import squares_of
from nonlocal_lens.analysis.tracing.unnormalized import Weighted, is_mean, rows, weighted

PROBES = 32
SOFTMAXES = {"_softmax", "_safe_softmax", "_masked_softmax"}
MOVES = {"view", "_unsafe_view", "reshape", "_reshape_alias", "permute", "transpose", "t", "slice"}
MOVES |= {"unsqueeze", "squeeze", "expand", "clone", "_to_copy", "alias", "detach", "select"}
LAYERS = {"mm": 1, "addmm": 2, "convolution": 1}
"""Operation of a layer -> which operand is its weight; what it is applied to comes before."""
PRODUCTS = {"bmm", "baddbmm", "mm"}
JOINS = {"cat", "stack"}
PARTS = {"slice", "split", "split_with_sizes"}
WEIGHTING = SOFTMAXES | fused.FUSED | PRODUCTS
UNFORESEEN = (
    ArithmeticError, AttributeError, LookupError, RuntimeError, TypeError, ValueError,
)  # fmt: skip
MAX_VECTOR = 1 << 22  # entries of logits that are no product which are looked at


class Computation(Observer):
    """Finds attention while a network runs.

    Args:
        lookup: Tells where the entries of a tensor came from, if somebody knows. It is asked while
            the tensor lives.

    Attributes:
        number: How many operations there were that may weight values, less one.
        found: What values were weighted with, in the order in which it happened.
        refused: What could not be read.
    """

    def __init__(self, lookup: Lookup | None = None) -> None:
        self.lookup = lookup
        self.found: list[Attended] = []
        self.refused: list[Refused] = []

    def begin(
        self,
        network: nn.Module,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        running: Running,
    ) -> None:
        """Forget everything: a run begins."""
        self.found, self.refused = [], []
        self.number = -1
        self._running = running
        self._numbers: ByIdentity[float] = ByIdentity()
        self._depths: ByIdentity[int] = ByIdentity()
        self._known: ByIdentity[tuple[Sum | Lost, int]] = ByIdentity()
        self._is_written = False  # whether what is looked at writes into a tensor that was there
        self._squares = squares_of(network)
        self._squares.begin()
        self._network = network
        self._parameters: set[int] | None = None  # where their numbers lie, once it is asked

    def seen(self, operation: Operation) -> None:
        """Follow one operation."""
        name, kwargs = out_of_place(operation.op_name), operation.kwargs
        self.number += name in WEIGHTING
        tensors = operation.tensors
        if self._depths:
            self._deepen(tensors, operation.outputs)
        self._is_written = name != operation.op_name or "out" in kwargs
        if self._is_written:
            kwargs = {key: value for key, value in kwargs.items() if key != "out"}
            operation = operation.named(name, kwargs)
            tensors = operation.tensors
        try:
            self._look(operation, tensors)
        except UNFORESEEN as error:
            self.unforeseen(error, name, operation.outputs)

    def taken(self) -> list[Attended]:
        """Return what was found, and keep it no longer."""
        found, self.found = self.found, []
        return found

    def unforeseen(self, error: Exception, name: str, outputs: tuple[Tensor, ...]) -> None:
        """Go on where a rule did not foresee its operands, as if the network were not looked at."""
        del error
        for out in outputs:
            self._learn(out, Lost(f"the operation {name!r} is not followed here", True))

    def _look(self, operation: Operation, tensors: list[Tensor]) -> None:
        """Follow an operation under its name out of place."""
        name, args = operation.op_name, operation.args
        if name in SOFTMAXES:
            self._softmax(args, operation.outputs[0])
        elif name in fused.FUSED:
            self._fused(operation)
        elif any(x in self._known for x in tensors):
            self._follow(operation)
        elif name in PRODUCTS:
            self._product(operation)
            for is_left in (True, False):
                why = "they are no product of queries and keys"
                self._look_for_other_weights(operation, is_left, why)
        elif name in ("mul", "div") or self._numbers:
            self._count(operation)
        elif name == "_transform_bias_rescale_qkv":
            query = operation.outputs[0]
            self._numbers.set(query, query.shape[3] ** -0.5)

    def _count(self, operation: Operation) -> None:
        """Remember numbers that tensors were multiplied by before they are multiplied together."""
        name, args = operation.op_name, operation.args
        if not args or not isinstance(args[0], Tensor):
            return
        number = self._numbers.get(args[0], 1.0)
        if name in ("mul", "div") and len(args) == 2:
            by = args[1]
            if isinstance(by, Tensor):
                by = float(by) if by.ndim == 0 and not self._is_parameter(by) else None
            if not by or not isfinite(by):
                return
            number = number * by if name == "mul" else number / by
        elif name not in MOVES and name not in ("split", "split_with_sizes", "unbind"):
            return
        if number != 1.0:
            for out in operation.outputs:
                self._numbers.set(out, number)

    def _deepen(self, tensors: list[Tensor], outputs: tuple[Tensor, ...]) -> None:
        """Count aggregations on the way of what an operation was given to what it gave."""
        deepest = 0
        for x in tensors:
            deepest = max(deepest, self._depths.get(x, 0))
        if deepest:
            for out in outputs:
                self._depths.set(out, deepest)

    def _what(self, x: Any) -> Sum | Lost | None:
        """Return what is known of a tensor; nothing if somebody wrote into it since."""
        if not isinstance(x, Tensor):
            return None
        known = self._known.get(x)
        if known is None:
            return None
        what, version = known
        return what if version == _version(x) else None

    def _learn(self, tensor: Tensor, what: Sum | Lost | None) -> None:
        """Know something of a tensor from now on; if it was written into, torch counts it later."""
        if what is None:
            self._known.drop(tensor)
        else:
            later = self._is_written and not tensor.is_inference()
            self._known.set(tensor, (what, _version(tensor) + later))

    def _learn_whole(self, view: Tensor, what: Sum) -> None:
        """Learn of a tensor what was just written into a view of all of it."""
        whole = view._base
        if whole is not None and (whole.shape, whole.stride()) == (view.shape, view.stride()):
            self._learn(whole, what)

    def _product(self, operation: Operation) -> None:
        """Begin to follow the product of two tensors that the network computed."""
        name, kwargs = operation.op_name, operation.kwargs
        left, right = operation.args[-2:]
        if name == "mm" and (self._is_parameter(left) or self._is_parameter(right)):
            return  # a layer
        told = self._numbers.get(left, 1.0) * self._numbers.get(right, 1.0)
        result = product(left, right, told=told)
        if name == "baddbmm":
            result = product(left, right, float(kwargs.get("alpha", 1)), told)
            if kwargs.get("beta", 1):
                try:
                    result = add(result, operation.args[0], kwargs.get("beta", 1))
                except UnfollowedError:
                    return
        self._learn(operation.outputs[0], result)

    def _is_parameter(self, x: Tensor) -> bool:
        if self._parameters is None:
            self._parameters = {
                parameter.untyped_storage()._cdata for parameter in self._network.parameters()
            }
        return x.untyped_storage()._cdata in self._parameters

    def _follow(self, operation: Operation) -> None:
        """Follow an operation on what is known."""
        name, _, args, kwargs, outputs, *_ = operation
        known = [self._what(x) for x in args]
        sums = [x for x in known if isinstance(x, Sum)]
        lost = [x for x in known if isinstance(x, Lost)]
        if name in ("bmm", "mm", "addmm", "baddbmm") and lost:
            self._lose_weights(operation, known)
        if name in PRODUCTS and not any(isinstance(x, Sum) and not is_aggregate(x) for x in known):
            self._product(operation)
            return
        if name in JOINS and (side_by_side := self._side_by_side(args[0])) is not None:
            self._learn(outputs[0], side_by_side)
            return
        if not sums:
            for out in outputs:
                is_whole = name in PARTS or out.numel() >= max(_numels(args))
                kept = lost[0] if lost and is_whole else None
                self._learn(out, kept)
            return
        if any(is_aggregate(x) for x in sums):
            self._after(operation, known)
            return
        if name in PRODUCTS and self._multiplies(operation, known):
            return
        try:
            if name not in RULES:
                raise UnfollowedError(f"the operation {name!r} is not followed")
            operands = [
                what if isinstance(what, Sum) else x for what, x in zip(known, args, strict=True)
            ]
            result = RULES[name](*operands, **kwargs)
        except UnfollowedError as error:
            weights = any(softmaxes(x) for x in sums)
            for out in outputs:
                self._learn(out, Lost(str(error), weights))
            return
        for out, what in zip(
            outputs, [result] if isinstance(result, Sum) else result, strict=False
        ):
            if not meets_values(what):
                self._learn(out, what)
                if self._is_written:
                    self._learn_whole(out, what)
            else:
                self._found(what, out)

    def _side_by_side(self, joined: Sequence[Tensor]) -> Lost | None:
        """Return that logits or weights are joined to others, if some are among these."""
        known = [what for x in joined if isinstance(what := self._what(x), Sum)]
        known = [what for what in known if not is_aggregate(what)]
        if not known:
            return None
        if any(softmaxes(what) for what in known):
            return Lost("its weights are put side by side with others, which is not followed", True)
        return Lost(
            "its products of queries and keys are put side by side with others before the softmax, "
            "which is not followed"
        )

    def _softmax(self, args: tuple[Any, ...], out: Tensor) -> None:
        """Keep queries and keys of a softmax, and a few rows of its weights."""
        x, side, mask = softmax_operands(args)
        what = self._what(x)
        if isinstance(what, Lost):
            self._learn(out, what._replace(normalized=True))
            return
        if what is None and x.numel() > MAX_VECTOR:
            self._learn(out, Lost("its logits are no product of queries and keys", True))
            return
        logits_sum = one(x) if what is None else what
        if softmaxes(logits_sum):
            self._learn(out, Lost("it is a softmax of a softmax", True))
            return
        try:
            if mask is not None:
                logits_sum = masked(logits_sum, mask)
            logits = logits_of(logits_sum, side, self.lookup)
            if self._is_written or mask is not None:  # memory is used again: maybe that of queries
                logits = _apart(logits, logits_sum)
            softmax = _observed(logits, logits_sum.sides, out, self.number)
        except UnfollowedError as error:
            self._learn(out, Lost(str(error), True))
            return
        self._learn(out, Sum(logits_sum.sides, (Term(1.0, (Factor(softmax, softmax.sides),)),)))

    def _fused(self, operation: Operation) -> None:
        out = operation.outputs[0]
        call = fused.call(operation.func, operation.args, operation.kwargs)
        try:
            logits_sum, value, sides = fused.sums(call)
            logits = logits_of(logits_sum, -1, self.lookup, heads=logits_sum.sides[1])
            probes = _probes(logits)
            own, error = fused.rows(call, probes, out)
        except UnfollowedError as refusal:
            self._refuse(str(refusal))
            return
        softmax = Softmax(
            logits, probes, own, out.dtype, operation.op_name, error=error, number=self.number
        )
        term = Term(1.0, (Factor(softmax, softmax.sides), value))
        self._found(Sum(sides, (term,)), out)

    def _multiplies(self, operation: Operation, known: list[Sum | Lost | None]) -> bool:
        """Look whether products of tokens are multiplied with values as they are, no softmax.

        Whether they are or not, what comes of it may be the logits of another softmax.
        """
        args = operation.args
        at = len(args) - 2
        left, right = known[at:]
        what, tensor, other = (left, args[at], args[at + 1]) if isinstance(left, Sum) else (
            right, args[at + 1], args[at]
        )  # fmt: skip
        if not isinstance(what, Sum) or softmaxes(what) or self._is_parameter(other):
            return False
        if isinstance(left, Sum) and isinstance(right, Sum):
            return False
        is_left = what is left
        found = weighted(what, tensor, other, known_is_left=is_left, lookup=self.lookup)
        if found is not None and operation.op_name != "baddbmm":
            self._found_unnormalized(found, operation.outputs[0], is_left)
        else:
            self._product(operation)
        return True

    def logits(self, args: tuple[Any, ...]) -> tuple[Logits, Sides]:
        """Return what is about to go into a softmax, given its operands, and its sides.

        Raises:
            UnfollowedError: It cannot be followed.
        """
        x, side, mask = softmax_operands(args)
        what = self._what(x)
        if isinstance(what, Lost):
            raise UnfollowedError(what.why)
        known = one(x) if what is None else what
        if mask is not None:
            known = masked(known, mask)
        return logits_of(known, side, self.lookup), known.sides

    def fused_logits(self, call: fused.FusedCall) -> Logits:
        """Return what a fused call puts into its softmax.

        Raises:
            UnfollowedError: It cannot be followed.
        """
        logits_sum, _, _ = fused.sums(call)
        return logits_of(logits_sum, -1, self.lookup, heads=logits_sum.sides[1])

    def products(self, args: tuple[Any, ...]) -> tuple[Weighted, bool] | None:
        """Return the products that are about to weight values without a softmax, if they are.

        And whether they are the left operand.
        """
        at = len(args) - 2
        what, is_left = self._what(args[at]), True
        if not isinstance(what, Sum):
            what, is_left = self._what(args[at + 1]), False
        if not isinstance(what, Sum):
            return None
        tensor, other = (args[at], args[at + 1]) if is_left else (args[at + 1], args[at])
        found = weighted(what, tensor, other, known_is_left=is_left, lookup=self.lookup)
        return None if found is None else (found, is_left)

    def _found_unnormalized(self, found: Weighted, out: Tensor, is_left: bool) -> None:
        probes = _probes(found.logits)
        own, error = rows(found, probes, out, known_is_left=is_left)
        keys = found.logits.key.shape[1]
        number = self._numbers.get(found.value.tensor, 1.0)
        logits = found.logits
        if is_mean(number, keys):  # the values were divided, instead of the weights
            own, logits = own * number, replace(logits, scale=logits.scale * number)
        softmax = Softmax(
            logits, probes, own, out.dtype, normalized=False, error=error, number=self.number
        )
        term = Term(1.0, (Factor(softmax, softmax.sides), found.value))
        outer = tuple(i for i in found.value.indices if i not in {*flat(softmax.sides)})
        turned = is_left == (found.product is None)
        batch = found.weights.sides[:-2]
        tokens = leaves(softmax.sides[1])
        sides = (*batch, outer, tokens) if turned else (*batch, tokens, outer)
        self._found(Sum(sides, (term,)), out)
        if logits is not found.logits:
            self.found[-1].value_scale = 1 / number

    def _found(self, what: Sum, out: Tensor) -> None:
        """Keep what values were just weighted with."""
        parts = []
        value: Factor | None = None
        try:
            for term in what.terms:
                if is_offset(term, what):
                    continue
                part, value = part_and_value(term, what.sides)
                parts.append(part)
            if len(parts) < len(what.terms):
                parts = [part._replace(mixed=True) for part in parts]
        except UnfollowedError as error:
            self._refuse(str(error))
            return
        assert value is not None  # it meets values
        depth = self._depths.get(out, 0)
        module = self._running.block
        attended = Attended(module, self._running.call_of(module), depth, tuple(parts))
        self._depths.set(out, depth + 1)
        self.found.append(attended)
        term = what.terms[0]
        sides = next(f.sides for f in term.factors if isinstance(f.tensor, Softmax))
        aggregate = Aggregate(attended, leaves(sides[0]), leaves(sides[2]), value)
        self._learn(out, Sum(what.sides, (Term(1.0, (Factor(aggregate, what.sides),)),)))

    def _after(self, operation: Operation, known: list[Sum | Lost | None]) -> None:
        """Follow what was aggregated until it is added to another aggregate of the same values."""
        name, _, args, kwargs, outputs, *_ = operation
        result: Any = None
        both = all(isinstance(x, Sum) and is_aggregate(x) for x in known[:2])
        if name in MOVES or (name in ("add", "sub", "mul", "div") and (both or name[0] in "md")):
            operands = [x if isinstance(x, Sum) else y for x, y in zip(known, args, strict=True)]
            try:
                result = RULES[name](*operands, **kwargs)
            except UnfollowedError:
                result = None
        elif name in ("add", "sub") and isinstance(args[1], float | int):
            result = known[0]
        elif (name in LAYERS or name in ("add", "sub")) and not both:
            self._goes_out(name, known, args)
        if isinstance(result, Sum) and name in ("add", "sub"):
            result = self._joined(result)
        if result is None and name in ("mul", "div"):
            self._divided(known)
        results = [result] * len(outputs) if isinstance(result, Sum | None) else result
        for out, what in zip(outputs, results, strict=False):
            self._learn(out, what)

    def _divided(self, known: list[Sum | Lost | None]) -> None:
        """Refuse products that are normalized by something after values were weighted with them."""
        for what in known:
            for factor in what.terms[0].factors[:1] if isinstance(what, Sum) else ():
                attended = factor.tensor.attended if isinstance(factor.tensor, Aggregate) else None
                if attended in self.found and not attended.parts[0].softmax.normalized:
                    self.found.remove(attended)
                    self._refuse(
                        "its products weight values without a softmax, and what comes of it is "
                        "divided for every query: linear attention, whose weights no record holds",
                    )

    def _goes_out(self, name: str, known: list[Sum | Lost | None], args: tuple[Any, ...]) -> None:
        """Keep what values are where they leave the block: through a layer, or added to x."""
        at = next(n for n, x in enumerate(known) if isinstance(x, Sum))
        what = known[at]
        assert isinstance(what, Sum)
        (factor, *_) = what.terms[0].factors
        aggregate = factor.tensor
        number = constant(what.terms[0])
        mixed = any(part.mixed for part in aggregate.attended.parts)
        if len(what.terms) != 1 or number is None or mixed or aggregate.attended.value is not None:
            return
        weight: Factor | None = None
        if name in LAYERS:
            matrix, side = args[LAYERS[name]], 1 if name == "convolution" else -1
            if at != LAYERS[name] - 1 or not self._is_parameter(matrix):
                return
            if name == "convolution":
                if matrix.shape[2:].numel() != 1 or args[-1] != 1:
                    return
                matrix = matrix.flatten(1).t()
            (outer,) = new_sides(matrix.shape[1:])
            weight = Factor(matrix, (leaves(what.sides[side]), outer))
        values = aggregate.values(weight, self._squares)
        aggregate.attended.value = None
        if values is not None:
            times = number * aggregate.attended.value_scale
            is_own = weight is not None and times == 1  # no view of what the network writes into
            aggregate.attended.value = values if is_own else times * values

    def _joined(self, x: Sum) -> Sum | None:
        """Join aggregates of the same values that are added: one block attends with their sum."""
        each = [term.factors[0].tensor for term in x.terms]
        numbers = [constant(term) for term in x.terms]
        if None in numbers or len({id(a.attended) for a in each}) < len(each):
            return None
        first = each[0].attended
        if any(a.attended.module != first.module or not same(a, each[0]) for a in each[1:]):
            return None
        parts = tuple(
            part._replace(number=number * part.number)
            for number, aggregate in zip(numbers, each, strict=True)
            for part in aggregate.attended.parts
        )
        joined = Attended(first.module, first.call, first.depth, parts)
        at = min(self.found.index(a.attended) for a in each)
        self.found = [a for a in self.found if a not in [b.attended for b in each]]
        self.found.insert(at, joined)
        aggregate = replace(each[0], attended=joined)
        return Sum(x.sides, (Term(1.0, (Factor(aggregate, x.sides),)),))

    def _lose_weights(self, operation: Operation, known: list[Sum | Lost | None]) -> None:
        args = operation.args
        left = len(args) - 2
        for at in (left, left + 1):
            what, other = known[at], args[2 * left + 1 - at]
            if not isinstance(what, Lost) or self._is_parameter(other):
                continue
            if what.normalized:
                self._refuse(what.why)
                return
            self._look_for_other_weights(operation, at == left, what.why)

    def _look_for_other_weights(self, operation: Operation, is_left: bool, why: str) -> None:
        """Refuse a factor that weights places of the other with numbers that are no softmax."""
        left, right = operation.args[-2:]
        if self.lookup is None or self._is_parameter(left) or self._is_parameter(right):
            return
        if weighs_places(left, right, self.lookup, weights_are_left=is_left):
            self._refuse(f"its weights are computed from tokens, but are no softmax: {why}")

    def _refuse(self, why: str) -> None:
        module = self._running.block
        self.refused.append(Refused(module, self._running.call_of(module), why))


def softmax_operands(args: tuple[Any, ...]) -> tuple[Tensor, int, Tensor | None]:
    """Return logits, the side that is normalized, and a mask that is True at what is not seen.

    The type of a mask says whose it is: 0 of every query and key, 1 of every item's keys, 2 of all.
    """
    x, second, *rest = args
    if not isinstance(second, Tensor):
        return x, second, None
    side, kind = (*rest, -1, 2)[:2] if len(rest) < 2 else rest[:2]
    return x, side, second[:, None, None] if kind == 1 else second


def _apart(logits: Logits, x: Sum) -> Logits:
    """Return logits that stay as they are when the network writes into what they are made of."""
    tensors = [f.tensor for term in x.terms for f in term.factors if isinstance(f.tensor, Tensor)]
    memory = {tensor.untyped_storage()._cdata for tensor in tensors}
    query, key = (
        side.clone() if side.untyped_storage()._cdata in memory else side
        for side in (logits.query, logits.key)
    )
    return replace(logits, query=query, key=key)


def _version(x: Tensor) -> int:
    """Return how often a tensor was written into; that of inference tensors is not counted."""
    return 0 if x.is_inference() else x._version


def _numels(args: tuple[Any, ...]) -> list[int]:
    return [x.numel() for x in args if isinstance(x, Tensor)] or [0]


def _probes(logits: Logits) -> Tensor:
    """Return a few queries, evenly spaced."""
    count = logits.query.shape[1]
    return torch.linspace(0, count - 1, min(PROBES, count), device=logits.query.device).long()


def _observed(logits: Logits, sides: Sides, out: Tensor, number: int) -> Softmax:
    """Keep a few rows of a softmax's output."""
    groups, rows, columns = (leaves(side) for side in (logits.groups, logits.rows, logits.columns))
    weights = arranged(Factor(out, sides), (*groups, *rows, *columns))
    probes = _probes(logits)
    at = len(groups)
    if len(rows) == 1:
        chosen = weights.index_select(at, probes)
    elif rows:
        index = torch.unravel_index(probes, [i.size for i in rows])
        chosen = weights[(slice(None),) * at + index]
    else:
        chosen = weights.clone()
    shape = logits.query.shape[0], len(probes), logits.key.shape[1]
    return Softmax(logits, probes, chosen.reshape(shape), out.dtype, number=number)
