"""The disentangled non-local block: Yin et al., ECCV 2020, arXiv 2006.06668."""

from jaxtyping import Float
from torch import Tensor, nn

from models.blocks.attend import attend
from models.blocks.attention_block import CONV, AttentionBlock, Init, Projections


def whiten(x: Float[Tensor, "batch pos channels"]) -> Float[Tensor, "batch pos channels"]:
    """Subtract the mean over positions; like the paper, leave the variance alone."""
    return x - x.mean(dim=1, keepdim=True)


class DisentangledNonLocalBlock(AttentionBlock):
    """Disentangled non-local block: softmax(pairwise) + softmax(unary), one set of values.

    The pairwise logit is the whitened dot product `scale * (query_i - mean query) . (key_j - mean
    key)`, the unary logit m_j a 1-channel embedding of its own, so that neither term's gradient
    depends on the other. Rows of the attention sum to 2.

    `scale` is 1 / (sqrt(inner_channels) * temperature); the authors train with temperature 0.05.
    Where keys are sub-sampled, the unary logits are max-pooled with them.
    """

    form = "embedded_gaussian"
    coupling = "disentangled"

    def __init__(
        self,
        channels: int,
        *,
        inner_channels: int | None = None,
        dimension: int = 2,
        subsample: bool = False,
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
            batch_norm=batch_norm,
            scale=1 / (inner**0.5 * temperature),
            init=init,
        )
        self.mask = CONV[dimension](channels, 1, 1)
        nn.init.normal_(self.mask.weight, std=0.01)
        nn.init.zeros_(self.mask.get_parameter("bias"))

    def project(self, x: Float[Tensor, "batch channels *grid"]) -> Projections:
        """Embed the input as queries, keys and values, and as unary logits."""
        unary = self.pool(self.mask(x)).flatten(1)
        return super().project(x)._replace(unary=unary)

    def aggregate(
        self, projections: Projections
    ) -> Float[Tensor, "batch query_pos value_channels"]:
        """Return the pairwise attention's values plus the unary attention's, the same for all."""
        query, key, value, unary, *_ = projections
        assert unary is not None  # `project` has just made it
        pairwise = attend(whiten(query), whiten(key), value, scale=self.scale)
        return pairwise + unary.softmax(dim=1).unsqueeze(1) @ value
