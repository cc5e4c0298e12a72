"""What every attention block of this package shares: project, aggregate, add."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from nonlocal_lens.models.blocks.first_weights import draw_normal
from nonlocal_lens.models.blocks.reach import Reach

Init = Literal["identity", "awake"]
PoolOrder = Literal["after", "before"]

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
BATCH_NORM = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
MAX_POOL = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
DOT_PRODUCT_FORMS = ("gaussian", "embedded_gaussian", "dot_product")
POOL_WINDOW = {1: (2,), 2: (2, 2), 3: (1, 2, 2)}  # never over time: Wang et al. 2018, section 3.3


class Projections(NamedTuple):
    """What a block makes of its input before any softmax; positions are flat, row-major."""

    query: Float[Tensor, "batch query_pos channels"]
    key: Float[Tensor, "batch key_pos channels"]
    value: Float[Tensor, "batch key_pos value_channels"]
    unary: Float[Tensor, "batch key_pos"] | None  # learned unary logits, where the block has any
    query_shape: tuple[int, ...]  # the grid that query_pos flattens: (W,), (H, W) or (T, H, W)
    key_shape: tuple[int, ...]  # smaller than query_shape where keys are sub-sampled
    reach: Reach | None = None  # None where queries look at all keys


class SpatialMaxPool(nn.Module):
    """Max-pool by 2 along rows and columns; a side of a single cell stays as it is."""

    def forward(
        self, x: Float[Tensor, "batch channels *grid"]
    ) -> Float[Tensor, "batch channels *pooled"]:
        """Return the maximum of every whole window; the remainder of an odd side is dropped."""
        dimension = x.ndim - 2
        window = [min(pair) for pair in zip(POOL_WINDOW[dimension], x.shape[2:], strict=True)]
        return MAX_POOL[dimension](x, window)


def flatten(x: Float[Tensor, "batch channels *grid"]) -> Float[Tensor, "batch pos channels"]:
    """Turn a grid of channel vectors into a row-major list of them."""
    return x.flatten(2).transpose(1, 2)


class AttentionBlock(nn.Module):
    """A residual block `x + out(aggregate(project(x)))` over all positions of its input.

    Subclasses say what the attention is by overriding `project` or `aggregate` and by naming their
    `form` and their `coupling`; whoever reads the attention from outside relies on these two names
    and on `scale`.

    Args:
        channels: Channels of the input and of the output.
        inner_channels: Channels of query, key and value; half of `channels` if not given.
        dimension: 1, 2 or 3: the input is (B, C, W), (B, C, H, W) or (B, C, T, H, W).
        subsample: Max-pool keys and values by 2 in space.
        pool_order: Where `subsample` pools: "after" the convolutions of key and value, as Wang et
            al. 2018 describe it, or "before" them, as their code does.
        batch_norm: Normalize after the output convolution.
        scale: Factor on every dot product; what `default_scale` says if not given. A form without
            a dot product takes none.
        init: "identity" zeroes the block's last layer, so that inserting the block into a trained
            network changes nothing. "awake" lets it act from the first step, with keys that start
            as a copy of the queries, so that attention starts as similarity of features; training
            is free to part them. With a zero gain under weight decay the gain can stay near zero
            for a whole training, and with unrelated queries and keys the network learns to do
            without its block before the block has learned anything.

    Attributes:
        form: How a query and a key make a logit: "gaussian" (the features' own dot product),
            "embedded_gaussian" and "dot_product" (that of their embeddings), "concatenation" (ReLU
            of a sum), or "query_independent" (no query takes part).
        coupling: How logits become attention: see `analysis.terms`.
        learns_unary: Whether a 1-channel embedding of its own makes the unary logits.
        pairwise_gain: Weight of the pairwise softmax in a disentangled block.
        whitened: Whether queries and keys of a disentangled block lose the mean of every channel.
        decisions: What was decided on loading that the weights alone do not tell, in sentences.
    """

    form: str
    coupling: str
    learns_unary = False
    whitened = True
    decisions: tuple[str, ...] = ()

    @property
    def pairwise_gain(self) -> float:
        """Return 1: only the code of the disentangled block's authors learns another."""
        return 1.0

    def __init__(
        self,
        channels: int,
        *,
        inner_channels: int | None = None,
        dimension: int = 2,
        subsample: bool = False,
        pool_order: PoolOrder = "after",
        batch_norm: bool = True,
        scale: float | None = None,
        init: Init = "identity",
    ) -> None:
        super().__init__()
        if dimension not in CONV:
            raise ValueError(f"dimension must be one of 1, 2, 3, got {dimension}")
        if init not in ("identity", "awake"):
            raise ValueError(f"init must be 'identity' or 'awake', got {init!r}")
        if pool_order not in ("after", "before"):
            raise ValueError(f"pool_order must be 'after' or 'before', got {pool_order!r}")
        if scale is not None and self.form not in DOT_PRODUCT_FORMS:
            raise ValueError(f"{self.form} logits hold no dot product to scale, got scale {scale}")
        inner = inner_channels or max(1, channels // 2)
        self.dimension = dimension
        self.query, self.key = self.embeddings(channels, inner)
        self.scale = 1.0
        if self.form in DOT_PRODUCT_FORMS:
            self.scale = self.default_scale(inner) if scale is None else scale
        self.value, self.out = self.transforms(channels, inner, batch_norm)
        pools = subsample, pool_order
        self.pool_input = SpatialMaxPool() if pools == (True, "before") else nn.Identity()
        self.pool = SpatialMaxPool() if pools == (True, "after") else nn.Identity()
        self.initialize(init)
        self.mask: nn.Module | None = None
        if self.learns_unary:
            self.mask = CONV[dimension](channels, 1, 1)
            draw_normal(self.mask.weight, std=0.01)
            nn.init.zeros_(self.mask.get_parameter("bias"))

    @staticmethod
    def default_scale(inner_channels: int) -> float:
        """Return the factor on dot products that holds where none is given."""
        scale: float = inner_channels**-0.5
        return scale

    def embeddings(self, channels: int, inner: int) -> tuple[nn.Module | None, nn.Module | None]:
        """Return the layers that make queries and keys; None where the block has no such layer."""
        conv = CONV[self.dimension]
        return conv(channels, inner, 1), conv(channels, inner, 1)

    def transforms(
        self, channels: int, inner: int, batch_norm: bool
    ) -> tuple[nn.Module, nn.Sequential]:
        """Return the layer that makes values, and the layers after aggregation."""
        conv = CONV[self.dimension]
        return conv(channels, inner, 1), nn.Sequential(
            conv(inner, channels, 1, bias=not batch_norm),
            BATCH_NORM[self.dimension](channels) if batch_norm else nn.Identity(),
        )

    def initialize(self, init: Init) -> None:
        """Set the first weights as `init` says; the layers' own stay where it says nothing."""
        if init == "identity":
            last = [module for module in self.out if list(module.parameters())][-1]
            for parameter in last.parameters():
                nn.init.zeros_(parameter)
        elif self.query is not None and list(self.query.parameters()):
            draw_normal(self.query.get_parameter("weight"), std=0.05)
            nn.init.zeros_(self.query.get_parameter("bias"))
            if self.key is not None:
                self.key.load_state_dict(self.query.state_dict())

    def logit_parameters(self) -> Iterator[nn.Parameter]:
        """Yield the parameters that decide where the block looks: weight decay would blind it."""
        for layer in (self.query, self.key, self.mask):
            if layer is not None:
                yield from layer.parameters()

    def project(self, x: Float[Tensor, "batch channels *grid"]) -> Projections:
        """Embed the input as queries, keys and values, and as unary logits if it learns them."""
        pooled = self.pool_input(x)
        value = self.pool(self.value(pooled))
        query = x[:, :0] if self.query is None else self.query(x)
        key = value[:, :0] if self.key is None else self.pool(self.key(pooled))
        return Projections(
            query=flatten(query),
            key=flatten(key),
            value=flatten(value),
            unary=None if self.mask is None else self.pool(self.mask(pooled)).flatten(1),
            query_shape=tuple(x.shape[2:]),
            key_shape=tuple(value.shape[2:]),
        )

    def aggregate(
        self, projections: Projections
    ) -> Float[Tensor, "batch query_pos value_channels"]:
        """Return, for every query position, the attention-weighted sum of the values."""
        raise NotImplementedError

    def restore(
        self, aggregated: Float[Tensor, "batch query_pos value_channels"], shape: tuple[int, ...]
    ) -> Float[Tensor, "batch channels *grid"]:
        """Return what the block adds to its input, given the aggregated values on a grid."""
        added: Tensor = self.out(aggregated.transpose(1, 2).unflatten(2, shape))
        return added

    def forward(
        self, x: Float[Tensor, "batch channels *grid"]
    ) -> Float[Tensor, "batch channels *grid"]:
        """Return the input plus what attention gathered for every position."""
        projections = self.project(x)
        return x + self.restore(self.aggregate(projections), projections.query_shape)


def attention_blocks(network: nn.Module) -> dict[str, AttentionBlock]:
    """Return every attention block of this package in a network, by name."""
    return {
        name: module
        for name, module in network.named_modules()
        if isinstance(module, AttentionBlock)
    }
