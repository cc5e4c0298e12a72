"""A network's only block, on picture after picture: where its tokens lie is followed once.

Places depend on how a network is built and on the size of what it is given, not on what a picture
shows: in a network of this package's blocks and torch's own layers nothing is decided by a number.
What a block projects is recorded of every picture.
"""

from dataclasses import fields
from operator import is_
from typing import Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.analysis.own_blocks import record_of
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.tracing.layout import Sides
from nonlocal_lens.analysis.tracing.placed import Placed
from nonlocal_lens.models.blocks import AttentionBlock, Projections

SIZES = 8
"""Of so many sizes of inputs places are kept for every network."""

Size = tuple[torch.Size, tuple[int, int]]


class Followed(NamedTuple):
    """A block whose tokens were followed, where they lie, and how the network was built then."""

    name: str
    sides: Sides
    built: "_Built"

    def record_of(
        self, block: AttentionBlock, projections: Projections, image_hw: tuple[int, int]
    ) -> AttentionRecord:
        """Return the record of what the block projects of a picture of that size."""
        return record_of(self.name, block, projections, image_hw, self.sides)


_FOLLOWED: WeakKeyDictionary[nn.Module, dict[Size, Followed]] = WeakKeyDictionary()


def followed(network: nn.Module, x: Tensor, image_hw: tuple[int, int]) -> Followed | None:
    """Return what is kept of a network for an input of this size; None where there is nothing.

    Nothing is where the network is no longer built as it was: no layer, hook or setting may differ.
    """
    found = _FOLLOWED.get(network, {}).get((x.shape, image_hw))
    return found if found is not None and found.built.is_as(_Built.now(network)) else None


def keep(
    network: nn.Module,
    x: Tensor,
    image_hw: tuple[int, int],
    record: AttentionRecord,
    projections: Projections,
) -> None:
    """Keep where the tokens of a network's only block lie, for inputs of this size.

    Not where a record has more than what the block projects, token by token.

    Args:
        network: The network.
        x: What it was given.
        image_hw: Height and width of the image.
        record: What was found of its block while every operation was followed.
        projections: What the block projected.
    """
    block = network.get_submodule(record.block)
    if (
        record.reach is not None
        or record.proof is not None
        or not isinstance(block, AttentionBlock)
    ):
        return
    sides = Sides(_in_order(record.query_axis), _in_order(record.key_axis))
    found = Followed(record.block, sides, _Built.now(network))
    if _is_as(found.record_of(block, projections, image_hw), record):
        sizes = _FOLLOWED.setdefault(network, {})
        if len(sizes) == SIZES:
            sizes.clear()
        sizes[x.shape, image_hw] = found


def _in_order(axis: Axis) -> Placed:
    return Placed(axis, np.arange(len(axis)), None)


def _is_as(one: AttentionRecord, other: AttentionRecord) -> bool:
    of_each = [(getattr(one, field.name), getattr(other, field.name)) for field in fields(one)]
    return all(
        torch.equal(a, b) if isinstance(a, Tensor) and isinstance(b, Tensor) else a is b or a == b
        for a, b in of_each
    )


class _Built(NamedTuple):
    """What a network is made of, but for the values of its tensors."""

    things: list[Any]  # layers, settings, hooks, tensors, in order
    shapes: list[torch.Size]  # of the tensors

    @classmethod
    def now(cls, network: nn.Module) -> "_Built":
        things: list[Any] = []
        for module in network.modules():
            things.append(type(module))
            for value in vars(module).values():
                if isinstance(value, dict):
                    things += [*value, *value.values()]
                elif isinstance(value, list | set):
                    things += value
                else:
                    things.append(value)
        return cls(things, [one.shape for one in things if isinstance(one, Tensor)])

    def is_as(self, other: "_Built") -> bool:
        """Return whether all of it is the very same."""
        return (
            len(self.things) == len(other.things)
            and all(map(is_, self.things, other.things))
            and self.shapes == other.shapes
        )
