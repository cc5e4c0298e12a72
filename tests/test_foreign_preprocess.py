"""What networks of other libraries are given: held against these libraries' own transforms."""

import json

import numpy as np
import pytest
import torch
from torch import nn

from nonlocal_lens.analysis.prepared import decisions_of, prepared
from nonlocal_lens.models.foreign_preprocess import foreign_preprocess
from nonlocal_lens.models.preprocess import Preprocess

transformers = pytest.importorskip("transformers")

SMALL = {
    "num_hidden_layers": 1,
    "hidden_size": 24,
    "num_attention_heads": 3,
    "intermediate_size": 24,
    "image_size": 224,
}
IMAGE = np.random.default_rng(0).integers(0, 256, (224, 224, 3), dtype=np.uint8)

FAMILIES = {
    "ViT": "ViTImageProcessor",
    "CLIPVision": "CLIPImageProcessor",
    "SiglipVision": "SiglipImageProcessor",
    "Beit": "BeitImageProcessor",
}


def model_of(family, **more):
    config = getattr(transformers, f"{family}Config")(**SMALL, **more)
    return getattr(transformers, f"{family}Model")(config).eval()


@pytest.mark.parametrize("family", FAMILIES)
def test_hugging_faces_models_are_given_what_their_processor_gives(family):
    processor = getattr(transformers, FAMILIES[family])()
    expected = processor(IMAGE, return_tensors="pt")["pixel_values"]
    network = model_of(family)
    torch.testing.assert_close(prepared(network, IMAGE)[1], expected, rtol=1e-4, atol=1e-4)
    said = decisions_of(network)[0]
    assert f"the defaults of {FAMILIES[family]}, its family's processor" in said
    assert "network.preprocess" in said


@pytest.mark.parametrize(
    "about",
    [
        {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.6, 0.7]},
        {"do_normalize": False},
        {"rescale_factor": 1 / 127.5, "image_mean": [1, 1, 1], "image_std": [1, 1, 1]},
        {"do_rescale": False, "image_mean": [120, 110, 100], "image_std": [60, 60, 60]},
    ],
)
@pytest.mark.parametrize("nested", [True, False])
def test_the_processor_beside_the_weights_comes_before_its_familys(tmp_path, about, nested):
    about = {"image_processor_type": "ViTImageProcessor", **about}
    model_of("ViT").save_pretrained(tmp_path)
    if nested:
        (tmp_path / "processor_config.json").write_text(json.dumps({"image_processor": about}))
    else:
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(about))
    network = transformers.ViTModel.from_pretrained(tmp_path)
    processor = transformers.ViTImageProcessor(**about)
    expected = processor(IMAGE, return_tensors="pt")["pixel_values"]
    torch.testing.assert_close(prepared(network, IMAGE)[1], expected, rtol=1e-4, atol=1e-4)
    assert str(tmp_path) in decisions_of(network)[0]


def test_a_processor_that_scales_to_both_sides_of_0_is_followed():
    processor = transformers.VivitImageProcessor()
    values = np.array([0, 51, 255]) * processor.rescale_factor - 1  # with its offset
    expected = (values - processor.image_mean[0]) / processor.image_std[0]
    network = nn.Identity()
    network.config = transformers.VivitConfig()
    pixels = np.zeros((224, 224, 3), np.uint8)
    pixels[1], pixels[2] = 51, 255
    found = foreign_preprocess(network)(pixels)[0, 0, :3, 7]
    torch.testing.assert_close(found, torch.from_numpy(expected).float())


def test_a_processor_that_crops_is_said_to_and_every_pixel_is_seen():
    found = foreign_preprocess(model_of("DeiT"))
    assert found.mean == tuple(transformers.DeiTImageProcessor().image_mean)
    assert "its processor crops the middle of what it resizes" in found.decisions
    assert found.input_hw((100, 300)) == (224, 224)


def test_a_family_without_a_processor_of_its_own_is_assumed_and_said():
    network = model_of("Dinov2")
    assert foreign_preprocess(network).mean == Preprocess.mean
    assert "ImageNet's mean and deviation, as nothing tells its own" in decisions_of(network)[0]


def test_timms_networks_are_given_what_timms_transform_gives():
    timm = pytest.importorskip("timm")
    for name in ("vit_tiny_patch16_224", "deit3_small_patch16_224", "vit_base_patch16_clip_224"):
        network = timm.create_model(name, pretrained=False, depth=1, embed_dim=24, num_heads=3)
        config = timm.data.resolve_model_data_config(network)
        values = torch.from_numpy(IMAGE).permute(2, 0, 1) / 255
        expected = (values - torch.tensor(config["mean"])[:, None, None]) / torch.tensor(
            config["std"]
        )[:, None, None]
        torch.testing.assert_close(prepared(network, IMAGE)[1][0], expected)


def test_torchvisions_networks_are_given_what_their_weights_transform_gives():
    from torchvision.models import VisionTransformer, ViT_B_32_Weights
    from torchvision.models.video import R3D_18_Weights, r3d_18

    values = torch.from_numpy(IMAGE).permute(2, 0, 1)
    network = VisionTransformer(224, 32, 1, 3, 24, 24).eval()
    expected = ViT_B_32_Weights.DEFAULT.transforms(resize_size=224)(values)
    torch.testing.assert_close(prepared(network, IMAGE)[1][0], expected)
    shown = R3D_18_Weights.DEFAULT.transforms()
    assert foreign_preprocess(r3d_18(weights=None)).mean == tuple(shown.mean)


def test_a_processor_that_is_no_json_is_named(tmp_path):
    model_of("ViT").save_pretrained(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text("{")
    network = transformers.ViTModel.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match=r"preprocessor_config\.json is no readable JSON"):
        prepared(network, IMAGE)
