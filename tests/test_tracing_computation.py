"""Records that were traced, against the weights that networks give out themselves."""

import pytest
import timm
import torch

from tests.tracing_oracles import awake, error, softmaxes, traced

SINGLE = 1e-5

PLAIN = {"depth": 2, "embed_dim": 24, "num_heads": 3}
WINDOWS = {"depths": (2, 2), "num_heads": (1, 2), "embed_dim": 16}
OF_TIMM = {
    "vit_tiny_patch16_224": {"img_size": 48, **PLAIN},
    "deit_tiny_distilled_patch16_224": {"img_size": 48, **PLAIN},
    "vit_small_patch14_reg4_dinov2": {"img_size": 42, **PLAIN},
    "vit_small_patch16_dinov3": {"img_size": 48, **PLAIN},
    "vit_base_patch16_siglip_224": {"img_size": 48, **PLAIN},
    "eva02_tiny_patch14_224": {"img_size": 42, **PLAIN},
    "beit_base_patch16_224": {"img_size": 48, **PLAIN},
    "xcit_nano_12_p16_224": {"img_size": 48, **PLAIN},
    "cait_xxs24_224": {"img_size": 48, **PLAIN},
    "samvit_base_patch16": PLAIN
    | {"img_size": 80, "window_size": 3, "global_attn_indexes": (1,), "neck_chans": 8},
    "swin_tiny_patch4_window7_224": WINDOWS | {"img_size": 56, "window_size": 7},
    "swinv2_tiny_window8_256": WINDOWS | {"img_size": 64, "window_size": 8},
    "pvt_v2_b0": {},
    "levit_128s": {},
    "mvitv2_tiny": {"img_size": 96},
    "coatnet_nano_rw_224": {"img_size": 96},
    "maxvit_rmlp_pico_rw_256": {"img_size": 64},
    "efficientformerv2_s0": {},
    "botnet26t_256": {"img_size": 128},
}
"""Network -> what makes it small."""


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "written out"])
@pytest.mark.parametrize("name", OF_TIMM)
def test_networks_of_timm_are_read_as_their_softmax_says(name, fused):
    network = _timm(name, fused=False)
    image = torch.randn(1, 3, *_size(name, network), generator=torch.Generator().manual_seed(1))
    with softmaxes() as weights, torch.no_grad():
        network(image)
    records, refused = traced(_timm(name, fused=fused), image)
    assert not refused
    assert len(records) == len(weights)
    for record, own in zip(records, weights, strict=True):
        assert error(record, own) < 3 * SINGLE
        assert record.proof.error < SINGLE


def _timm(name, fused):
    timm.layers.set_fused_attn(fused)
    try:
        torch.manual_seed(0)
        return awake(timm.create_model(name, num_classes=5, **OF_TIMM[name]))
    finally:
        timm.layers.set_fused_attn(True)


def _size(name, network):
    side = OF_TIMM[name].get("img_size") or network.default_cfg["input_size"][-1]
    return side, side
