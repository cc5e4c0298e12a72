"""What every attention block of this package shares: project, aggregate, add."""

from typing import Literal, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

Init = Literal["identity", "awake"]

CONV = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}
BATCH_NORM = {1: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}
MAX_POOL = {1: nn.MaxPool1d, 2: nn.MaxPool2d, 3: nn.MaxPool3d}
POOL_WINDOW = {1: (2,), 2: (2, 2), 3: (1, 2, 2)}  # never over time: Wang et al. 2018, section 3.3


class Projections(NamedTuple):
    """What a block makes of its input before any softmax; positions are flat, row-major."""

    query: Float[Tensor, "batch query_pos channels"]
    key: Float[Tensor, "batch key_pos channels"]
    value: Float[Tensor, "batch key_pos value_channels"]
    unary: Float[Tensor, "batch key_pos"] | None  # learned unary logits, where the block has any
    query_shape: tuple[int, ...]  # the grid that query_pos flattens: (W,), (H, W) or (T, H, W)
    key_shape: tuple[int, ...]  # smaller than query_shape where keys are sub-sampled


def flatten(x: Float[Tensor, "batch channels *grid"]) -> Float[Tensor, "batch pos channels"]:
    """Turn a grid of channel vectors into a row-major list of them."""
    return x.flatten(2).transpose(1, 2)


class AttentionBlock(nn.Module):
    """A residual block `x + out(aggregate(project(x)))` over all positions of its input.

    Subclasses say what the attention is by overriding `project` or `aggregate` and by naming their
    `form` (how a logit is made of a query and a key) and their `coupling` (how logits become
    attention); whoever reads the attention from outside relies on these two names and on `scale`.

    Args:
        channels: Channels of the input and of the output.
        inner_channels: Channels of query, key and value; half of `channels` if not given.
        dimension: 1, 2 or 3: the input is (B, C, W), (B, C, H, W) or (B, C, T, H, W).
        subsample: Max-pool keys and values by 2 in space, after their convolutions.
        batch_norm: Normalize after the output convolution.
        scale: Factor on every dot product.
        init: "identity" zeroes the block's last layer, so that inserting the block into a trained
            network changes nothing. "awake" lets it act from the first step, with keys that start
            as a copy of the queries, so that attention starts as similarity of features; training
            is free to part them. With a zero gain under weight decay the gain can stay near zero
            for a whole training, and with unrelated queries and keys the network learns to do
            without its block before the block has learned anything.
    """

    form: str
    coupling: str

    def __init__(
        self,
        channels: int,
        *,
        inner_channels: int | None = None,
        dimension: int = 2,
        subsample: bool = False,
        batch_norm: bool = True,
        scale: float,
        init: Init = "identity",
    ) -> None:
        super().__init__()
        if dimension not in CONV:
            raise ValueError(f"dimension must be one of 1, 2, 3, got {dimension}")
        if init not in ("identity", "awake"):
            raise ValueError(f"init must be 'identity' or 'awake', got {init!r}")
        inner = inner_channels or max(1, channels // 2)
        conv = CONV[dimension]
        self.dimension = dimension
        self.scale = scale
        self.query = conv(channels, inner, 1)
        self.key = conv(channels, inner, 1)
        self.value = conv(channels, inner, 1)
        self.pool = MAX_POOL[dimension](POOL_WINDOW[dimension]) if subsample else nn.Identity()
        self.out = nn.Sequential(
            conv(inner, channels, 1, bias=not batch_norm),
            BATCH_NORM[dimension](channels) if batch_norm else nn.Identity(),
        )
        self._initialize(init)

    def _initialize(self, init: Init) -> None:
        if init == "identity":
            conv, norm = self.out
            last = conv if isinstance(norm, nn.Identity) else norm
            for parameter in last.parameters():
                nn.init.zeros_(parameter)
        else:
            nn.init.normal_(self.query.weight, std=0.05)
            nn.init.zeros_(self.query.get_parameter("bias"))
            self.key.load_state_dict(self.query.state_dict())

    def project(self, x: Float[Tensor, "batch channels *grid"]) -> Projections:
        """Embed the input as queries, keys and values."""
        key = self.pool(self.key(x))
        return Projections(
            query=flatten(self.query(x)),
            key=flatten(key),
            value=flatten(self.pool(self.value(x))),
            unary=None,
            query_shape=tuple(x.shape[2:]),
            key_shape=tuple(key.shape[2:]),
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
        return self.out(aggregated.transpose(1, 2).unflatten(2, shape))

    def forward(
        self, x: Float[Tensor, "batch channels *grid"]
    ) -> Float[Tensor, "batch channels *grid"]:
        """Return the input plus what attention gathered for every position."""
        projections = self.project(x)
        return x + self.restore(self.aggregate(projections), projections.query_shape)
