"""The disentangled block as its authors' code computes it: yinmh17/DNL-Semantic-Segmentation.

Yin et al., "Disentangled Non-Local Neural Networks", ECCV 2020, arXiv 2006.06668. How it differs
from the paper's formula: a gain, learned from 0, weighs the pairwise term alone,
`gain * softmax(pairwise) + softmax(m)`; values are as wide as the input and nothing follows them,
unless it is told to; and what "whitening" takes out of queries and keys is a choice, of which only
"channel" is the paper's.
"""

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nonlocal_lens.models.blocks.attend import attend, attend_alike
from nonlocal_lens.models.blocks.attention_block import (
    BATCH_NORM,
    CONV,
    AttentionBlock,
    Init,
    Projections,
)
from nonlocal_lens.models.blocks.disentangled import UnaryNonLocalBlock
from nonlocal_lens.models.blocks.first_weights import draw_normal

Whitening = Literal["none", "channel", "spatial", "layer", "channel_std", "layer_std", "batch"]
Unary = Literal["none", "mask", "shared"]

EPSILON = 1e-5
OVER: dict[str, tuple[int, ...]] = {"channel": (1,), "spatial": (2,), "layer": (1, 2)}


class ReleasedDisentangledBlock(AttentionBlock):
    """Disentangled block with a gain on its pairwise term and a choice of whitenings.

    | whitening     | takes out of queries and keys                       | in the authors' code |
    |---------------|-----------------------------------------------------|----------------------|
    | "none"        | nothing                                             | []                   |
    | "channel"     | the mean of every channel: the paper's              | channel, in_nostd    |
    | "spatial"     | the mean of every position                          | spatial              |
    | "layer"       | the mean of everything, one number                  | ln_nostd, fln_nostd  |
    | "channel_std" | as "channel", and divides by the standard deviation | in                   |
    | "layer_std"   | as "layer", and divides by the standard deviation   | ln, fln              |
    | "batch"       | what batch normalizations have learned              | bn, bn_affine        |

    Of all of these only "channel" and "channel_std" leave no unary term in the pairwise one.

    Args:
        channels: Channels of the input and of the output.
        inner_channels: Channels of query and key, and of values that `projects_out`.
        dimension: 1, 2 or 3, see `AttentionBlock`.
        subsample: Max-pool the input of keys, values and mask by 2 in space.
        whitening: See above.
        unary: Where the unary logits are from: "mask" learns them, "shared" makes them of the mean
            query and the keys, without a scale, and "none" leaves that term out.
        projects_out: Whether values are thin and a convolution without bias widens them again.
        batch_norm: Normalize after everything.
        scale: Factor on every dot product.
        affine: Whether the normalizations of the whitening "batch" have a gain and a bias.
        init: "identity" starts with gain 0, as the authors do; "awake" with gain 1.
    """

    form = "embedded_gaussian"

    def __init__(
        self,
        channels: int,
        *,
        inner_channels: int | None = None,
        dimension: int = 2,
        subsample: bool = False,
        whitening: Whitening = "channel",
        unary: Unary = "mask",
        projects_out: bool = False,
        batch_norm: bool = False,
        scale: float | None = None,
        affine: bool = False,
        init: Init = "identity",
    ) -> None:
        for name, value, known in (("whitening", whitening, Whitening), ("unary", unary, Unary)):
            if value not in get_args(known):
                raise ValueError(f"{name} must be one of {get_args(known)}, got {value!r}")
        if unary == "shared" and whitening not in ("channel", "layer"):
            raise ValueError(
                "shared unary logits are made of the mean that whitening takes out: it must be "
                f"'channel' or 'layer', got {whitening!r}"
            )
        self.whitening, self.unary, self.projects_out = whitening, unary, projects_out
        self.learns_unary = unary == "mask"
        of_channels = whitening in ("channel", "channel_std")
        self.coupling = "disentangled" if unary != "none" else "coupled"
        if unary == "none" and of_channels:
            self.coupling = "pairwise"
        self.whitened = of_channels or unary == "none"
        super().__init__(
            channels,
            inner_channels=inner_channels,
            dimension=dimension,
            subsample=subsample,
            pool_order="before",
            batch_norm=batch_norm,
            scale=scale,
            init=init,
        )
        self.gain = nn.Parameter(torch.full((1,), float(init == "awake")))
        self.normalize_query: nn.Module = nn.Identity()
        self.normalize_key: nn.Module = nn.Identity()
        if whitening == "batch":
            inner = inner_channels or max(1, channels // 2)
            self.normalize_query = nn.BatchNorm1d(inner, affine=affine)
            self.normalize_key = nn.BatchNorm1d(inner, affine=affine)

    @property
    def pairwise_gain(self) -> float:
        """Return the gain where it weighs one term against another; else it is a part of `out`."""
        return self.gain.item() if self.coupling == "disentangled" else 1.0

    def transforms(
        self, channels: int, inner: int, batch_norm: bool
    ) -> tuple[nn.Module, nn.Sequential]:
        """Return the layer that makes values, and what may follow the aggregation."""
        return _transforms(self.dimension, channels, inner, self.projects_out, batch_norm)

    def initialize(self, init: Init) -> None:
        """Draw all weights as the authors do, or let an awake block start from similarity."""
        super().initialize("awake")
        if init == "identity" and self.key is not None:
            draw_normal(self.key.get_parameter("weight"), std=0.01)

    def project(self, x: Float[Tensor, "batch channels *grid"]) -> Projections:
        """Embed the input and whiten queries and keys."""
        projections = super().project(x)
        query, key, unary = projections.query, projections.key, projections.unary
        whitened_key = self._whiten(key, self.normalize_key)
        if self.unary == "shared":
            over = OVER[self.whitening]
            mean = query.mean(dim=over, keepdim=True).expand(-1, 1, query.shape[2])
            unary = (whitened_key @ mean.transpose(1, 2)).squeeze(2)
        whitened_query = self._whiten(query, self.normalize_query)
        return projections._replace(query=whitened_query, key=whitened_key, unary=unary)

    def _whiten(
        self, x: Float[Tensor, "batch pos channels"], normalize: nn.Module
    ) -> Float[Tensor, "batch pos channels"]:
        if self.whitening == "none":
            return x
        if self.whitening == "batch":
            normalized: Tensor = normalize(x.transpose(1, 2)).transpose(1, 2)
            return normalized
        over = OVER[self.whitening.removesuffix("_std")]
        x = x - x.mean(dim=over, keepdim=True)
        if self.whitening.endswith("_std"):
            x = x / (x.var(dim=over, keepdim=True) + EPSILON).sqrt()
        return x

    def aggregate(
        self, projections: Projections
    ) -> Float[Tensor, "batch query_pos value_channels"]:
        """Return the gain times the pairwise attention's values, plus the unary attention's."""
        query, key, value, unary, *_ = projections
        pairwise = self.gain * attend(query, key, value, scale=self.scale)
        return pairwise if unary is None else pairwise + attend_alike(unary, value)


class ReleasedUnaryBlock(UnaryNonLocalBlock):
    """The unary term alone, as the same authors compute it: `softmax(m)`, without a gain.

    Args:
        channels: Channels of the input and of the output.
        inner_channels: Channels of values that `projects_out`.
        dimension: 1, 2 or 3, see `AttentionBlock`.
        subsample: Max-pool the input of values and mask by 2 in space.
        projects_out: Whether values are thin and a convolution without bias widens them again.
        batch_norm: Normalize after everything.
    """

    def __init__(
        self,
        channels: int,
        *,
        inner_channels: int | None = None,
        dimension: int = 2,
        subsample: bool = False,
        projects_out: bool = False,
        batch_norm: bool = False,
    ) -> None:
        self.projects_out = projects_out
        super().__init__(
            channels,
            inner_channels=inner_channels,
            dimension=dimension,
            subsample=subsample,
            pool_order="before",
            batch_norm=batch_norm,
            init="awake",
        )

    def transforms(
        self, channels: int, inner: int, batch_norm: bool
    ) -> tuple[nn.Module, nn.Sequential]:
        """Return the layer that makes values, and what may follow the aggregation."""
        return _transforms(self.dimension, channels, inner, self.projects_out, batch_norm)

    def initialize(self, init: Init) -> None:
        """Draw all weights as the authors do."""
        convolutions = [
            m for m in self.modules() if isinstance(m, nn.Conv1d | nn.Conv2d | nn.Conv3d)
        ]
        for convolution in convolutions:
            draw_normal(convolution.weight, std=0.01)


def _transforms(
    dimension: int, channels: int, inner: int, thin: bool, batch_norm: bool
) -> tuple[nn.Module, nn.Sequential]:
    conv = CONV[dimension]
    return conv(channels, inner if thin else channels, 1, bias=thin), nn.Sequential(
        conv(inner, channels, 1, bias=False) if thin else nn.Identity(),
        BATCH_NORM[dimension](channels) if batch_norm else nn.Identity(),
    )
