"""Where what a block attended to is added to what came past it: what to keep to turn a block off.

What comes of weighted values goes through an output layer, norms and gains, and is then added to a
tensor that it has no part in. Without the block that tensor would be all there is.
"""

from collections.abc import Collection, Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from nonlocal_lens.analysis.tracing.by_identity import ByIdentity
from nonlocal_lens.analysis.tracing.computation import Computation
from nonlocal_lens.analysis.tracing.mode import Observer
from nonlocal_lens.analysis.tracing.operation import Operation, out_of_place
from nonlocal_lens.analysis.tracing.running import Running

SUMS = {"add", "sub"}
ENDS = {"cat", "stack", "bmm", "baddbmm"}
"""Operations after which a tensor is more than what one block made."""


class Residual(NamedTuple):
    """A sum of what blocks made and what came past them."""

    past: int  # which of its operands no block has a part in
    blocks: frozenset[int]  # ids of what was found, `Attended`, that has a part in the other


class Residuals(Observer):
    """Follows what blocks attended to, up to where it is added to something else.

    Args:
        computation: Finds what attends; is told of every operation before this.

    Attributes:
        sums: Which of the sums, counted from 0 -> its operands.
    """

    def __init__(self, computation: Computation) -> None:
        self._computation = computation

    def begin(
        self,
        network: nn.Module,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        running: Running,
    ) -> None:
        """Forget everything: a run begins."""
        self.sums: dict[int, Residual] = {}
        self._count = -1
        self._found: set[int] = set()
        self._after: ByIdentity[frozenset[int]] = ByIdentity()

    def seen(self, operation: Operation) -> None:
        """Follow one operation."""
        name = out_of_place(operation.op_name)
        self._count += name in SUMS
        found = {id(attended) for attended in self._computation.found}
        blocks = found - self._found
        self._found |= found
        if not blocks and name not in ENDS:
            for x in operation.tensors:
                blocks = blocks | self._after.get(x, frozenset())
        if not blocks:
            return
        if name in SUMS and (past := self._past(operation)) is not None:
            self.sums[self._count] = Residual(past, frozenset(blocks))
            blocks = set()
        for out in operation.outputs:
            self._after.set(out, frozenset(blocks))

    def without(self, blocks: Collection[int]) -> tuple[dict[int, int], set[int]]:
        """Return what to do at sums so that blocks are left out, and which blocks that leaves out.

        A sum that other blocks have a part in, too, stays as it is.

        Args:
            blocks: Ids of what was found, `Attended`.

        Returns:
            Which of the sums -> which of its operands stays; and ids of blocks.
        """
        left = {at: one for at, one in self.sums.items() if one.blocks <= set(blocks)}
        return (
            {at: one.past for at, one in left.items()},
            {block for one in left.values() for block in one.blocks},
        )

    def _past(self, summing: Operation) -> int | None:
        """Return which operand of a sum no block has a part in; None if there is none."""
        sides = summing.args[:2]
        if len(sides) < 2 or not all(isinstance(x, Tensor) for x in sides):
            return None
        past = [at for at, x in enumerate(sides) if not self._after.get(x)]
        if len(past) != 1 or sides[past[0]].shape != summing.outputs[0].shape:
            return None
        takes_away = out_of_place(summing.op_name) == "sub"
        if past == [1] and (takes_away or summing.kwargs.get("alpha", 1) != 1):
            return None
        return past[0]


def past_block(op_name: str, args: tuple[Any, ...], past: int) -> Tensor:
    """Return what a sum gives without the block: its other operand, written in place if it is."""
    left, right = args[:2]
    if op_name.endswith("_"):
        written: Tensor = left if past == 0 else left.copy_(right)
        return written
    one: Tensor = args[past]
    return one.to(torch.promote_types(left.dtype, right.dtype), copy=True)
