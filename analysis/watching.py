"""One forward pass for the statistics of a network's blocks, no longer than they need."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from analysis.capture import (
    attention_blocks,
    evaluating,
    foreign_blocks,
    prepared,
    recording,
)
from analysis.clips import ClipSource
from analysis.images import ImageSource
from analysis.record import AttentionRecord
from analysis.vectors import Unattended, VectorDistances, vector_distances
from models.blocks import AttentionBlock, Projections


class Watched(NamedTuple):
    """What the blocks of a network did on one image or clip, and what became of it."""

    x: Tensor  # what the network was given
    records: tuple[AttentionRecord, ...]
    vectors: dict[str, VectorDistances | Unattended]  # by block; of foreign blocks there are none
    output: Tensor | None  # None where the pass ended before there was one


class _SeenError(Exception):
    """Every block has run: ends a forward pass."""


def watch(
    network: nn.Module, image: ImageSource | ClipSource, *, to_the_end: bool = True
) -> Watched:
    """Run a network once and return what `degeneracy.measure` needs of every block.

    Args:
        network: As for `analysis.capture.capture`.
        image: An image or, for a network that looks at clips, a clip: as for `capture`.
        to_the_end: If not, the pass ends when every block has run once: what comes after the last
            one has no part in any statistic. The last one itself is only asked what it attends to,
            and left `Unattended`.

    Raises:
        ValueError: The image or clip cannot be used.
    """
    pixels, x = prepared(network, image)
    height, width = pixels.shape[-3:-1]
    output = None
    ending = (
        None if to_the_end else _Ending({**attention_blocks(network), **foreign_blocks(network)})
    )
    with ExitStack() as stack:
        stack.enter_context(evaluating(network))
        stack.enter_context(torch.no_grad())
        recorded = ending.leave if ending else None
        records = stack.enter_context(recording(network, (height, width), recorded))
        vectors = stack.enter_context(vector_distances(network))
        if ending:  # its hooks come last: they run after those that look
            stack.enter_context(ending.striking(network))
        with suppress(_SeenError):
            output = network(x)
    return Watched(x, tuple(records), {**vectors, **(ending.unattended if ending else {})}, output)


class _Ending:
    """Lets a forward pass end with `_SeenError` when every one of some blocks has run.

    If the last one is a block of ours, the pass ends before it attends, and `unattended` has it.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.unattended: dict[str, Unattended] = {}
        self._left = set(names)

    def leave(self, name: str, block: AttentionBlock, x: Tensor, projections: Projections) -> None:
        """End the pass if a block that is about to attend is the last."""
        if self._left == {name} and adds_what_it_attends_to(block):
            self.unattended[name] = Unattended(block, x, projections.value[0])
            raise _SeenError

    @contextmanager
    def striking(self, network: nn.Module) -> Iterator[None]:
        """Take blocks off the list when they have run, until the `with` ends."""

        def strike(name: str, *_: object) -> None:
            self._left.discard(name)
            if not self._left:
                raise _SeenError

        with ExitStack() as hooks:
            for name in self._left:
                module = network.get_submodule(name)
                hooks.callback(module.register_forward_hook(partial(strike, name)).remove)
            yield


def adds_what_it_attends_to(block: AttentionBlock) -> bool:
    """Return whether a block adds `restore(aggregate(...))` to its input, and does nothing else."""
    return type(block).forward is AttentionBlock.forward
