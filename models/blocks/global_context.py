"""Blocks that look the same way from everywhere: Cao et al., "GCNet", ICCVW 2019, arXiv 1904.11492.

The paper finds the maps of a non-local block nearly the same for all queries and computes but one:
softmax over j of m_j, with m a 1-channel embedding, sums up the features x_j themselves. What is
made of that one context vector is added to every position, so that the cost does not depend on the
number of positions beyond reading them.
"""

from jaxtyping import Float
from torch import Tensor, nn

from nonlocal_lens.models.blocks.attend import attend_alike
from nonlocal_lens.models.blocks.attention_block import CONV, AttentionBlock, Init, Projections


class SimplifiedNonLocalBlock(AttentionBlock):
    """Simplified non-local block: `x_i + W_v sum_j softmax(m)_j x_j`.

    Args:
        channels: Channels of the input and of the output.
        dimension: 1, 2 or 3, see `AttentionBlock`.
        init: "identity" zeroes the last layer; "awake" leaves it as it was drawn.
    """

    form = "query_independent"
    coupling = "unary"
    learns_unary = True

    def __init__(self, channels: int, *, dimension: int = 2, init: Init = "identity") -> None:
        super().__init__(channels, dimension=dimension, batch_norm=False, init=init)

    def embeddings(self, channels: int, inner: int) -> tuple[None, None]:
        """Return nothing: there are no queries and keys."""
        return None, None

    def transforms(
        self, channels: int, inner: int, batch_norm: bool
    ) -> tuple[nn.Module, nn.Sequential]:
        """Return no embedding of values, and one convolution of the context."""
        return nn.Identity(), nn.Sequential(CONV[self.dimension](channels, channels, 1))

    def aggregate(
        self, projections: Projections
    ) -> Float[Tensor, "batch query_pos value_channels"]:
        """Return the context: softmax(unary) applied to the features, repeated for every query."""
        return self.context(projections).expand(-1, projections.query.shape[1], -1)

    def context(self, projections: Projections) -> Float[Tensor, "batch 1 channels"]:
        """Return softmax(unary) applied to the features."""
        assert projections.unary is not None  # `project` has just made it
        return attend_alike(projections.unary, projections.value)

    def forward(
        self, x: Float[Tensor, "batch channels *grid"]
    ) -> Float[Tensor, "batch channels *grid"]:
        """Return the input plus what is made of the context, computed once for all positions."""
        return x + self.restore(self.context(self.project(x)), (1,) * self.dimension)


class GlobalContextBlock(SimplifiedNonLocalBlock):
    """Global-context block: `x_i + W_2 ReLU(LayerNorm(W_1 sum_j softmax(m)_j x_j))`.

    The context goes through a bottleneck, and the layer norm is over channels. What the block makes
    of it is added to the input, the paper's choice; the variant that scales the input is left out.

    Args:
        channels: Channels of the input and of the output.
        ratio: Channels of the bottleneck, at least 2, over `channels`; the authors' networks use
            1/16 and 1/4.
        dimension: 1, 2 or 3, see `AttentionBlock`.
        init: "identity" zeroes the last layer; "awake" leaves it as it was drawn.
    """

    def __init__(
        self,
        channels: int,
        *,
        ratio: float = 1 / 16,
        dimension: int = 2,
        init: Init = "identity",
    ) -> None:
        if not ratio > 0:
            raise ValueError(f"ratio must be above 0, got {ratio}")
        self.bottleneck = max(2, round(channels * ratio))  # a norm over one channel erases it
        super().__init__(channels, dimension=dimension, init=init)

    def transforms(
        self, channels: int, inner: int, batch_norm: bool
    ) -> tuple[nn.Module, nn.Sequential]:
        """Return no embedding of values, and the bottleneck."""
        conv = CONV[self.dimension]
        return nn.Identity(), nn.Sequential(
            conv(channels, self.bottleneck, 1),
            ChannelNorm(self.bottleneck),
            nn.ReLU(inplace=True),
            conv(self.bottleneck, channels, 1),
        )


class ChannelNorm(nn.LayerNorm):
    """Layer normalization over the channels of every position by itself."""

    def forward(
        self, x: Float[Tensor, "batch channels *grid"]
    ) -> Float[Tensor, "batch channels *grid"]:
        """Return zero mean and unit variance over channels, then gain and bias."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)
