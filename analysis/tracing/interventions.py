"""Other weights in the place of a network's own, before they meet the values.

A first run finds which operations weight values. In a second run their weights are changed as they
come: in every block, or in some blocks and heads. Operations that weight in one go, fused ones and
products without a softmax, are written out for that, a chunk of queries at a time. Where nothing
is changed nothing is run in another way.
"""

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from nonlocal_lens.analysis.refusals import kind_of
from nonlocal_lens.analysis.tracing import fused
from nonlocal_lens.analysis.tracing.computation import SOFTMAXES, WEIGHTING, Computation
from nonlocal_lens.analysis.tracing.heads import heads
from nonlocal_lens.analysis.tracing.labelled import Factor, Sides, leaves
from nonlocal_lens.analysis.tracing.logits import Logits, arranged
from nonlocal_lens.analysis.tracing.mode import Editor, run, watched
from nonlocal_lens.analysis.tracing.operation import out_of_place
from nonlocal_lens.analysis.tracing.provenance import Provenance
from nonlocal_lens.analysis.tracing.residuals import SUMS, Residuals, past_block
from nonlocal_lens.analysis.tracing.unnormalized import value_of

CHUNK = 1 << 22  # weights that are held at a time where they are written out


@dataclass(frozen=True, eq=False)
class Rows:
    """Some rows of weights that are about to meet the values.

    Attributes:
        own: What the network computed.
        logits: What they were made of.
        chosen: Which of all queries they are of.
        normalized: Whether they went through a softmax.
        beside: Whether they are the pairwise weights ("pairwise") or the unary ones ("unary") of a
            block that adds both; "" where they are all there is.
        mean: Gives the mean of all rows that count, (groups, 1, keys).
        others: What another picture's were made of; None where there is none.
        counted: Which queries count: those that are places; None where all do.
    """

    own: Float[Tensor, "groups queries keys"]
    logits: Logits
    chosen: Int[Tensor, " queries"]
    normalized: bool
    beside: str
    mean: Callable[[], Float[Tensor, "groups 1 keys"]]
    others: Logits | None = None
    counted: Bool[Tensor, "groups all_queries"] | None = None

    @property
    def mean_query(self) -> Float[Tensor, "groups 1 channels"]:
        """The mean of all queries that count."""
        return _sum_of_counted(self.logits.query, self.counted, mean=True)

    @property
    def seen(self) -> Bool[Tensor, "groups queries keys"]:
        """Which keys a query looks at."""
        if self.logits.seen is None:
            return torch.ones_like(self.own, dtype=torch.bool)
        query, key = self.logits.seen
        seen = (query[:, self.chosen, None] == key[:, None]).any(dim=-1)
        return seen.expand_as(self.own)

    def normalize(self, logits: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return weights for logits: as the network normalizes them."""
        if not self.normalized:
            return logits.to(self.own.dtype)
        return logits.masked_fill(~self.seen, -torch.inf).softmax(-1).to(self.own.dtype)


Change = Callable[[Rows], Float[Tensor, "groups queries keys"]]


def off(rows: Rows) -> Tensor:
    """No weight for any key: values do not come through."""
    return torch.zeros_like(rows.own)


def mean_row(rows: Rows) -> Tensor:
    """Every query attends like the mean over all queries that count."""
    return rows.mean().expand_as(rows.own)


def uniform(rows: Rows) -> Tensor:
    """Every query attends to all keys that it looks at alike, as much in total as it did."""
    seen = rows.seen
    return rows.own.sum(-1, keepdim=True) * seen / seen.sum(-1, keepdim=True)


def unary_only(rows: Rows) -> Tensor:
    """The unary term's own attention: what every query looks at.

    A softmax of the other term beside it gives no key any weight.
    """
    if rows.beside:
        return rows.own if rows.beside == "unary" else torch.zeros_like(rows.own)
    logits = rows.logits.scale * rows.mean_query @ rows.logits.key.mT
    if not rows.normalized:
        logits = logits - logits.mean(-1, keepdim=True)
    return rows.normalize(logits.expand_as(rows.own))


def pairwise_only(rows: Rows) -> Tensor:
    """The pairwise term's own attention: what depends on the query.

    A softmax of the other term beside it gives no key any weight.
    """
    if rows.beside:
        return rows.own if rows.beside == "pairwise" else torch.zeros_like(rows.own)
    query, key = rows.logits.query, rows.logits.key
    query = query[:, rows.chosen] - rows.mean_query
    key = key - key.mean(dim=1, keepdim=True)
    return rows.normalize(rows.logits.scale * query @ key.mT)


def another_image(rows: Rows) -> Tensor:
    """The weights that the block computed for another image."""
    if rows.others is None:
        raise ValueError("another image must be given to attend as the network does in it")
    if rows.others.key.shape != rows.logits.key.shape or (
        rows.others.query.shape != rows.logits.query.shape
    ):
        raise ValueError("another image must have as many tokens, in as many heads")
    query = rows.others.query[:, rows.chosen] if rows.chosen.numel() else rows.others.query
    return rows.normalize(rows.others.scale * query @ rows.others.key.mT)


def noise(rows: Rows) -> Tensor:
    """Every row's own weights on other keys, drawn by lot among those that it looks at.

    Sum and entropy of a row stay what they are.
    """
    generator = torch.Generator().manual_seed(int(rows.chosen[0]) if rows.chosen.numel() else 0)
    lots = torch.rand(rows.own.shape, generator=generator).to(rows.own.device)
    seen = rows.seen
    by_lot = (lots - 2 * seen.to(lots)).argsort(dim=-1)  # those that are seen come first
    in_order = (-2 * seen.to(torch.int8)).argsort(dim=-1, stable=True)
    return torch.zeros_like(rows.own).scatter(-1, by_lot, rows.own.gather(-1, in_order))


def without_key(index: int) -> Change:
    """Return a change: no query looks at one key, given by its place in the network's order."""

    def dropped(rows: Rows) -> Tensor:
        if not 0 <= index < rows.own.shape[-1]:
            raise ValueError(f"key must be in [0, {rows.own.shape[-1]}), got {index}")
        weights = rows.own.clone()
        weights[..., index] = 0
        if not rows.normalized:
            return weights
        return weights * (rows.own.sum(-1, keepdim=True) / weights.sum(-1, keepdim=True))

    return dropped


CHANGES: dict[str, Change] = {
    "off": off,
    "mean_row": mean_row,
    "uniform": uniform,
    "another_image": another_image,
    "noise": noise,
    "unary_only": unary_only,
    "pairwise_only": pairwise_only,
}
"""Name of an intervention -> what it puts in the place of weights."""


class Changeable:
    """A network on one input, to be run with changed attention: what that takes is found out once.

    Args:
        network: Any module; it comes back as it was.
        args: Its inputs.
        another: Another input of the same size, in the place of the first, for `another_image`.
        kwargs: Its inputs by name.

    Attributes:
        output: What the network gives as it is, bit for bit.
        heads: Blocks and heads, (name, number), in the order in which they run; the number is None
            where there is one only.

    Raises:
        ValueError: Nothing attends, or nothing that can be read.
    """

    def __init__(self, network: nn.Module, *args: Any, another: Any = None, **kwargs: Any) -> None:
        self._network, self._args, self._kwargs = network, args, kwargs
        self._another = another
        provenance = Provenance()
        self._computation = Computation(provenance.lookup)
        self._residuals = Residuals(self._computation)
        observers = [provenance, self._computation, self._residuals]
        self.output = run(network, args, kwargs, observers=observers)
        self._found, refused = heads(self._computation.found, provenance.pictures)
        provenance.end()
        self._refused = [*self._computation.refused, *refused]
        if not self._found:
            self._refuse()
            raise ValueError("the network has no attention that can be changed")
        self.heads = tuple(dict.fromkeys((head.block, head.head) for head in self._found))

    def run(
        self, how: str | Change, where: Collection[tuple[str, int | None]] | None = None
    ) -> Any:
        """Return the network's output under a change.

        Turned off, a block is not added to what came past it; where nothing comes past it, or only
        some of its heads are turned off, their weights are 0.

        Args:
            how: A name of `CHANGES`, a change, or "on": the network as it is, bit for bit.
            where: Blocks and heads, (name, head); a head of None stands for all. None changes all.

        Raises:
            ValueError: `how` or a block is unknown, there is no other input, or all is to be
                changed and not all of it can be read.
        """
        if how == "on":
            return self.output
        if isinstance(how, str) and how not in CHANGES:
            known = ", ".join(("on", *CHANGES))
            raise ValueError(f"unknown intervention {how!r}; available: {known}")
        if where is None:
            self._refuse()
        plan = self._plan(where)
        past = self._leave_out(plan) if how == "off" else {}
        others = self._others if how == "another_image" else {}
        computation = Computation()
        change = CHANGES[how] if isinstance(how, str) else how
        editor = _Changing(change, plan, computation, others, past)
        output = run(
            self._network, self._args, self._kwargs, observers=[computation], editor=editor
        )
        if editor.error is not None:
            raise editor.error
        return output

    def _refuse(self) -> None:
        """Raise ValueError if something attends that cannot be read: not all would be changed."""
        for name, _, why in self._refused:
            raise ValueError(f"the attention of {name or 'the network'} cannot be changed: {why}")

    @cached_property
    def _others(self) -> dict[int, Logits]:
        if self._another is None:
            return {}
        elsewhere = Computation()
        args = (self._another, *self._args[1:])
        run(self._network, args, self._kwargs, observers=[elsewhere])
        return {
            part.softmax.number: part.softmax.logits
            for attended in elsewhere.found
            for part in attended.parts
        }

    def _plan(self, where: Collection[tuple[str, int | None]] | None) -> "dict[int, _Target]":
        """Return which operations weight values, and which of their groups are to be changed."""
        known = {block for block, _ in self.heads}
        for block, _ in where or ():
            if block not in known:
                raise ValueError(f"unknown block {block!r}; available: {', '.join(sorted(known))}")
        plan: dict[int, _Target] = {}
        for head in self._found:
            if where is not None and not {(head.block, head.head), (head.block, None)} & set(where):
                continue
            for number, group in head.made_by:
                plan.setdefault(number, _Target()).groups.add(group)
        _tell_terms(plan, self._computation)
        if not plan:
            raise ValueError("none of the blocks has such a head")
        return plan

    def _leave_out(self, plan: "dict[int, _Target]") -> dict[int, int]:
        """Take blocks that are wholly in a plan out of it, and return at which sums they end."""
        whole = {
            id(attended)
            for attended in self._computation.found
            if all(
                part.softmax.number in plan
                and len(plan[part.softmax.number].groups) == len(part.softmax.own)
                for part in attended.parts
            )
        }
        past, left = self._residuals.without(whole)
        for attended in self._computation.found:
            if id(attended) in left:
                for part in attended.parts:
                    plan.pop(part.softmax.number, None)
        return past


def run_changed(
    network: nn.Module,
    *args: Any,
    how: str | Change,
    where: Collection[tuple[str, int | None]] | None = None,
    another: Any = None,
    **kwargs: Any,
) -> Any:
    """Run a network once with changed attention, and return its output: see `Changeable`."""
    if how == "on":
        return run(network, args, kwargs)
    return Changeable(network, *args, another=another, **kwargs).run(how, where)


@contextmanager
def changing(
    network: nn.Module, how: str | Change, *, besides: Collection[str] = ()
) -> Iterator[Collection[int]]:
    """Change all attention of a network, each time it runs, until the `with` ends.

    Each time it runs twice: first to see what attends. Of several changes of one network the
    innermost counts. Yields the numbers of the operations that were changed, so far.

    Args:
        network: Any module.
        how: A name of `CHANGES`, or a change.
        besides: Names of blocks that stay as they are.

    Raises:
        UnchangeableError: While the network runs: something attends that cannot be changed.
    """
    computation = Computation()
    changed: set[int] = set()
    editor = _Changing(CHANGES[how] if isinstance(how, str) else how, {}, computation, {})
    under = _UNDER.setdefault(network, [])
    with ExitStack() as stack:
        running = stack.enter_context(watched(network, [computation], editor))

        def begin(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            editor.rest()
            if not under or under[-1] is not editor:
                return
            under.append(None)  # nothing is changed while it is looked at
            try:
                editor.plan, editor.past = _plan_of_all(network, args, kwargs, how, besides)
            finally:
                under.pop()
            changed.update(editor.plan, editor.past)
            running.begin()
            computation.begin(network, args, kwargs, running)

        def end(*_: Any) -> None:
            error = editor.error
            editor.rest()
            if error is not None:
                raise UnchangeableError(str(error)) from error

        handle = network.register_forward_pre_hook(begin, with_kwargs=True)
        stack.callback(handle.remove)
        stack.callback(network.register_forward_hook(end).remove)
        under.append(editor)
        stack.callback(under.remove, editor)
        computation.begin(network, (), {}, running)
        yield changed


_UNDER: WeakKeyDictionary[nn.Module, list["_Changing | None"]] = WeakKeyDictionary()
"""Network -> the changes that it is under, the innermost last; None while it is looked at."""


class UnchangeableError(ValueError):
    """What attends is not known well enough to be changed."""


def _plan_of_all(
    network: nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    how: str | Change,
    besides: Collection[str],
) -> tuple[dict[int, "_Target"], dict[int, int]]:
    """Return which operations weight values, with all of their groups, and which sums are turned.

    Turned off, a block is not added to what came past it; where nothing comes past it, its weights
    are 0.

    Raises:
        UnchangeableError: Something attends and cannot be followed.
    """
    provenance = Provenance()
    computation = Computation(provenance.lookup)
    residuals = Residuals(computation)
    run(network, args, kwargs, observers=[provenance, computation, residuals])
    provenance.end()
    for refused in computation.refused:
        if refused.module not in besides:
            raise UnchangeableError(
                f"the attention of {refused.module or 'the network'} "
                f"({kind_of(network, refused.module)}) cannot be changed: "
                f"{refused.why}"
            )
    chosen = [attended for attended in computation.found if attended.module not in besides]
    past, left = residuals.without({id(attended) for attended in chosen if how == "off"})
    plan: dict[int, _Target] = {}
    for attended in chosen:
        if id(attended) in left:
            continue
        for part in attended.parts:
            target = plan.setdefault(part.softmax.number, _Target())
            target.groups |= set(range(len(part.softmax.own)))
    _tell_terms(plan, computation)
    return plan, past


@dataclass
class _Target:
    """What is changed of one operation: some of its groups; and which of its queries count."""

    groups: set[int] = field(default_factory=set)
    beside: str = ""
    counted: Bool[Tensor, "groups queries"] | None = None


def _tell_terms(plan: dict[int, _Target], computation: Computation) -> None:
    """Tell targets which queries count, and which term they are of a block that adds two."""
    for attended in computation.found:
        for part in attended.parts:
            if part.softmax.number in plan:
                plan[part.softmax.number].counted = _counted(part.softmax.logits)
        if len(attended.parts) == 2 and not any(part.mixed for part in attended.parts):
            kinds = ["unary" if _is_alike(p.softmax.logits) else "pairwise" for p in attended.parts]
            if set(kinds) == {"unary", "pairwise"}:
                for part, kind in zip(attended.parts, kinds, strict=True):
                    if part.softmax.number in plan:
                        plan[part.softmax.number].beside = kind


def _counted(logits: Logits) -> Bool[Tensor, "groups queries"] | None:
    """Return which queries are places, or all where none is; None where that is all of them."""
    if logits.query_from is None or logits.query_from.shape != logits.query.shape[:2]:
        return None
    placed = logits.query_from >= 0
    counted = placed | ~placed.any(dim=1, keepdim=True)
    return None if bool(counted.all()) else counted


def _sum_of_counted(
    x: Float[Tensor, "groups queries entries"],
    counted: Bool[Tensor, "groups queries"] | None,
    *,
    mean: bool,
) -> Float[Tensor, "groups 1 entries"]:
    """Return the sum or the mean over the queries that count."""
    if counted is None:
        return x.mean(dim=1, keepdim=True) if mean else x.sum(dim=1, keepdim=True)
    weights = counted.to(x)[..., None]
    total = (weights * x).sum(dim=1, keepdim=True)
    return total / weights.sum(dim=1, keepdim=True) if mean else total


def _is_alike(logits: Logits) -> bool:
    return logits.is_vector or not logits.rows


class _Changing(Editor):
    """Runs operations that weight values with other weights."""

    def __init__(
        self,
        change: Change,
        plan: dict[int, _Target],
        computation: Computation,
        others: dict[int, Logits],
        past: Mapping[int, int] | None = None,
    ) -> None:
        self.change = change
        self.computation = computation
        self.others = others
        self.plan: dict[int, _Target] = {}
        self.past: Mapping[int, int] = {}  # of sums: see `Residuals.without`
        self.rest()
        self.plan = plan
        self.past = past or {}

    def rest(self) -> None:
        """Change nothing any more, until there is a plan again."""
        self.plan = {}
        self.past = {}
        self.sums = -1
        self.error: ValueError | None = None

    def run(
        self,
        op_name: str,
        func: Any,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        module_name: str,
    ) -> Any:
        """Run an operation, and what it weights values with in another way if that is wanted."""
        name = out_of_place(op_name)
        if name in SUMS:
            self.sums += 1
            if self.sums in self.past:
                return past_block(op_name, args, self.past[self.sums])
        if name not in WEIGHTING:
            return func(*args, **kwargs)
        target = self.plan.get(self.computation.number + 1)
        if target is None or self.error is not None:
            return func(*args, **kwargs)
        try:
            if name in SOFTMAXES:
                return self._softmax(func, args, kwargs, target)
            if name in fused.FUSED:
                return self._fused(func, args, kwargs, target)
            return self._products(func, args, kwargs, target)
        except ValueError as error:  # raised where the run has ended: no network catches it there
            self.error = error
            return func(*args, **kwargs)

    def _softmax(
        self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], target: _Target
    ) -> Tensor:
        logits, sides = self.computation.logits(args)
        out: Tensor = func(*args, **kwargs)
        order = [leaves(s) for s in (logits.groups, logits.rows, logits.columns)]
        weights = arranged(Factor(out, sides), [i for side in order for i in side])
        shape = weights.shape
        own = weights.reshape(len(logits.query), logits.query.shape[1], -1)
        mean = _sum_of_counted(own, target.counted, mean=True)
        changed = self._changed(
            own, logits, torch.arange(own.shape[1]), target, lambda: mean, normalized=True
        )
        return _back(changed.reshape(shape), order, sides, out)

    def _fused(
        self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], target: _Target
    ) -> Any:
        call = fused.call(func, args, kwargs)
        logits = self.computation.fused_logits(call)
        out, *rest = func(*args, **kwargs)
        more = call.query.shape[1] // call.key.shape[1]
        values = call.value.repeat_interleave(more, dim=1).flatten(0, 1).to(logits.query.dtype)
        rows = self._aggregated(logits, values, target, normalized=True)
        return (rows.reshape(out.shape).to(out.dtype), *rest)

    def _products(
        self, func: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], target: _Target
    ) -> Tensor:
        found = self.computation.products(args)
        out: Tensor = func(*args, **kwargs)
        if found is None:
            return out
        products, is_left = found
        values = value_of(products).to(products.logits.query.dtype)
        rows = self._aggregated(products.logits, values, target, normalized=False)
        rows = rows if is_left == (products.product is not None) else rows.mT
        return rows.reshape(out.shape).to(out.dtype)

    def _aggregated(
        self, logits: Logits, values: Tensor, target: _Target, *, normalized: bool
    ) -> Tensor:
        """Return values that are weighted with changed rows, a chunk of queries at a time."""
        count = logits.query.shape[1]
        step = max(1, CHUNK // max(1, logits.key.shape[0] * logits.key.shape[1]))
        chunks = torch.arange(count, device=values.device).split(step)
        kept: list[Tensor] = []

        def own_of(chunk: Tensor) -> Tensor:
            rows = logits.of(chunk)
            rows = rows.softmax(-1) if normalized else rows
            return rows.to(logits.query.dtype)

        def mean() -> Tensor:
            if not kept:
                counted = target.counted
                if counted is None:
                    counted = torch.ones(len(logits.query), count, dtype=torch.bool)
                counted = counted.to(values.device)
                total = sum(
                    _sum_of_counted(own_of(chunk), counted[:, chunk], mean=False)
                    for chunk in chunks
                )
                number = counted.sum(dim=1)[:, None, None].to(values)
                kept.append(torch.as_tensor(total) / number)
            return kept[0]

        return torch.cat(
            [
                self._changed(own_of(chunk), logits, chunk, target, mean, normalized=normalized)
                @ values
                for chunk in chunks
            ],
            dim=1,
        )

    def _changed(
        self,
        own: Tensor,
        logits: Logits,
        chosen: Tensor,
        target: _Target,
        mean: Callable[[], Tensor],
        *,
        normalized: bool,
    ) -> Tensor:
        """Return weights of which some groups are changed."""
        others = self.others.get(self.computation.number + 1)
        rows = Rows(own, logits, chosen, normalized, target.beside, mean, others, target.counted)
        changed = self.change(rows)
        if len(target.groups) == len(own):
            return changed
        groups = torch.tensor([g in target.groups for g in range(len(own))], device=own.device)
        return torch.where(groups[:, None, None], changed, own)


def _back(weights: Tensor, order: list[tuple[Any, ...]], sides: Sides, out: Tensor) -> Tensor:
    """Return weights in the order of sides that the network has them in."""
    indices = [i for side in order for i in side]
    wanted = [i for side in sides for i in leaves(side)]
    weights = weights.reshape([i.size for i in indices])
    weights = weights.permute([indices.index(i) for i in wanted])
    return weights.reshape(out.shape).to(out.dtype).contiguous()
