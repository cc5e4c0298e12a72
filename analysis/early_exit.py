"""One forward pass for the statistics of a network's blocks, no longer than they need."""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nonlocal_lens.analysis.capture import (
    attention_blocks,
    evaluating,
    recording,
)
from nonlocal_lens.analysis.clips import ClipSource
from nonlocal_lens.analysis.images import ImageSource
from nonlocal_lens.analysis.own_blocks import only_own_blocks_attend
from nonlocal_lens.analysis.prepared import prepared
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.running import run
from nonlocal_lens.analysis.same_places import Followed, followed, keep
from nonlocal_lens.analysis.vectors import Unattended, VectorDistances, vector_distances
from nonlocal_lens.models.blocks import AttentionBlock, Projections
from nonlocal_lens.models.blocks.frame_groups import FrameGroups
from nonlocal_lens.models.placement import brought_back, refuse_without_numbers
from nonlocal_lens.models.wrappers import unwrapped


class BlockObservation(NamedTuple):
    """What the blocks of a network did on one image or clip, and what became of it."""

    x: Tensor  # what the network was given
    records: tuple[AttentionRecord, ...]
    vectors: dict[str, VectorDistances | Unattended]  # by block; of foreign blocks there are none
    output: Tensor | None  # None where the pass ended before there was one


class _SeenError(Exception):
    """Every block has run: ends a forward pass."""


def observe_blocks(
    network: nn.Module, image: ImageSource | ClipSource, *, to_the_end: bool = True
) -> BlockObservation:
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
    network = unwrapped(network)
    pixels, x = prepared(network, image)
    refuse_without_numbers(network)
    height, width = pixels.shape[-3:-1]
    if not to_the_end and (known := followed(network, x, (height, width))) is not None:
        return _observed_again(network, x, (height, width), known)
    output = None
    ending = (
        _Ending(attention_blocks(network))
        if not to_the_end and only_own_blocks_attend(network)
        else None
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
            output = brought_back(run(network, x))
    if ending and len(records) == 1 and not vectors and ending.projections is not None:
        keep(network, x, (height, width), records[0], ending.projections)
    return BlockObservation(
        x, tuple(records), {**vectors, **(ending.unattended if ending else {})}, output
    )


def _observed_again(
    network: nn.Module, x: Tensor, image_hw: tuple[int, int], known: Followed
) -> BlockObservation:
    """Run a network until its only block would attend, whose tokens lie where they lay before."""
    block = network.get_submodule(known.name)
    assert isinstance(block, AttentionBlock)  # which is what was followed
    seen: list[tuple[AttentionRecord, Unattended]] = []

    def leave(_: nn.Module, args: tuple[Tensor, ...]) -> None:
        projections = block.project(args[0])
        record = known.record_of(block, projections, image_hw)
        seen.append((record, Unattended(block, args[0], projections.value[0])))
        raise _SeenError

    with ExitStack() as stack:
        stack.enter_context(evaluating(network))
        stack.enter_context(torch.no_grad())
        stack.callback(block.register_forward_pre_hook(leave).remove)
        with suppress(_SeenError):
            run(network, x)
    ((record, unattended),) = seen
    return BlockObservation(x, (record,), {record.block: unattended}, None)


class _Ending:
    """Lets a forward pass end with `_SeenError` when every one of some blocks has run.

    If the last one is a block of ours, the pass ends before it attends, and `unattended` has it.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.unattended: dict[str, Unattended] = {}
        self.projections: Projections | None = None  # of the block that is left unattended
        self._left = set(names)
        self._grouped: set[str] = set()

    def leave(self, name: str, block: AttentionBlock, x: Tensor, projections: Projections) -> None:
        """End the pass if a block that is about to attend is the last."""
        if self._left == {name} and name not in self._grouped and adds_what_it_attends_to(block):
            self.unattended[name] = Unattended(block, x, projections.value[0])
            self.projections = projections
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
                around = network.get_submodule(name.rpartition(".")[0])
                if isinstance(around, FrameGroups):  # has run when it has seen every group
                    self._grouped.add(name)
                    module = around
                hooks.callback(module.register_forward_hook(partial(strike, name)).remove)
            yield


def adds_what_it_attends_to(block: AttentionBlock) -> bool:
    """Return whether a block adds `restore(aggregate(...))` to its input, and does nothing else."""
    return type(block).forward is AttentionBlock.forward
