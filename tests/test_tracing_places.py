"""Tokens lie where pixels change them: networks as they come, with a few pixels perturbed."""

import numpy as np
import pytest
import timm
import torch
import transformers as hf
from torch import Tensor, nn

from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.tracing import trace

pytestmark = pytest.mark.slow

POINTS = 3
VIT = {"depth": 2, "embed_dim": 24, "num_heads": 3}
SWIN = {"depths": (2, 2), "num_heads": (1, 2), "embed_dim": 16}
HF = {
    "hidden_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 24,
}


def of_timm(name: str, size: tuple[int, int], **options) -> tuple[nn.Module, tuple[int, ...]]:
    return timm.create_model(name, pretrained=False, num_classes=0, **options), (1, 3, *size)


def windowed_sam() -> nn.Module:
    return hf.SamVisionModel(
        hf.SamVisionConfig(
            hidden_size=24, num_hidden_layers=2, num_attention_heads=3, image_size=80,
            patch_size=8, window_size=3, global_attn_indexes=[1], output_channels=8, mlp_dim=24,
            initializer_range=0.02,
        )
    )  # fmt: skip


NETWORKS = {
    "ViT": lambda: of_timm("vit_tiny_patch16_224", (48, 80), img_size=(48, 80), **VIT),
    "ViT of patches of 32 x 8": lambda: of_timm(
        "vit_tiny_patch16_224", (96, 56), img_size=(96, 56), patch_size=(32, 8), **VIT
    ),
    "ViT whose patches leave a border": lambda: (
        hf.Dinov2Model(hf.Dinov2Config(image_size=64, patch_size=14, **HF)), (1, 3, 64, 74)
    ),
    "DeiT distilled": lambda: of_timm(
        "deit_tiny_distilled_patch16_224", (48, 80), img_size=(48, 80), **VIT
    ),
    "DINOv2 with registers": lambda: of_timm(
        "vit_small_patch14_reg4_dinov2", (42, 70), img_size=(42, 70), **VIT
    ),
    "DINOv3": lambda: of_timm("vit_small_patch16_dinov3", (48, 80), img_size=(48, 80), **VIT),
    "EVA-02": lambda: of_timm("eva02_tiny_patch14_224", (42, 70), img_size=(42, 70), **VIT),
    "BEiT": lambda: of_timm("beit_base_patch16_224", (48, 80), img_size=(48, 80), **VIT),
    "SigLIP": lambda: of_timm(
        "vit_base_patch16_siglip_224", (48, 80), img_size=(48, 80), **VIT
    ),
    "CLIP": lambda: of_timm("vit_base_patch32_clip_224", (64, 96), img_size=(64, 96), **VIT),
    "CaiT": lambda: of_timm("cait_xxs24_224", (48, 48), img_size=48, **VIT),
    "SAM": lambda: (windowed_sam(), (1, 3, 80, 80)),
    "Swin": lambda: of_timm(
        "swin_tiny_patch4_window7_224", (56, 56), img_size=56, window_size=7, **SWIN
    ),
    "Swin with padded windows": lambda: (
        hf.SwinModel(hf.SwinConfig(depths=[2, 2], num_heads=[2, 4], embed_dim=24, window_size=7)),
        (1, 3, 64, 92),
    ),
    "Swin v2": lambda: of_timm(
        "swinv2_tiny_window8_256", (64, 64), img_size=64, window_size=8, **SWIN
    ),
    "VideoMAE": lambda: (
        hf.VideoMAEModel(hf.VideoMAEConfig(image_size=32, num_frames=4, **HF)), (1, 4, 3, 32, 32)
    ),
    "TimeSformer": lambda: (
        hf.TimesformerModel(hf.TimesformerConfig(image_size=32, num_frames=4, **HF)),
        (1, 4, 3, 32, 32),
    ),
    "ViViT": lambda: (
        hf.VivitModel(hf.VivitConfig(image_size=32, num_frames=4, **HF)), (1, 4, 3, 32, 32)
    ),
}  # fmt: skip
"""Network -> its module and the shape of its input."""


CONVOLVED = {
    "MaxViT": lambda: of_timm("maxvit_rmlp_pico_rw_256", (64, 64), img_size=64),
    "CoAtNet": lambda: of_timm("coatnet_nano_rw_224", (160, 192), img_size=(160, 192)),
    "LeViT": lambda: of_timm("levit_128s", (224, 224)),
    "MViTv2": lambda: of_timm("mvitv2_tiny", (96, 96), img_size=96),
    "PVTv2": lambda: of_timm("pvt_v2_b0", (64, 96)),
    "BoTNet": lambda: of_timm("botnet26t_256", (256, 256)),
    "MobileViT": lambda: of_timm("mobilevit_xxs", (128, 160)),
    "TinyViT": lambda: of_timm("tiny_vit_5m_224", (224, 224)),
    "SegFormer": lambda: (
        hf.SegformerModel(hf.SegformerConfig(depths=[1] * 4, hidden_sizes=[8, 16, 20, 32])),
        (1, 3, 64, 96),
    ),
    "DETR": lambda: (
        hf.DetrModel(
            hf.DetrConfig(
                backbone="resnet18", use_timm_backbone=True, use_pretrained_backbone=False,
                d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2,
                decoder_attention_heads=2, encoder_ffn_dim=16, decoder_ffn_dim=16, num_queries=5,
            )
        ), (1, 3, 128, 160),
    ),
}  # fmt: skip
"""Network whose tokens see more pixels than those of their cell -> the same."""


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", NETWORKS)
def test_the_token_that_a_pixel_changes_most_lies_there(name):
    before, runs = seen(*NETWORKS[name]())
    for point, after in runs:
        for old, new in zip(before, after, strict=True):
            for side in ("query", "key"):
                held(old, new, side, point)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CONVOLVED)
def test_the_tokens_that_a_pixel_changes_lie_around_it(name):
    before, runs = seen(*CONVOLVED[name]())
    first, told = before[0], 0
    for point, after in runs:
        grid = first.query_grid
        change = changes(first, after[0], "query") ** 2
        if not change.any():  # pooling hid it behind larger values
            continue
        told += 1
        middles = torch.tensor([first.query_axis.center(i) for i in range(first.query_axis.placed)])
        across, down = ((change[:, None] * middles).sum(0) / change.sum()).tolist()
        assert abs(across - point[2] - 0.5) <= 0.75 * grid.cell_width
        assert abs(down - point[1] - 0.5) <= 0.75 * grid.cell_height
    assert told


def seen(network: nn.Module, shape: tuple[int, ...]):
    """Return the records of a network, and those after each of some pixels was perturbed."""
    torch.manual_seed(0)
    network = awake(network.eval())
    x = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    before = trace(network, x)
    assert not before.refused
    assert before.records
    generator = np.random.default_rng(2)
    runs = [(p, trace(network, perturbed(x, p)).records) for p in points(shape, generator)]
    return before.records, runs


def held(old: AttentionRecord, new: AttentionRecord, side: str, point: tuple[int, ...]) -> None:
    """Hold that what changed most is less than a cell away from the pixel that was changed."""
    axis = getattr(old, f"{side}_axis")
    if not axis.placed:
        return
    frame, y, x = point
    grid = axis.grid
    best = int(changes(old, new, side)[: axis.placed].argmax())
    across, down = axis.center(best)
    assert abs(across - x - 0.5) <= 1.05 * grid.cell_width, (old.block, side)
    assert abs(down - y - 0.5) <= 1.05 * grid.cell_height, (old.block, side)
    if grid.frames > 1:
        step = 4 / grid.frames if grid.frame_step is None else grid.frame_step
        cell = grid.cell(axis.cell(best))
        assert cell.frame * step <= frame < (cell.frame + 1) * step


def changes(old: AttentionRecord, new: AttentionRecord, side: str) -> Tensor:
    """Return how much every token changed; channels that a bias was parted into are left out."""
    own = round(old.scale**-2) if old.scale < 0.6 else None
    change: Tensor = (getattr(new, side) - getattr(old, side))[:, :own].norm(dim=1)
    return change


def awake(network: nn.Module) -> nn.Module:
    """Give parameters that begin as zero, and so hide what they multiply, other values."""
    for parameter in network.parameters():
        if parameter.ndim and not parameter.detach().any():
            nn.init.normal_(parameter, std=0.02)
        elif parameter.ndim == 1 and float(parameter.detach().abs().max()) < 1e-2:
            nn.init.constant_(parameter, 0.5)  # scales of layers
    return network


def points(shape: tuple[int, ...], generator: np.random.Generator) -> list[tuple[int, int, int]]:
    """Return some pixels, (frame, y, x), none on the border."""
    frames = shape[1] if len(shape) == 5 else 1
    height, width = (side - side % 16 for side in shape[-2:])
    return [
        (
            int(generator.integers(frames)),
            int(generator.integers(height // 4, height - height // 4)),
            int(generator.integers(width // 4, width - width // 4)),
        )
        for _ in range(POINTS)
    ]


def perturbed(x: Tensor, point: tuple[int, int, int]) -> Tensor:
    """Return an input of which some pixels are other ones."""
    frame, row, column = point
    y = x.clone()
    part = y[0, frame] if y.ndim == 5 else y[0]
    part[:, row - 1 : row + 2, column - 1 : column + 2] += 3.0
    return y
