"""Rows over all keys, class tokens and registers too, against eager attention of libraries."""

from functools import partial

import pytest
import timm
import torch
import transformers
from torch import nn
from torchvision.models import VisionTransformer
from tracing_oracles import awake, softmaxes

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.tracing import trace

pytestmark = pytest.mark.usefixtures("as_users_run")

SMALL = {
    "hidden_size": 24,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 3,
    "image_size": 48,
    "patch_size": 16,
}
PLACES, REGISTERS = 9, ("register 1", "register 2", "register 3", "register 4")


def hugging_face(name, **options):
    config = getattr(transformers, f"{name}Config")(**SMALL, **options)
    network = getattr(transformers, f"{name}Model")(config)
    network.set_attn_implementation("eager")
    return network


def timm_vit(**options):
    network = timm.create_model(
        "vit_tiny_patch16_224", img_size=48, depth=1, embed_dim=24, num_heads=3, **options
    )
    for module in network.modules():
        if hasattr(module, "fused_attn"):
            module.fused_attn = False
    return network


def torchvision_vit():
    return VisionTransformer(48, 16, 1, 3, 24, 24)


NETWORKS = {
    "torchvision ViT": (torchvision_vit, ("class",)),
    "timm ViT": (timm_vit, ("class",)),
    "timm ViT with registers": (lambda: timm_vit(reg_tokens=4), ("class", *REGISTERS)),
    "ViT": (lambda: hugging_face("ViT"), ("class",)),
    "DeiT": (lambda: hugging_face("DeiT"), ("class", "distillation")),
    "DINOv2 with registers": (
        lambda: hugging_face("Dinov2WithRegisters", num_register_tokens=4),
        ("class", *REGISTERS),
    ),
    "DINOv3": (
        lambda: hugging_face("DINOv3ViT", num_register_tokens=4),
        ("class", *REGISTERS),
    ),
    "CLIP": (lambda: hugging_face("CLIPVision"), ("class",)),
    "SigLIP": (lambda: hugging_face("SiglipVision"), ()),
}


def eager(network, image):
    """Return the weights of every head, as a network computes them where it is asked for them."""
    asked = [module for module in network.modules() if isinstance(module, nn.MultiheadAttention)]
    for module in asked:
        vars(module)["forward"] = partial(_with_weights, module.forward)
    try:
        with torch.no_grad(), softmaxes() as own:
            network(image)
    finally:
        for module in asked:
            del vars(module)["forward"]
    return own


def _with_weights(forward, *args, need_weights=False, **kwargs):
    return forward(*args, need_weights=True, **kwargs)


@pytest.mark.parametrize("name", NETWORKS)
def test_rows_over_all_keys_are_the_modules_own(name):
    make, names = NETWORKS[name]
    torch.manual_seed(0)
    network = awake(make())
    image = torch.randn(1, 3, 48, 48, generator=torch.Generator().manual_seed(1))
    own = eager(network, image)
    records = [r for r in trace(network, image).records if len(r.query) == PLACES + len(names)]
    assert len(records) == 3
    tokens = len(names)
    for record in records:
        assert record.query_axis == record.key_axis
        assert (record.key_axis.placed, record.key_axis.names) == (PLACES, names)
        rows = terms.attention(record, range(PLACES + tokens))
        torch.testing.assert_close(rows.sum(dim=1), torch.ones(PLACES + tokens), atol=1e-6, rtol=0)
        expected = [weights for weights in own if weights.shape == rows.shape][record.head]
        # libraries have these tokens first
        torch.testing.assert_close(
            rows, expected.roll((-tokens, -tokens), (0, 1)), atol=1e-6, rtol=0
        )
