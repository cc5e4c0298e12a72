"""One forward pass for the statistics of a network's blocks, no longer than they need."""

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from analysis.adapters import foreign_preprocess
from analysis.capture import attention_blocks, evaluating, foreign_blocks, recording
from analysis.images import ImageSource, read_image
from analysis.record import AttentionRecord
from analysis.vectors import VectorDistances, vector_distances


class Watched(NamedTuple):
    """What the blocks of a network did on one image, and what became of it."""

    records: tuple[AttentionRecord, ...]
    vectors: dict[str, VectorDistances]  # by block; of foreign blocks there are none
    output: Tensor | None  # None where the pass ended before there was one


class _SeenError(Exception):
    """Every block has run: ends a forward pass."""


def watch(network: nn.Module, image: ImageSource, *, to_the_end: bool = True) -> Watched:
    """Run a network on an image and return what `degeneracy.measure` needs of every block.

    Args:
        network: As for `analysis.capture.capture`.
        image: See `analysis.images.read_image`.
        to_the_end: If not, the pass ends when every block has run once: what comes after the last
            one has no part in any statistic.

    Raises:
        ValueError: The image cannot be used.
    """
    pixels = read_image(image)
    preprocess = getattr(network, "preprocess", None) or foreign_preprocess(network)
    x = preprocess(pixels)
    output = None
    with ExitStack() as stack:
        stack.enter_context(evaluating(network))
        stack.enter_context(torch.no_grad())
        records = stack.enter_context(recording(network, pixels.shape[:2]))
        vectors = stack.enter_context(vector_distances(network))
        if not to_the_end:  # its hooks come last: they run after those that look
            blocks = {**attention_blocks(network), **dict(foreign_blocks(network))}
            stack.enter_context(_ending_after(network, blocks))
        with suppress(_SeenError):
            output = network(x)
    return Watched(tuple(records), vectors, output)


@contextmanager
def _ending_after(network: nn.Module, names: Collection[str]) -> Iterator[None]:
    """Let a forward pass end with `_SeenError` when all modules of some names have run."""
    left = set(names)

    def strike(name: str, *_: object) -> None:
        left.discard(name)
        if not left:
            raise _SeenError

    with ExitStack() as hooks:
        for name in names:
            module = network.get_submodule(name)
            hooks.callback(module.register_forward_hook(partial(strike, name)).remove)
        yield
