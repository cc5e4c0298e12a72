"""Non-local attention over part of a clip: space-only and time-only.

Wang et al., "Non-local Neural Networks", CVPR 2018, Table 2d: what a spacetime block is worth when
a position may look only at its own frame, or only at its own place in every frame.

Parts are batch items of their own, so that no weight is computed to be 0. What `project` gives is
that of the whole clip, with the parts beside it: all that holds for a non-local block holds here
for the keys that a query reaches.

An image is a clip of one frame: space-only attention is then the whole, and time-only none.
"""

from math import prod

import torch
from jaxtyping import Float, Int
from torch import Tensor

from nonlocal_lens.models.blocks.attend import attend
from nonlocal_lens.models.blocks.attention_block import Init, Projections
from nonlocal_lens.models.blocks.non_local import NonLocalBlock
from nonlocal_lens.models.blocks.reach import Reach


class SpaceOnlyNonLocalBlock(NonLocalBlock):
    """Embedded-Gaussian block of a clip whose queries look at their own frame only."""

    part = "frame"

    @staticmethod
    def parts(shape: tuple[int, ...]) -> Int[Tensor, " pos"]:
        """Return for every position of a grid which part it belongs to: its frame."""
        frames, places = frames_and_places(shape)
        return torch.arange(frames).repeat_interleave(places)

    @staticmethod
    def fold(
        x: Float[Tensor, "batch pos channels"], shape: tuple[int, ...]
    ) -> Float[Tensor, "parts pos_of_part channels"]:
        """Make every part a batch item of its own."""
        parts: Tensor = x.unflatten(1, frames_and_places(shape)).flatten(0, 1)
        return parts

    @staticmethod
    def unfold(
        x: Float[Tensor, "parts pos_of_part channels"], shape: tuple[int, ...]
    ) -> Float[Tensor, "batch pos channels"]:
        """Undo `fold`."""
        frames, _ = frames_and_places(shape)
        whole: Tensor = x.unflatten(0, (-1, frames)).flatten(1, 2)
        return whole

    def project(self, x: Float[Tensor, "batch channels *grid"]) -> Projections:
        """Embed the input, and say which keys a query looks at: those of its part."""
        projections = super().project(x)
        query, key = (
            self.parts(shape)[:, None] for shape in (projections.query_shape, projections.key_shape)
        )
        return projections._replace(reach=Reach(self.part, query, key))

    def aggregate(
        self, projections: Projections
    ) -> Float[Tensor, "batch query_pos value_channels"]:
        """Return, for every query position, the attention-weighted sum of its part's values."""
        query, key, value, _, query_shape, key_shape, _ = projections
        aggregated = attend(
            self.fold(query, query_shape),
            self.fold(key, key_shape),
            self.fold(value, key_shape),
            scale=self.scale,
        )
        return self.unfold(aggregated, query_shape)


class TimeOnlyNonLocalBlock(SpaceOnlyNonLocalBlock):
    """Embedded-Gaussian block of a clip whose queries look at their own place in every frame.

    Keys cannot be sub-sampled: a pooled cell is no query's own place.
    """

    part = "place"

    def __init__(
        self,
        channels: int,
        *,
        inner_channels: int | None = None,
        dimension: int = 2,
        batch_norm: bool = True,
        scale: float | None = None,
        init: Init = "identity",
    ) -> None:
        super().__init__(
            channels,
            inner_channels=inner_channels,
            dimension=dimension,
            batch_norm=batch_norm,
            scale=scale,
            init=init,
        )

    @staticmethod
    def parts(shape: tuple[int, ...]) -> Int[Tensor, " pos"]:
        """Return for every position of a grid which part it belongs to: its place in a frame."""
        frames, places = frames_and_places(shape)
        return torch.arange(places).repeat(frames)

    @staticmethod
    def fold(
        x: Float[Tensor, "batch pos channels"], shape: tuple[int, ...]
    ) -> Float[Tensor, "parts pos_of_part channels"]:
        """Make every part a batch item of its own."""
        parts: Tensor = x.unflatten(1, frames_and_places(shape)).transpose(1, 2).flatten(0, 1)
        return parts

    @staticmethod
    def unfold(
        x: Float[Tensor, "parts pos_of_part channels"], shape: tuple[int, ...]
    ) -> Float[Tensor, "batch pos channels"]:
        """Undo `fold`."""
        _, places = frames_and_places(shape)
        whole: Tensor = x.unflatten(0, (-1, places)).transpose(1, 2).flatten(1, 2)
        return whole


def frames_and_places(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return how many frames a grid has, and how many positions a frame."""
    frames = shape[0] if len(shape) == 3 else 1
    return frames, prod(shape) // frames
