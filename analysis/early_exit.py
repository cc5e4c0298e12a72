"""One forward pass for the statistics of a network's blocks, no longer than they need."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nonlocal_lens.analysis.capture import (
    attention_blocks,
    evaluating,
    recording_batch,
)
from nonlocal_lens.analysis.clips import ClipSource
from nonlocal_lens.analysis.images import ImageSource
from nonlocal_lens.analysis.out_of_memory import in_halves, or_on_processor
from nonlocal_lens.analysis.own_blocks import only_own_blocks_attend
from nonlocal_lens.analysis.prepared import prepared
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.running import run
from nonlocal_lens.analysis.same_places import Followed, followed, keep
from nonlocal_lens.analysis.together import PreparedImage, prepared_together
from nonlocal_lens.analysis.vectors import (
    Unattended,
    VectorDistances,
    vector_distances_of_batch,
)
from nonlocal_lens.models.blocks import AttentionBlock, Projections
from nonlocal_lens.models.blocks.frame_groups import FrameGroups
from nonlocal_lens.models.placement import brought_back, placed, refuse_without_numbers
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

    def observed(x: Tensor) -> BlockObservation:
        if not to_the_end and (known := followed(network, x, (height, width))) is not None:
            return _observed_again(network, x, (height, width), known)
        return _observed(network, x, (height, width), to_the_end=to_the_end)[0]

    return or_on_processor(network, x, observed)


def observe_blocks_together(
    network: nn.Module, images: Sequence[ImageSource]
) -> list[BlockObservation]:
    """Do what `observe_blocks` does for each of some images, in one pass no longer than needed.

    Args:
        network: See `analysis.together.can_go_together`.
        images: Of one size.

    Raises:
        ValueError: An image cannot be used, or sizes differ.
    """
    network = unwrapped(network)
    given = prepared_together(network, images)
    height, width = given[0].pixels.shape[:2]

    def observed(some: Sequence[PreparedImage]) -> list[BlockObservation]:
        x = placed(network, torch.cat([one.x for one in some]))

        def of_all(x: Tensor) -> list[BlockObservation]:
            return _observed(network, x, (height, width), to_the_end=False)

        return of_all(x) if len(some) > 1 else or_on_processor(network, x, of_all)

    return in_halves(given, observed, f"A batch for {type(network).__name__}")


def _observed(
    network: nn.Module, x: Tensor, image_hw: tuple[int, int], *, to_the_end: bool
) -> list[BlockObservation]:
    """Return what the blocks of a network did on each picture of a batch."""
    count, output = len(x), None
    ending = (
        _Ending(attention_blocks(network))
        if not to_the_end and only_own_blocks_attend(network)
        else None
    )
    with ExitStack() as stack:
        stack.enter_context(evaluating(network))
        stack.enter_context(torch.no_grad())
        recorded = ending.leave if ending else None
        records = stack.enter_context(recording_batch(network, image_hw, count, recorded))
        vectors = stack.enter_context(vector_distances_of_batch(network, count))
        if ending:  # its hooks come last: they run after those that look
            stack.enter_context(ending.striking(network))
        with suppress(_SeenError):
            output = brought_back(run(network, x))
    alone = count == 1 and len(records[0]) == 1 and not vectors[0]
    if alone and ending and ending.projections is not None:
        keep(network, x, image_hw, records[0][0], ending.projections)
    return [
        BlockObservation(
            x[item : item + 1],
            tuple(of_item),
            {**vectors[item], **(ending.unattended(item) if ending else {})},
            output if count == 1 else None,
        )
        for item, of_item in enumerate(records)
    ]


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

    If the last one is a block of ours, the pass ends before it attends, and `unattended` tells it.
    """

    def __init__(self, names: Iterable[str]) -> None:
        self.projections: Projections | None = None  # of the block that is left unattended
        self._unattended: tuple[str, AttentionBlock, Tensor] | None = None
        self._left = set(names)
        self._grouped: set[str] = set()

    def leave(self, name: str, block: AttentionBlock, x: Tensor, projections: Projections) -> None:
        """End the pass if a block that is about to attend is the last."""
        if self._left == {name} and name not in self._grouped and adds_what_it_attends_to(block):
            self._unattended, self.projections = (name, block, x), projections
            raise _SeenError

    def unattended(self, item: int) -> dict[str, Unattended]:
        """Return the block that is left unattended, if any is, with one item of its input."""
        if self._unattended is None or self.projections is None:
            return {}
        name, block, x = self._unattended
        value = self.projections.value[item]
        return {name: Unattended(block, x[item : item + 1], value)}

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
