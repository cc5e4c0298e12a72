"""Rows of attention as a network itself computed them: every softmax of a plain run, listened to.

Nothing here knows how attention is traced. The network runs as if nobody looked, only that fused
attention is written out; a row of a record must then be among the rows of these softmaxes.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode

SOFTMAXES = ("aten::_softmax", "aten::_safe_softmax", "aten::softmax.int")
PRODUCTS = ("aten::bmm", "aten::mm", "aten::div.Tensor", "aten::mul.Tensor", "aten::relu")
NEAREST = 16
"""Rows that are looked at whole, for one that is looked for."""


class Listening(TorchDispatchMode):
    """Looks for rows among all that softmaxes give out, whatever the order of their weights.

    Attributes:
        errors: Of each row that is looked for, the largest difference from the nearest row that was
            computed, over its largest weight.
    """

    def __init__(self, rows: Sequence[Float[Tensor, " keys"]], names: Sequence[str]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._names = names
        self._rows = [_sorted(row[row != 0].double()) for row in rows]
        self.errors = [float("inf")] * len(rows)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Run an operation, and look at what a softmax gives out."""
        output = func(*args, **(kwargs or {}))
        name = func._schema.name + ("." + func._overloadname).replace(".default", "")
        if name in self._names and isinstance(output, Tensor) and output.is_floating_point():
            if name in SOFTMAXES:
                self._look(output.detach().movedim(args[1], -1).flatten(0, -2))
            elif output.ndim > 1:
                self._look(output.detach().flatten(0, -2))
                self._look(output.detach().mT.flatten(0, -2))
        return output

    def _look(self, computed: Float[Tensor, "rows keys"]) -> None:
        computed = computed.double()
        squares = computed.square().sum(dim=1)
        for index, row in enumerate(self._rows):
            if computed.shape[1] < len(row):
                continue
            apart = (squares - row.square().sum()).abs().nan_to_num(nan=torch.inf)
            nearest = apart.topk(min(NEAREST, len(apart)), largest=False).indices
            found = _sorted(computed[nearest])
            found[:, : len(row)] -= row  # and keys that nobody looks at, as padding, have nothing
            error = float((found.abs().amax(dim=1) / row[0].abs()).nan_to_num(nan=torch.inf).min())
            self.errors[index] = min(self.errors[index], error)


def _sorted(rows: Float[Tensor, "*rows keys"]) -> Float[Tensor, "*rows keys"]:
    order = rows.abs().argsort(dim=-1, descending=True)
    return rows.gather(-1, order)


@contextmanager
def written_out() -> Iterator[None]:
    """Let attention be computed softmax by softmax, by no fused kernel."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


def errors(
    rows: Sequence[Float[Tensor, " keys"]], run: Callable[[], object], *, products: bool = False
) -> list[float]:
    """Return how far rows are from the nearest ones that a network computes, relative.

    Args:
        rows: Rows of attention, in any order of their keys; keys that are not looked at have 0.
        run: Runs the network.
        products: Whether to look among products, too: of attention without a softmax.
    """
    listening = Listening(rows, SOFTMAXES + (PRODUCTS if products else ()))
    with torch.no_grad(), written_out(), listening:
        run()
    return listening.errors
