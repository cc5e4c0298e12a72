"""Non-local attention over part of a clip: space-only and time-only.

Wang et al., "Non-local Neural Networks", CVPR 2018, Table 2d: what a spacetime block is worth when
a position may look only at its own frame, or only at its own place in every frame.

A restriction is a matter of logits. `project` gives queries and keys one more channel for each part
of the clip, so that `scale * query_i . key_j` is the embeddings' own product where i and j share a
part, and lower by 300 elsewhere. With these, all that holds for a non-local block holds here: a row
of attention is one over the whole clip that is 0 outside of the query's part. `forward` does not
compute those zeros: there every part is a batch item of its own, at a fraction of the cost.

An image is a clip of one frame: space-only attention is then the whole, and time-only none.
"""

from math import prod

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from models.blocks.attend import attend
from models.blocks.attention_block import Init, Projections
from models.blocks.non_local import NonLocalBlock

PENALTY = 300.0
"""What a logit outside of the query's part is lower by: exp(-300) is 0 in single precision."""


class SpaceOnlyNonLocalBlock(NonLocalBlock):
    """Embedded-Gaussian block of a clip whose queries look at their own frame only."""

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
        """Embed the input; keys of another part than the query's get a logit lower by 300."""
        projections = super().project(x)
        query_part, key_part = map(self.parts, (projections.query_shape, projections.key_shape))
        size = (PENALTY / self.scale) ** 0.5
        count = int(query_part.max()) + 1

        def labeled(vectors: Tensor, part: Tensor, there: float, elsewhere: float) -> Tensor:
            label = F.one_hot(part, count).to(vectors) * (there - elsewhere) + elsewhere
            return torch.cat((vectors, label.expand(len(vectors), -1, -1)), dim=2)

        return projections._replace(
            query=labeled(projections.query, query_part, size, 0.0),
            key=labeled(projections.key, key_part, 0.0, -size),
        )

    def forward(
        self, x: Float[Tensor, "batch channels *grid"]
    ) -> Float[Tensor, "batch channels *grid"]:
        """Return the input plus what attention gathered for every position from its part."""
        query, key, value, _, query_shape, key_shape = super().project(x)
        aggregated = attend(
            self.fold(query, query_shape),
            self.fold(key, key_shape),
            self.fold(value, key_shape),
            scale=self.scale,
        )
        return x + self.restore(self.unfold(aggregated, query_shape), query_shape)


class TimeOnlyNonLocalBlock(SpaceOnlyNonLocalBlock):
    """Embedded-Gaussian block of a clip whose queries look at their own place in every frame.

    Keys cannot be sub-sampled: a pooled cell is no query's own place.
    """

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
