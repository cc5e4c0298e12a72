"""Networks of transformers and diffusers that were traced, against their own eager attention."""

import pytest
import torch
import transformers

from nonlocal_lens.analysis.tracing import trace
from tests.tracing_oracles import awake, error, softmaxes

pytestmark = pytest.mark.usefixtures("as_users_run")

SMALL = {
    "hidden_size": 24,
    "intermediate_size": 24,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "image_size": 48,
    "patch_size": 16,
}


def of(name, config, attention):
    """Return a network of random weights that computes attention in one of two ways."""
    torch.manual_seed(0)
    network = getattr(transformers, name)(config)
    if attention == "eager":  # the other one is what they do by themselves
        network.set_attn_implementation("eager")
    return awake(network)


def detr():
    backbone = transformers.ResNetConfig(
        embedding_size=8, hidden_sizes=[8, 8, 8, 16], depths=[1, 1, 1, 1], out_features=["stage4"]
    )
    return transformers.DetrConfig(
        use_timm_backbone=False,
        use_pretrained_backbone=False,
        backbone_config=backbone,
        backbone=None,
        d_model=24,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=3,
        decoder_attention_heads=3,
        encoder_ffn_dim=24,
        decoder_ffn_dim=24,
        num_queries=7,
    )


NETWORKS = {
    "ViTModel": lambda: transformers.ViTConfig(**SMALL),
    "Dinov2WithRegistersModel": lambda: transformers.Dinov2WithRegistersConfig(**SMALL),
    "CLIPVisionModel": lambda: transformers.CLIPVisionConfig(**SMALL),
    "SiglipVisionModel": lambda: transformers.SiglipVisionConfig(**SMALL),
    "SegformerModel": lambda: transformers.SegformerConfig(
        hidden_sizes=[8, 12, 16, 24], depths=[1, 1, 1, 1], num_attention_heads=[1, 1, 2, 3]
    ),
    "Swinv2Model": lambda: transformers.Swinv2Config(
        image_size=64, embed_dim=12, depths=[2, 2], num_heads=[1, 2], window_size=8
    ),
    "DetrModel": detr,
}


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("name", NETWORKS)
def test_networks_of_transformers_are_read_as_their_eager_attention_says(name, attention):
    config = NETWORKS[name]()
    size = getattr(config, "image_size", 64) or 64
    image = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(1))
    with softmaxes() as own, torch.no_grad():
        of(name, config, "eager")(pixel_values=image)
    found = trace(of(name, NETWORKS[name](), attention), pixel_values=image)
    assert not found.refused
    assert len({(r.block, r.call) for r in found.records}) >= len(own) / 4 / 16
    for record in found.records:
        assert record.proof.error < 1e-5
    whole = [r for r in found.records if r.reach is None and r.key_axis.cells is None]
    assert whole
    for record in whole:
        alike = [w for w in own if w.shape == (len(record.query), len(record.key))]
        assert any(_same(record, weights) for weights in alike)


def _same(record, weights):
    """Return whether weights are a record's, whose named tokens come last instead of first."""
    for axis, side in ((record.query_axis, 0), (record.key_axis, 1)):
        weights = weights.roll(-len(axis.names), dims=side) if axis.placed else weights
    return error(record, weights) < 3e-5


@pytest.mark.parametrize("processor", [None, "AttnProcessor", "SlicedAttnProcessor"])
def test_pictures_and_words_of_a_diffusion_network_are_read(processor):
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    network = diffusers.UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(16, 16),
        down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=12,
        attention_head_dim=2,
        layers_per_block=1,
        norm_num_groups=4,
    ).eval()
    if processor is not None:
        kinds = diffusers.models.attention_processor
        more = (1,) if processor.startswith("Sliced") else ()
        network.set_attn_processor(getattr(kinds, processor)(*more))
    words = torch.randn(1, 5, 12)
    found = trace(network, torch.randn(1, 4, 8, 8), torch.tensor([10]), words)
    # on the way up, maps that lie a fraction of a cell apart are joined
    assert all(each.module.startswith("up_blocks") for each in found.refused)
    cross = [r for r in found.records if r.block.endswith("attn2")]
    assert len(cross) == len(found.records) / 2 > 0
    assert all(len(r.key) == 5 and r.key_axis.placed == 0 for r in cross)
    assert all(r.query_axis.placed == len(r.query) for r in found.records)
    assert max(r.proof.error for r in found.records) < 1e-5


def test_points_that_prompt_a_segmenter_are_tokens_by_name():
    vision = {**SMALL, "output_channels": 24, "global_attn_indexes": [1], "window_size": 2}
    config = transformers.SamConfig(
        vision_config={**vision, "mlp_dim": 24, "num_pos_feats": 12},
        prompt_encoder_config={"hidden_size": 24, "image_size": 48, "patch_size": 16},
        mask_decoder_config={"hidden_size": 24, "mlp_dim": 24, "num_attention_heads": 2},
    )
    network = awake(transformers.SamModel(config))
    points = torch.tensor([[[[31.0, 11.0], [5.0, 40.0]]]])
    found = trace(network, pixel_values=torch.randn(1, 3, 48, 48), input_points=points)
    assert not found.refused
    decoding = [r for r in found.records if r.block.startswith("mask_decoder")]
    assert len(decoding) == 14
    prompted = [r for r in decoding if r.block.endswith("self_attn")]
    for record in prompted:
        assert record.key_axis.placed == 0
        assert record.key_axis.names[-3:-1] == ("input_points 1", "input_points 2")
    asking = next(r for r in decoding if r.block.endswith("token_to_image"))
    assert (asking.query_axis.placed, asking.key_axis.placed) == (0, 9)


def test_words_keep_their_names_where_numbers_of_a_size_scale_them_all():
    diffusers = pytest.importorskip("diffusers")
    network = diffusers.CogView4Transformer2DModel(
        patch_size=2, in_channels=4, out_channels=4, num_layers=1, attention_head_dim=8,
        num_attention_heads=3, text_embed_dim=12, time_embed_dim=8, condition_dim=4,
        sample_size=14, rope_axes_dim=(32, 32),
    )  # fmt: skip
    size, corner = torch.tensor([[20, 28]]), torch.tensor([[0, 0]])
    found = trace(
        awake(network), torch.randn(1, 4, 10, 14), torch.randn(1, 3, 12), torch.tensor([10]),
        original_size=size, target_size=size, crop_coords=corner,
    )  # fmt: skip
    assert not found.refused
    for record in found.records:
        assert record.query_axis.grid.shape == (1, 5, 7)
        assert len(record.key_axis.names) == 3
        assert record.key_axis.names[2].endswith(" 3")
