"""What an adapter tells of a block that is not of this package, and the list of all adapters."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

MAX_PREFIX_TOKENS = 8


@dataclass(frozen=True, eq=False)
class Heads:
    """What a block's heads made of one image, before any softmax.

    A shape is that of the grid which positions flatten, (H, W) or (T, H, W). None says that they
    are tokens of the image, after some for the class and such: rows and columns are then inferred,
    and the other tokens are left out.
    """

    query: Float[Tensor, "head query_pos channels"]
    key: Float[Tensor, "head key_pos channels"]
    scale: float
    query_shape: tuple[int, ...] | None = None
    key_shape: tuple[int, ...] | None = None
    unary: Float[Tensor, " key_pos"] | None = None
    form: str = "embedded_gaussian"
    coupling: str = "coupled"
    pairwise_gain: float = 1.0
    whitened: bool = True


@dataclass(frozen=True)
class Call:
    """One call of a block: what it got, and what it gave."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any

    @property
    def x(self) -> Tensor:
        """Return the first input, given by position or by name."""
        return next(value for value in (*self.args, *self.kwargs.values()) if _is_tensor(value))

    @property
    def more_tensors(self) -> bool:
        """Return whether there are inputs beside the first: masks, other keys, positions."""
        return sum(map(_is_tensor, (*self.args, *self.kwargs.values()))) > 1


class UnreadableBlockError(ValueError):
    """A block computes something that a record cannot hold, or that its attributes do not tell."""


Reader = Callable[[nn.Module, Call], Heads]

ADAPTERS: list[tuple[Callable[[nn.Module], bool], Reader]] = []
"""Which modules an adapter is for, and how it reads them; the last registered is asked first."""


def register(recognizes: Callable[[nn.Module], bool]) -> Callable[[Reader], Reader]:
    """Return a decorator that makes a function the adapter for some modules.

    The function gets the module and a `Call` of it and returns its `Heads`, in any precision and on
    any device; it may run the module's layers again, without gradients and without hooks.

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
    """Return the adapter for a module, or None."""
    return next((reader for recognizes, reader in ADAPTERS if recognizes(module)), None)


def has(module: nn.Module, *names: str) -> bool:
    """Return whether a module has attributes of these names that are not None."""
    return all(getattr(module, name, None) is not None for name in names)


def split_heads(x: Float[Tensor, "pos width"], heads: int) -> Float[Tensor, "head pos channels"]:
    """Return the channels of every head by themselves."""
    return x.unflatten(1, (heads, -1)).transpose(0, 1)


def token_grid(tokens: int, input_hw: tuple[int, int]) -> tuple[int, int]:
    """Return the rows and columns of the square patches that the last of some tokens stand for.

    Raises:
        UnreadableBlockError: No patch size leaves a few tokens at most for the class and the like.
    """
    height, width = input_hw
    shapes = [(height // side, width // side) for side in range(2, min(input_hw) + 1)]
    fitting = [shape for shape in shapes if shape[0] * shape[1] <= tokens]
    rows, columns = max(fitting, key=lambda shape: shape[0] * shape[1], default=(0, 0))
    if not 0 <= tokens - rows * columns <= MAX_PREFIX_TOKENS or not rows:
        raise UnreadableBlockError(
            f"its {tokens} tokens are no grid of square patches of an input of {height} x {width} "
            f"pixels after at most {MAX_PREFIX_TOKENS} others"
        )
    return rows, columns


def _is_tensor(value: object) -> bool:
    return isinstance(value, Tensor)
