"""One tensor operation of a run, as observers are told of it."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from torch import Tensor


class Operation(NamedTuple):
    """A tensor operation that has just run.

    Attributes:
        op_name: Its name without overload, as "add" or "native_layer_norm"; one that writes into
            its first operand ends in "_".
        func: What ran.
        args: Its operands. Of one that writes into an operand they hold the new values.
        kwargs: Its operands by name.
        outputs: The tensors that it gave, in order. An operation that writes into its operand gives
            that very one.
        module_name: The innermost module that was running, as `named_modules` calls it.
        tensors: All operands that are tensors, those in lists too.
    """

    op_name: str
    func: Any
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    outputs: tuple[Tensor, ...]
    module_name: str
    tensors: list[Tensor]

    def named(self, op_name: str, kwargs: Mapping[str, Any]) -> "Operation":
        """Return the same under another name, with other operands by name."""
        tensors = tensors_in((*self.args, *kwargs.values()))
        return self._replace(op_name=op_name, kwargs=kwargs, tensors=tensors)


def out_of_place(op_name: str) -> str:
    """Return the name of what gives the same without writing into its operand."""
    return op_name[:-1] if op_name.endswith("_") else op_name


def tensors_in(values: Iterable[Any]) -> list[Tensor]:
    """Return all tensors among some values, those in lists too."""
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, (list, tuple)):
            found += tensors_in(value)
    return found
