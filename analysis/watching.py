"""One forward pass for the statistics of a network's blocks, no longer than they need."""

from collections.abc import Collection, Iterator
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
from models.blocks import AttentionBlock


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
    unattended: dict[str, Unattended] = {}
    with ExitStack() as stack:
        stack.enter_context(evaluating(network))
        stack.enter_context(torch.no_grad())
        records = stack.enter_context(recording(network, (height, width)))
        vectors = stack.enter_context(vector_distances(network))
        if not to_the_end:  # its hooks come last: they run after those that look
            blocks = {**attention_blocks(network), **dict(foreign_blocks(network))}
            stack.enter_context(_ending_after(network, blocks, unattended))
        with suppress(_SeenError):
            output = network(x)
    return Watched(x, tuple(records), {**vectors, **unattended}, output)


@contextmanager
def _ending_after(
    network: nn.Module, names: Collection[str], unattended: dict[str, Unattended]
) -> Iterator[None]:
    """Let a forward pass end with `_SeenError` when all modules of some names have run.

    If the last one is a block of ours, the pass ends before it attends, and `unattended` has it.
    """
    left = set(names)

    def leave(name: str, block: AttentionBlock, inputs: tuple[Tensor]) -> None:
        if left == {name}:
            unattended[name] = Unattended(block, inputs[0], block.project(inputs[0]).value[0])
            raise _SeenError

    def strike(name: str, *_: object) -> None:
        left.discard(name)
        if not left:
            raise _SeenError

    with ExitStack() as hooks:
        for name in names:
            module = network.get_submodule(name)
            hooks.callback(module.register_forward_hook(partial(strike, name)).remove)
            if isinstance(module, AttentionBlock) and adds_what_it_attends_to(module):
                hooks.callback(module.register_forward_pre_hook(partial(leave, name)).remove)
        yield


def adds_what_it_attends_to(block: AttentionBlock) -> bool:
    """Return whether a block adds `restore(aggregate(...))` to its input, and does nothing else."""
    return type(block).forward is AttentionBlock.forward
