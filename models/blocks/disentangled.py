"""The disentangled non-local block and what lies between it and the non-local block.

Yin et al., "Disentangled Non-Local Neural Networks", ECCV 2020, arXiv 2006.06668. The pairwise
logit is the whitened dot product `scale * (query_i - mean query) . (key_j - mean key)`. The unary
logit is a 1-channel embedding m_j of its own, or derived from the key that both terms then share,
`scale * mean query . key_j`. Each step of the paper's ablation is one choice:

| block                        | attention                                                |
|------------------------------|----------------------------------------------------------|
| `NonLocalBlock`              | softmax(pairwise + derived unary)                        |
| `ProductNonLocalBlock`       | softmax(pairwise + m): key unshared                      |
| `SumNonLocalBlock`           | softmax(pairwise) + softmax(derived unary): terms parted |
| `DisentangledNonLocalBlock`  | softmax(pairwise) + softmax(m): both                     |
| `PairwiseNonLocalBlock`      | softmax(pairwise)                                        |
| `UnaryNonLocalBlock`         | softmax(m)                                               |

Where keys are sub-sampled, the unary logits m are max-pooled with them.
"""

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional as F

from nonlocal_lens.models.blocks.attend import attend, attend_alike
from nonlocal_lens.models.blocks.attention_block import AttentionBlock, Init, PoolOrder, Projections


def whiten(x: Float[Tensor, "batch pos channels"]) -> Float[Tensor, "batch pos channels"]:
    """Subtract the mean over positions; like the paper, leave the variance alone."""
    return x - x.mean(dim=1, keepdim=True)


class WhitenedBlock(AttentionBlock):
    """What the blocks with a pairwise term share: whitening, and a temperature.

    `scale` is 1 / (sqrt(inner_channels) * temperature); the authors train with temperature 0.05.
    """

    form = "embedded_gaussian"

    def __init__(
        self,
        channels: int,
        *,
        inner_channels: int | None = None,
        dimension: int = 2,
        subsample: bool = False,
        pool_order: PoolOrder = "after",
        batch_norm: bool = True,
        temperature: float = 0.05,
        init: Init = "identity",
    ) -> None:
        if not temperature > 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        inner = inner_channels or max(1, channels // 2)
        super().__init__(
            channels,
            inner_channels=inner,
            dimension=dimension,
            subsample=subsample,
            pool_order=pool_order,
            batch_norm=batch_norm,
            scale=self.default_scale(inner) / temperature,
            init=init,
        )

    def attend_pairwise(
        self, projections: Projections
    ) -> Float[Tensor, "batch query_pos value_channels"]:
        """Return softmax(pairwise) applied to the values."""
        query, key, value, *_ = projections
        return attend(whiten(query), whiten(key), value, scale=self.scale)


class DisentangledNonLocalBlock(WhitenedBlock):
    """Disentangled non-local block: softmax(pairwise) + softmax(m), one set of values.

    Neither term's gradient depends on the other. Rows of the attention sum to 2.
    """

    coupling = "disentangled"
    learns_unary = True

    def aggregate(
        self, projections: Projections
    ) -> Float[Tensor, "batch query_pos value_channels"]:
        """Return the pairwise attention's values plus the unary attention's, the same for all."""
        assert projections.unary is not None  # `project` has just made it
        alike = attend_alike(projections.unary, projections.value)
        return self.attend_pairwise(projections) + alike


class PairwiseNonLocalBlock(WhitenedBlock):
    """Pairwise term alone: softmax of the whitened dot product. Rows sum to 1."""

    coupling = "pairwise"

    def aggregate(
        self, projections: Projections
    ) -> Float[Tensor, "batch query_pos value_channels"]:
        """Return softmax(pairwise) applied to the values."""
        return self.attend_pairwise(projections)


class ProductNonLocalBlock(WhitenedBlock):
    """Both terms in one softmax, each with its own embedding: softmax(pairwise + m).

    The one softmax multiplies the terms, and the gradient of each carries the other's value as a
    factor; but the key is no longer shared. Rows sum to 1.
    """

    coupling = "coupled"
    learns_unary = True

    def aggregate(
        self, projections: Projections
    ) -> Float[Tensor, "batch query_pos value_channels"]:
        """Return softmax(pairwise + unary) applied to the values."""
        query, key, value, unary, *_ = projections
        assert unary is not None  # `project` has just made it
        # a logit that only the key decides is one more channel, on which every query is 1
        query = F.pad(whiten(query), (0, 1), value=1.0)
        key = torch.cat((whiten(key), unary.unsqueeze(2) / self.scale), dim=2)
        return attend(query, key, value, scale=self.scale)


class SumNonLocalBlock(WhitenedBlock):
    """A softmax for each term, but one key for both: softmax(pairwise) + softmax(derived unary).

    The derived unary logit is `scale * mean query . key_j`. Rows sum to 2.
    """

    coupling = "disentangled"

    def aggregate(
        self, projections: Projections
    ) -> Float[Tensor, "batch query_pos value_channels"]:
        """Return the pairwise attention's values plus the derived unary attention's."""
        query, key, value, *_ = projections
        unary = self.scale * (whiten(key) @ query.mean(dim=1).unsqueeze(2)).squeeze(2)
        return self.attend_pairwise(projections) + attend_alike(unary, value)


class UnaryNonLocalBlock(AttentionBlock):
    """Unary term alone: softmax(m), the same row for every query. Rows sum to 1."""

    form = "query_independent"
    coupling = "unary"
    learns_unary = True

    def embeddings(self, channels: int, inner: int) -> tuple[None, None]:
        """Return nothing: there are no queries and keys."""
        return None, None

    def aggregate(
        self, projections: Projections
    ) -> Float[Tensor, "batch query_pos value_channels"]:
        """Return softmax(unary) applied to the values, repeated for every query."""
        assert projections.unary is not None  # `project` has just made it
        alike = attend_alike(projections.unary, projections.value)
        return alike.expand(-1, projections.query.shape[1], -1)
