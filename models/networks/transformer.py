"""A small vision transformer that scores every patch of an image for every class."""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

FIRST_SPREAD = 0.02
"""Standard deviation of the first weights, as usual since Dosovitskiy et al., ICLR 2021."""

PIXELS_EACH_WAY = 4
"""Places along each side of a patch that are scored; what is between is interpolated."""


class SelfAttention(nn.Module):
    """Softmax attention of all tokens to all tokens, several heads wide (Vaswani et al. 2017)."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(channels, 3 * channels)
        self.project = nn.Linear(channels, channels)

    def forward(
        self, x: Float[Tensor, "batch tokens channels"]
    ) -> Float[Tensor, "batch tokens channels"]:
        """Return what every token gathers from all."""
        query, key, value = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in self.qkv(x).chunk(3, dim=2)
        )
        gathered = F.scaled_dot_product_attention(query, key, value)
        projected: Tensor = self.project(gathered.transpose(1, 2).flatten(2))
        return projected


class TransformerLayer(nn.Module):
    """Attention, then two linear layers, each normalized before and added to what came in."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.attention = SelfAttention(channels, heads)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(
            nn.Linear(channels, 4 * channels), nn.GELU(), nn.Linear(4 * channels, channels)
        )

    def forward(
        self, x: Float[Tensor, "batch tokens channels"]
    ) -> Float[Tensor, "batch tokens channels"]:
        """Return the tokens of the next layer."""
        x = x + self.attention(self.norm1(x))
        after: Tensor = x + self.mlp(self.norm2(x))
        return after


def patch_embedding(channels: int, patch: int) -> nn.Sequential:
    """Return convolutions without overlap whose cells see exactly a patch of the image.

    Patches of 4 pixels are embedded, then joined 2 x 2 until they are as large as asked: the stem
    of Touvron et al. ("Three things everyone should know about Vision Transformers", ECCV 2022),
    which learns from few images what a single large convolution does not.

    Raises:
        ValueError: The patch is not 4, 8, 16, ... pixels a side.
    """
    joins = (patch // 4).bit_length() - 1
    if patch != 4 << max(joins, 0):
        raise ValueError(f"patches must be 4, 8, 16, ... pixels a side, got {patch}")
    layers: list[nn.Module] = []
    width = 3
    for step in range(joins + 1):
        wider = max(1, channels // 4) if step < joins else channels
        side = 2 if step else 4
        layers += [nn.Conv2d(width, wider, side, side), nn.BatchNorm2d(wider)]
        layers += [nn.GELU()] if step < joins else []
        width = wider
    return nn.Sequential(*layers)


class VisionTransformer(nn.Module):
    """Tokens of patches, a class token and registers, through layers of attention.

    Registers are tokens that stand for nothing in the image and are thrown away at the end, so
    that global information need not be kept in a patch (Darcet et al., ICLR 2024).

    Args:
        channels: Of a token.
        layers: How many follow each other.
        heads: Of attention, in every layer; they divide the channels.
        registers: Tokens beside those of the class and of patches.
        patch: Side of a patch in pixels.
        grid_hw: Patches that a learned position is kept for; of another grid they are resampled.
    """

    def __init__(
        self,
        channels: int,
        layers: int,
        heads: int,
        registers: int,
        patch: int,
        grid_hw: tuple[int, int],
    ) -> None:
        super().__init__()
        if channels % heads:
            raise ValueError(f"{heads} heads do not divide {channels} channels")
        self.embed = patch_embedding(channels, patch)
        self.class_token = nn.Parameter(torch.empty(1, 1, channels))
        self.register_tokens = nn.Parameter(torch.empty(1, registers, channels))
        self.position = nn.Parameter(torch.empty(1, channels, *grid_hw))
        self.layers = nn.ModuleList(TransformerLayer(channels, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(channels)
        self.apply(draw_first_weights)
        for parameter in (self.class_token, self.register_tokens, self.position):
            nn.init.trunc_normal_(parameter, std=FIRST_SPREAD)

    def forward(
        self, x: Float[Tensor, "batch 3 height width"]
    ) -> tuple[Float[Tensor, "batch channels rows cols"], Float[Tensor, "batch channels"]]:
        """Return the last layer's patches, and its class token."""
        patches = self.embed(x)
        grid = patches.shape[2:]
        patches = patches + F.interpolate(
            self.position, size=grid, mode="bicubic", align_corners=False
        )
        beside = (self.class_token, self.register_tokens)
        tokens = torch.cat(
            [*(token.expand(len(x), -1, -1) for token in beside), patches.flatten(2).mT], dim=1
        )
        for layer in self.layers:
            tokens = layer(tokens)
        tokens = self.norm(tokens)
        of_patches = tokens[:, -grid.numel() :].mT.unflatten(2, grid)
        return of_patches, tokens[:, 0]


class PatchHead(nn.Module):
    """A linear classifier of 4 x 4 places in every patch, and of what there is in the image.

    As in Segmenter's linear decoder (Strudel et al., ICCV 2021) there is nothing else behind the
    transformer: what a pixel is called can come from elsewhere through attention only. What the
    class token says is added to every pixel's score.
    """

    def __init__(self, channels: int, classes: int) -> None:
        super().__init__()
        self.of_patches = nn.Conv2d(channels, classes * PIXELS_EACH_WAY**2, 1)
        self.of_image = nn.Linear(channels, classes)
        self.apply(draw_first_weights)

    def forward(
        self,
        patches: Float[Tensor, "batch channels rows cols"],
        class_token: Float[Tensor, "batch channels"],
    ) -> Float[Tensor, "batch classes rows4 cols4"]:
        """Return class scores (logits), 4 x 4 for every patch."""
        scores = F.pixel_shuffle(self.of_patches(patches), PIXELS_EACH_WAY)
        whole: Tensor = scores + self.of_image(class_token)[:, :, None, None]
        return whole


def draw_first_weights(module: nn.Module) -> None:
    """Draw the first weights of a linear layer or convolution; others keep theirs."""
    if isinstance(module, nn.Linear | nn.Conv2d):
        nn.init.trunc_normal_(module.weight, std=FIRST_SPREAD)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
