"""One operation, as the rules for labels see it."""

from typing import TYPE_CHECKING, Any

from torch import Tensor

from nonlocal_lens.analysis.tracing.joins import joined
from nonlocal_lens.analysis.tracing.label import Label, Shape, everywhere
from nonlocal_lens.analysis.tracing.operation import Operation
from nonlocal_lens.analysis.tracing.sources import Sources

if TYPE_CHECKING:
    from nonlocal_lens.analysis.tracing.provenance import Provenance


class Step:
    """An operation that has run, with its operands' labels."""

    def __init__(self, provenance: "Provenance", operation: Operation) -> None:
        self.provenance, self.operation = provenance, operation
        self.name, self.func = operation.op_name, operation.func
        self.args, self.kwargs = operation.args, operation.kwargs
        self.outputs, self.module_name = operation.outputs, operation.module_name

    @property
    def sources(self) -> Sources:
        """All sources of the run."""
        return self.provenance.sources

    @property
    def what(self) -> str:
        """What runs, in words: `mean` in blocks.3."""
        return f"`{self.name}` in {self.module_name or 'the network'}"

    def arg(self, position: int, name: str, default: Any = None) -> Any:
        """Return an argument by position or name."""
        if position < len(self.args):
            return self.args[position]
        return self.kwargs.get(name, default)

    def label(self, tensor: Any) -> Label | None:
        """Return an operand's label."""
        return self.provenance.label(tensor) if isinstance(tensor, Tensor) else None

    def joined(self) -> Label | None:
        """Return the label of the output if it is computed element by element."""
        return self.join(self.operation.tensors)

    def join(self, tensors: list[Tensor]) -> Label | None:
        """Return the label of what is computed of some tensors, element by element."""
        labelled = [(label, own_shape(x)) for x in tensors if (label := self.label(x)) is not None]
        if not labelled:
            return None
        return joined(self.sources, labelled, self.outputs[0].ndim, self.what)

    def unknown(self, why: str) -> list[Label | None]:
        """Return labels that say why nothing is known of the outputs."""
        number = self.sources.note("unknown", why)
        return [everywhere(self.sources, number, x.ndim) for x in self.outputs]


def own_shape(x: Tensor) -> Shape:
    """Return a tensor's shape with length 1 where all is one element, seen again and again."""
    return tuple(1 if step == 0 else size for size, step in zip(x.shape, x.stride(), strict=True))
