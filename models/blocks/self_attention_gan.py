"""Self-attention of image generators: Zhang et al., "SAGAN", ICML 2019, arXiv 1805.08318."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nonlocal_lens.models.blocks.attention_block import CONV, Init, PoolOrder
from nonlocal_lens.models.blocks.non_local import NonLocalBlock


class SelfAttentionBlock(NonLocalBlock):
    """SAGAN's self-attention: an embedded-Gaussian block with thin embeddings and a learned gain.

    Row i of its attention is softmax over j of `query_i . key_j`, without a scale. The paper embeds
    queries, keys and values in an eighth of the channels. The authors' code differs from it: values
    have half of the channels, and keys and values are pooled after their convolutions; that is
    `value_channels=channels // 2, subsample=True`.

    Args:
        channels: Channels of the input and of the output.
        inner_channels: Channels of query and key; an eighth of `channels` if not given.
        value_channels: Channels of the values; as many as queries have if not given.
        dimension: 1, 2 or 3, see `AttentionBlock`.
        subsample: Max-pool keys and values by 2 in space.
        pool_order: Where `subsample` pools, see `AttentionBlock`.
        init: "identity" starts with gain 0, as in the paper; "awake" with gain 1 and keys that are
            a copy of the queries.
    """

    def __init__(
        self,
        channels: int,
        *,
        inner_channels: int | None = None,
        value_channels: int | None = None,
        dimension: int = 2,
        subsample: bool = False,
        pool_order: PoolOrder = "after",
        init: Init = "identity",
    ) -> None:
        inner = inner_channels or max(1, channels // 8)
        self.value_channels = value_channels or inner
        super().__init__(
            channels,
            inner_channels=inner,
            dimension=dimension,
            subsample=subsample,
            pool_order=pool_order,
            batch_norm=False,
            scale=1.0,
            init=init,
        )

    def transforms(
        self, channels: int, inner: int, batch_norm: bool
    ) -> tuple[nn.Module, nn.Sequential]:
        """Return the layer that makes values, and a convolution with a gain after it."""
        conv = CONV[self.dimension]
        out = nn.Sequential(conv(self.value_channels, channels, 1), Gain())
        return conv(channels, self.value_channels, 1), out


class Gain(nn.Module):
    """One learned factor for everything, called gamma in the paper."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        """Return gain * x."""
        return self.gain * x
