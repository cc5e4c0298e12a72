"""The non-local block: Wang, Girshick, Gupta, He, "Non-local Neural Networks", CVPR 2018."""

from jaxtyping import Float
from torch import Tensor

from models.blocks.attend import attend
from models.blocks.attention_block import AttentionBlock, Init, Projections


class NonLocalBlock(AttentionBlock):
    """Embedded-Gaussian non-local block (equations 3 and 6).

    Row i of its attention is softmax over j of `scale * query_i . key_j` and sums to 1.

    How this differs from the paper: equation 3 has no scale, the authors' code multiplies by
    1 / sqrt(inner_channels), and so does this block unless `scale` says otherwise (1.0 is the
    paper's formula). Keys and values are pooled after their convolutions, as in the paper; the
    authors' code pools before. The output's batch normalization starts at gain 0, as in the paper.
    """

    form = "embedded_gaussian"
    coupling = "coupled"

    def __init__(
        self,
        channels: int,
        *,
        inner_channels: int | None = None,
        dimension: int = 2,
        subsample: bool = False,
        batch_norm: bool = True,
        scale: float | None = None,
        init: Init = "identity",
    ) -> None:
        inner = inner_channels or max(1, channels // 2)
        super().__init__(
            channels,
            inner_channels=inner,
            dimension=dimension,
            subsample=subsample,
            batch_norm=batch_norm,
            scale=inner**-0.5 if scale is None else scale,
            init=init,
        )

    def aggregate(
        self, projections: Projections
    ) -> Float[Tensor, "batch query_pos value_channels"]:
        """Return softmax(scale * query . key) applied to the values."""
        query, key, value, *_ = projections
        return attend(query, key, value, scale=self.scale)
