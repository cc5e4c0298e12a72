"""What an adapter tells of a block that is not of this package, and the list of all adapters."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from models.blocks import Reach

MAX_PREFIX_TOKENS = 8
TOLERANCE = 1e-4  # of what a block makes, relative, in single precision
PROBES = 32  # queries whose output is rebuilt to tell how a block computes


@dataclass(frozen=True, eq=False)
class Heads:
    """What a block's heads made of one image, before any softmax.

    A shape is that of the grid which positions flatten, (H, W) or (T, H, W). None says that they
    are tokens of the image, after some for the class and such: rows and columns are then inferred,
    and the other tokens are left out.

    `keys_at` is how far keys lie apart and where the first one lies, in cells of queries from the
    middle of the first. None says that keys are whole windows of cells, one after another.
    """

    query: Float[Tensor, "head query_pos channels"]
    key: Float[Tensor, "head key_pos channels"]
    scale: float
    query_shape: tuple[int, ...] | None = None
    key_shape: tuple[int, ...] | None = None
    unary: Float[Tensor, "*head key_pos"] | None = None  # of every head, or of all together
    form: str = "embedded_gaussian"
    coupling: str = "coupled"
    pairwise_gain: float = 1.0
    whitened: bool = True
    reach: Reach | None = None
    keys_at: tuple[float, float] | None = None


@dataclass(frozen=True)
class Call:
    """One call of a block: what it got, and what it gave."""

    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    output: Any
    images: int | None = None  # that the network was given; None where that is unknown

    @property
    def x(self) -> Tensor:
        """Return the first input, given by position or by name."""
        return next(self._tensors())

    @property
    def own(self) -> Tensor:
        """Return the output, or the first of several."""
        output: Tensor = self.output[0] if isinstance(self.output, tuple) else self.output
        return output

    @property
    def more_tensors(self) -> bool:
        """Return whether there are inputs beside the first: masks, other keys, positions."""
        return any(x is not self.x for x in self._tensors())

    def refuse_windows(self) -> None:
        """Raise UnreadableBlockError if the block was not given whole images, each once."""
        if self.images is not None and len(self.x) != self.images:
            raise UnreadableBlockError(
                f"it was given {len(self.x)} inputs for {self.images} of the network's: it attends "
                "inside windows or groups, and where they lie only its caller knows"
            )

    def _tensors(self) -> Iterator[Tensor]:
        given = (*self.args, *self.kwargs.values())
        return (value for value in given if isinstance(value, Tensor))


class UnreadableBlockError(ValueError):
    """A block computes something that a record cannot hold, or that its attributes do not tell."""


Reader = Callable[[nn.Module, Call], Heads]

ADAPTERS: list[tuple[Callable[[nn.Module], bool], Reader]] = []
"""Which modules an adapter is for, and how it reads them; the last registered is asked first."""


def register(recognizes: Callable[[nn.Module], bool]) -> Callable[[Reader], Reader]:
    """Return a decorator that makes a function the adapter for some modules.

    The function gets the module and a `Call` of it and returns its `Heads`, in any precision and on
    any device; it may run the module's layers again, without gradients and without hooks. Nobody
    is asked about layers of torch's own that hold no others.

    >>> @register(lambda module: isinstance(module, MyAttention))
    ... def read_my_attention(module, call):
    ...     query, key = module.to_query(call.x[0]), module.to_key(call.x[0])
    ...     return Heads(query[None], key[None], scale=query.shape[-1] ** -0.5)
    """

    def registered(reader: Reader) -> Reader:
        ADAPTERS.insert(0, (recognizes, reader))
        return reader

    return registered


def is_plain_layer(module: nn.Module) -> bool:
    """Return whether a module is torch's own and holds no others: most are, and none attends."""
    return type(module).__module__.startswith("torch.nn.modules.") and not any(module.children())


def reader_for(module: nn.Module) -> Reader | None:
    """Return the adapter for a module, or None."""
    if is_plain_layer(module):  # to ask all adapters takes longer than many a layer
        return None
    return next((reader for recognizes, reader in ADAPTERS if recognizes(module)), None)


def has(module: nn.Module, *names: str) -> bool:
    """Return whether a module has attributes of these names that are not None."""
    return all(getattr(module, name, None) is not None for name in names)


def split_heads(x: Float[Tensor, "pos width"], heads: int) -> Float[Tensor, "head pos channels"]:
    """Return the channels of every head by themselves."""
    by_head: Tensor = x.unflatten(1, (heads, -1)).transpose(0, 1)
    return by_head


def probed(positions: int, like: Tensor) -> Int[Tensor, " probes"]:
    """Return a few of some positions, evenly spaced, to rebuild the output of."""
    return torch.linspace(0, positions - 1, min(PROBES, positions), device=like.device).long()


def proved_by(
    heads: Heads,
    value: Float[Tensor, "head key_pos channels"],
    finish: Callable[[Tensor, Tensor], Tensor],
    own: Float[Tensor, "query_pos width"],
) -> Heads:
    """Return what was read if it leads to the block's own output.

    What counts is what attention adds: an output that would nearly be the same without it, as that
    of a block with its residual, proves nothing by being nearly met.

    Args:
        heads: What was read of the block.
        value: Its values.
        finish: What it makes of the aggregated values (probes, width) of some queries (probes).
        own: What it made.

    Raises:
        UnreadableBlockError: It leads elsewhere.
    """
    queries = probed(heads.query.shape[1], value)
    logits = heads.scale * heads.query[:, queries] @ heads.key.mT
    if heads.reach is not None:
        logits = logits.masked_fill(~heads.reach.sees(queries.cpu()).to(value.device), -torch.inf)
    attended = (logits.softmax(dim=2) @ value).transpose(0, 1).flatten(1)
    output = finish(attended, queries)
    own = own[queries]
    if output.shape == own.shape:
        added = (own - finish(torch.zeros_like(attended), queries)).norm()
        rounding = 4 * torch.finfo(own.dtype).eps
        if (output - own).norm() <= max(TOLERANCE, rounding) * added + rounding * own.norm():
            return heads
    raise UnreadableBlockError(
        "softmax of the scaled products of its queries and keys does not lead to its own output"
    )


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
