"""Readers for what no tracing can know: what others register says what a module attends to.

Attention is read from what a network computes (`analysis.tracing`), with nothing known of its
modules. A reader is for modules whose computation hides it: a kernel of their own, another process.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from nonlocal_lens.analysis.extensions import ADAPTERS as ADAPTERS_OF_OTHERS
from nonlocal_lens.analysis.extensions import load_extensions
from nonlocal_lens.models.blocks import Reach


@dataclass(frozen=True, eq=False)
class Heads:
    """What a block's heads made of one picture, before any softmax.

    Where queries and keys lie is followed from the pixels to these tensors themselves: they must be
    made of the module's inputs by torch's operations.
    """

    query: Float[Tensor, "head query_pos channels"]
    key: Float[Tensor, "head key_pos channels"]
    scale: float
    unary: Float[Tensor, "head key_pos"] | None = None
    form: str = "embedded_gaussian"
    coupling: str = "coupled"
    pairwise_gain: float = 1.0
    whitened: bool = True
    reach: Reach | None = None


@dataclass(frozen=True)
class Call:
    """One call of a block: what it got, and what it gave."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any

    @property
    def x(self) -> Tensor:
        """Return the first input, given by position or by name."""
        return next(self._tensors())

    @property
    def own(self) -> Tensor:
        """Return the output, or the first of several."""
        output: Tensor = self.output[0] if isinstance(self.output, tuple) else self.output
        return output

    def _tensors(self) -> Iterator[Tensor]:
        given = (*self.args, *self.kwargs.values())
        return (value for value in given if isinstance(value, Tensor))


class UnreadableBlockError(ValueError):
    """A block computes something that a record cannot hold: to be raised by readers."""


Reader = Callable[[nn.Module, Call], Heads]

ADAPTERS: list[tuple[Callable[[nn.Module], bool], Reader]] = []
"""Which modules a reader is for, and the reader; the last registered is asked first."""


def register(recognizes: Callable[[nn.Module], bool]) -> Callable[[Reader], Reader]:
    """Return a decorator that makes a function the reader for some modules.

    The function gets the module and a `Call` of it and returns its `Heads`, in any precision and on
    any device; it may run the module's layers again. What it says counts instead of what the module
    computed, and is held against that wherever attention was found in it: if the two differ, the
    module is left out. Nobody is asked about layers of torch's own that hold no others. A package
    that has a module with such functions as an entry point of the group `nonlocal_lens.adapters`
    need not be imported.

    >>> @register(lambda module: isinstance(module, MyAttention))
    ... def read_my_attention(module, call):
    ...     query, key = module.to_query(call.x[0]), module.to_key(call.x[0])
    ...     return Heads(query[None], key[None], scale=query.shape[-1] ** -0.5)
    """

    def registered(reader: Reader) -> Reader:
        ADAPTERS.insert(0, (recognizes, reader))
        return reader

    return registered


def reader_for(module: nn.Module) -> Reader | None:
    """Return the reader for a module, or None."""
    load_extensions(ADAPTERS_OF_OTHERS)
    if not ADAPTERS or is_plain_layer(module):
        return None
    return next((reader for knows, reader in ADAPTERS if _recognized(knows, module)), None)


def is_plain_layer(module: nn.Module) -> bool:
    """Return whether a module is torch's own and holds no others: most are, and none attends."""
    return type(module).__module__.startswith("torch.nn.modules.") and not any(module.children())


def _recognized(recognizes: Callable[[nn.Module], bool], module: nn.Module) -> bool:
    """Return whether a reader is for a module; one that fails to say is not."""
    try:
        return bool(recognizes(module))
    except Exception:  # of any other package: nobody's network is to end by it
        return False
