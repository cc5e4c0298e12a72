"""What a run labelled, step by step: its network's next run on inputs of the same sizes reuses it.

Where data comes from depends on which operations run, on sizes and on numbers that tell places, as
an index does. Only what no such number has a part in is recalled, and only as long as each
operation is given what it was given before; from there on labels are made anew.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary, ref

import torch
from torch import Tensor, nn

from nonlocal_lens.analysis.tracing.copies import copies
from nonlocal_lens.analysis.tracing.label import Label, Shape
from nonlocal_lens.analysis.tracing.operation import Operation
from nonlocal_lens.analysis.tracing.sources import Sources

Labels = list[Label | None]
Copies = dict[tuple[Label, Shape], int | None]
Parameters = dict[int, tuple[str, Tensor]]
"""Identity of a parameter or buffer -> its name, and itself."""

FRACTIONS = {
    kind
    for kind in vars(torch).values()
    if isinstance(kind, torch.dtype) and (kind.is_floating_point or kind.is_complex)
}
"""Types of numbers that tell no places."""

MOST_BYTES = 1 << 26  # of labels that are written out
MOST_SOURCES = 1 << 16  # of networks whose places depend on values


class _Step(NamedTuple):
    described: list[Any] | None  # what ran, but for the tensors' numbers; None if these matter
    operands: Labels
    outputs: Labels


class Recall:
    """The labels of a run, in order, while it runs and until the next.

    Attributes:
        sources: What the labels are of.
        own: Labels of parameters, by identity.
    """

    def __init__(self, parameters: Parameters) -> None:
        self.sources = Sources()
        self.own: dict[int, Label | None] = {}
        self._copies: Copies = {}
        self._copies_before: Copies = {}
        self._parameters = {key: (name, ref(x)) for key, (name, x) in parameters.items()}
        self._inputs: list[Label] = []
        self._before: list[_Step] = []
        self._steps: list[_Step] = []
        self._bytes = 0

    def fits(self, parameters: Parameters) -> bool:
        """Return whether these are the parameters that it knows."""
        return self._parameters.keys() == parameters.keys() and all(
            name == parameters[key][0] and known() is parameters[key][1]
            for key, (name, known) in self._parameters.items()
        )

    def begin(self, inputs: list[Label]) -> list[Label]:
        """Begin a run, and return the labels of its inputs: those of the last one, if they are."""
        same = len(inputs) == len(self._inputs) and all(
            ours.alike(theirs) for ours, theirs in zip(inputs, self._inputs, strict=True)
        )
        self._before, self._steps = self._steps if same else [], []
        self._copies_before, self._copies = self._copies, {}
        if not same:
            self._inputs = inputs
        return self._inputs

    def outputs(self, described: list[Any] | None, operands: Labels) -> Labels | None:
        """Return the labels of what the next operation gives; None if it is not known."""
        at = len(self._steps)
        if described is None or at >= len(self._before):
            return None
        step = self._before[at]
        if step.described != described or step.operands != operands:  # labels are equal to no other
            return None
        self._steps.append(step)
        return step.outputs

    def note(self, described: list[Any] | None, operands: Labels, outputs: Labels) -> None:
        """Keep the labels of what the next operation gave."""
        self._steps.append(_Step(described, operands, outputs))
        self._bytes += sum(
            track.nbytes for label in outputs if label is not None for track in label.written or ()
        )

    def copies(self, label: Label, shape: Shape, channels: int) -> int | None:
        """Return how often a layer's input holds the same tokens, see `copies.copies`."""
        asked = label, shape
        if asked not in self._copies:
            before = self._copies_before
            self._copies[asked] = (
                before[asked] if asked in before else copies(label, shape, channels)
            )
        return self._copies[asked]

    def keep(self, network: nn.Module) -> None:
        """Keep it for the network's next run, if it does not take much memory."""
        self._before = []
        if self._bytes < MOST_BYTES and len(self.sources) < MOST_SOURCES:
            _KEPT[network] = self


def taken(network: nn.Module, parameters: Parameters) -> Recall:
    """Return what is recalled of a network: nobody else has it meanwhile."""
    kept = _KEPT.pop(network, None)
    return kept if kept is not None and kept.fits(parameters) else Recall(parameters)


_KEPT: WeakKeyDictionary[nn.Module, Recall] = WeakKeyDictionary()


def described(operation: Operation) -> list[Any] | None:
    """Return all that labels can depend on but operands' labels; None if values are among it.

    Numbers of no fraction are those that tell places, and so are masks.
    """
    _, func, args, kwargs, outputs, module_name, _ = operation
    parts: list[Any] = [func, module_name]
    if not _describe(args, parts) or not _describe(outputs, parts):
        return None
    for name, value in kwargs.items():
        if name != "out" and not _describe((name, value), parts):
            return None
    return parts


def _describe(values: Iterable[Any], parts: list[Any]) -> bool:
    """Add what is to be said of some values; return whether it is all that matters of them."""
    for value in values:
        if isinstance(value, Tensor):
            if value.dtype not in FRACTIONS:
                return False
            parts += (value.shape, value.stride())
        elif isinstance(value, (list, tuple)):
            parts.append(len(value))
            if not _describe(value, parts):
                return False
        else:
            parts.append(value)
    return True
