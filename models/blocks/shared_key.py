"""A non-local block with one embedding for query and key, for restoring images.

No single paper is its source. Networks for super-resolution do without batch normalization and
normalize weights instead (Salimans and Kingma 2016, arXiv 1602.07868; Yu et al. 2018, "WDSR", arXiv
1808.08718), and their attention searches an image for patches like the query's, for which one
embedding of both sides is enough (the matching convolution of Mei et al., CVPR 2021, "NLSN", whose
keys moreover have unit length and whose search is sparse; neither is done here).
"""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from nonlocal_lens.models.blocks.attention_block import Init, PoolOrder, Projections, flatten
from nonlocal_lens.models.blocks.non_local import NonLocalBlock


class SharedKeyNonLocalBlock(NonLocalBlock):
    """Embedded-Gaussian block whose queries are its keys, with normalized weights.

    Row i of its attention is softmax over j of `scale * query_i . query_j`: the logits are
    symmetric, which with embeddings of their own they need not be. `identity` starts the length of
    the output's weights at 0.
    """

    def __init__(
        self,
        channels: int,
        *,
        inner_channels: int | None = None,
        dimension: int = 2,
        subsample: bool = False,
        pool_order: PoolOrder = "after",
        scale: float | None = None,
        init: Init = "identity",
    ) -> None:
        super().__init__(
            channels,
            inner_channels=inner_channels,
            dimension=dimension,
            subsample=subsample,
            pool_order=pool_order,
            batch_norm=False,
            scale=scale,
            init=init,
        )

    def embeddings(self, channels: int, inner: int) -> tuple[nn.Module | None, None]:
        """Return one embedding: `project` uses it for keys, too."""
        query, _ = super().embeddings(channels, inner)
        return query, None

    def initialize(self, init: Init) -> None:
        """Normalize every weight: a length and a direction, of which identity zeroes the length."""
        out = self.out[0]
        if init == "awake":
            super().initialize(init)
        for layer in (self.query, self.value, out):
            assert layer is not None
            weight_norm(layer)
        if init == "identity":
            nn.init.zeros_(out.get_parameter("parametrizations.weight.original0"))
            nn.init.zeros_(out.get_parameter("bias"))

    def project(self, x: Float[Tensor, "batch channels *grid"]) -> Projections:
        """Embed the input once as queries and, sub-sampled, as keys; and as values."""
        assert self.query is not None
        key = self.pool(self.query(self.pool_input(x)))
        return super().project(x)._replace(key=flatten(key))
