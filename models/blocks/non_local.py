"""Non-local blocks: Wang, Girshick, Gupta, He, "Non-local Neural Networks", CVPR 2018.

The paper's four pairwise functions f (equations 2 to 5), each in the block of equation 6. How these
blocks differ from the paper: the paper's formulas have no scale, but the authors' code multiplies
embedded-Gaussian logits by 1 / sqrt(inner_channels), and so does this package unless `scale` says
otherwise (1.0 is the paper's formula). Sub-sampling pools in the paper's order unless `pool_order`
says otherwise. The output's batch normalization starts at gain 0, as in the paper.
"""

from collections.abc import Iterator

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from nonlocal_lens.models.blocks.attend import (
    attend,
    average_by_dot_product,
    average_by_rectified_sum,
)
from nonlocal_lens.models.blocks.attention_block import AttentionBlock, Init, Projections
from nonlocal_lens.models.blocks.first_weights import draw_normal


class NonLocalBlock(AttentionBlock):
    """Embedded-Gaussian non-local block (equation 3).

    Row i of its attention is softmax over j of `scale * query_i . key_j` and sums to 1.
    """

    form = "embedded_gaussian"
    coupling = "coupled"

    def aggregate(
        self, projections: Projections
    ) -> Float[Tensor, "batch query_pos value_channels"]:
        """Return softmax(scale * query . key) applied to the values."""
        query, key, value, *_ = projections
        return attend(query, key, value, scale=self.scale)


class GaussianNonLocalBlock(NonLocalBlock):
    """Gaussian non-local block (equation 2): the features are their own queries and keys.

    Row i of its attention is softmax over j of `scale * x_i . x_j`, with scale 1 as in the paper
    unless given. Nothing in it decides where to look, so that an awake one differs from an inserted
    one by its gain alone.
    """

    form = "gaussian"

    @staticmethod
    def default_scale(inner_channels: int) -> float:
        """Return 1: the paper's formula."""
        return 1.0

    def embeddings(self, channels: int, inner: int) -> tuple[nn.Module, nn.Module]:
        """Return layers that change nothing."""
        return nn.Identity(), nn.Identity()


class DotProductNonLocalBlock(AttentionBlock):
    """Dot-product non-local block (equation 4): no softmax, `scale * query_i . key_j` / keys.

    Its weights have any sign, and rows sum to anything. Scale 1 as in the paper unless given.
    """

    form = "dot_product"
    coupling = "unnormalized"

    @staticmethod
    def default_scale(inner_channels: int) -> float:
        """Return 1: the paper's formula."""
        return 1.0

    def aggregate(
        self, projections: Projections
    ) -> Float[Tensor, "batch query_pos value_channels"]:
        """Return the mean over keys of scale * query . key times the values."""
        query, key, value, *_ = projections
        return average_by_dot_product(query, key, value, scale=self.scale)


class ConcatenationNonLocalBlock(AttentionBlock):
    """Concatenation non-local block (equation 5): ReLU(w . [query_i, key_j]) / keys, no softmax.

    w . [query_i, key_j] is a number of the query plus a number of the key; these two are what
    `project` returns as query and key, with a single channel each. Weights are at least 0, and rows
    sum to anything. There is no scale.

    An awake block starts with opposite halves of w: the sum is then a difference of features, half
    of the pairs are rectified, and the block neither starts dead nor purely additive (without a
    rectified pair no logit depends on query and key together).
    """

    form = "concatenation"
    coupling = "unnormalized"

    def embeddings(self, channels: int, inner: int) -> tuple[nn.Module | None, nn.Module | None]:
        """Return the embeddings that `compare` adds up."""
        self.compare = nn.Linear(2 * inner, 1, bias=False)
        return super().embeddings(channels, inner)

    def initialize(self, init: Init) -> None:
        """Let an awake block start from differences of features."""
        super().initialize(init)
        if init == "awake":
            query_part, key_part = self.compare.weight.detach()[0].chunk(2)
            draw_normal(query_part, std=query_part.numel() ** -0.5)
            key_part.copy_(-query_part)

    def logit_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters of the embeddings and of `compare`."""
        yield from super().logit_parameters()
        yield from self.compare.parameters()

    def project(self, x: Float[Tensor, "batch channels *grid"]) -> Projections:
        """Embed the input as queries and keys of one channel each, and as values."""
        projections = super().project(x)
        query_part, key_part = self.compare.weight.chunk(2, dim=1)
        return projections._replace(
            query=F.linear(projections.query, query_part),
            key=F.linear(projections.key, key_part),
        )

    def aggregate(
        self, projections: Projections
    ) -> Float[Tensor, "batch query_pos value_channels"]:
        """Return the mean over keys of ReLU(query + key) times the values."""
        query, key, value, *_ = projections
        return average_by_rectified_sum(query, key, value)
