"""The transformers that come with the package: what they are made of, and how they are read."""

import numpy as np
import pytest
import torch

from nonlocal_lens.analysis import capture, terms
from nonlocal_lens.analysis.early_exit import observe_blocks
from nonlocal_lens.analysis.grid import Cell
from nonlocal_lens.analysis.interventions import intervene
from nonlocal_lens.analysis.own_blocks import only_own_blocks_attend
from nonlocal_lens.app.layers import blocks_of
from nonlocal_lens.models.checkpoint import load_network, save_network
from nonlocal_lens.models.networks.architecture import build
from nonlocal_lens.models.networks.description import TransformerArchitecture, read_architecture
from nonlocal_lens.models.networks.transformer import (
    PatchHead,
    SelfAttention,
    VisionTransformer,
    patch_embedding,
)
from nonlocal_lens.models.training.recipe import STREET_RECIPES
from nonlocal_lens.models.training.streets import architecture_of, optimizer_of
from tests.networks import CLASSES, tiny_transformer, tiny_transformer_architecture


@pytest.mark.parametrize("registers", [0, 3])
def test_it_scores_every_pixel_of_any_size_that_patches_tile(registers):
    network = tiny_transformer(registers)
    for height, width in ((40, 56), (24, 88), (8, 8)):
        assert network(torch.randn(2, 3, height, width)).shape == (2, 3, height, width)


@pytest.mark.parametrize("patch", [4, 8, 16])
def test_a_cell_of_the_embedding_sees_its_patch_and_nothing_else(patch):
    torch.manual_seed(0)
    embed = patch_embedding(8, patch).eval()
    image = torch.randn(1, 3, 3 * patch, 5 * patch)
    before = embed(image)
    assert before.shape == (1, 8, 3, 5)
    image[:, :, patch : 2 * patch, 3 * patch : 4 * patch] += 1
    changed = (embed(image) != before).any(dim=1)[0]
    assert changed.nonzero().tolist() == [[1, 3]]


@pytest.mark.parametrize("patch", [0, 2, 6, 12, 24])
def test_patches_of_another_size_are_refused(patch):
    with pytest.raises(
        ValueError, match=f"patches must be 4, 8, 16, ... pixels a side, got {patch}"
    ):
        patch_embedding(8, patch)


def test_heads_that_do_not_divide_the_channels_are_refused():
    with pytest.raises(ValueError, match="5 heads do not divide 12 channels"):
        VisionTransformer(12, 1, 5, 0, 8, (5, 7))


def test_attention_is_that_of_torch_with_the_same_weights():
    torch.manual_seed(0)
    ours, theirs = SelfAttention(12, 3), torch.nn.MultiheadAttention(12, 3, batch_first=True)
    theirs.in_proj_weight.data, theirs.in_proj_bias.data = ours.qkv.weight.data, ours.qkv.bias.data
    theirs.out_proj.weight.data = ours.project.weight.data
    theirs.out_proj.bias.data = ours.project.bias.data
    x = torch.randn(2, 11, 12)
    torch.testing.assert_close(ours(x), theirs(x, x, x, need_weights=False)[0])


def test_positions_are_kept_as_they_are_on_the_grid_that_they_were_learned_for():
    network = tiny_transformer().backbone
    seen = []
    network.layers[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    image = torch.randn(1, 3, 40, 56)
    network(image)
    expected = (network.embed(image) + network.position).flatten(2).mT
    torch.testing.assert_close(seen[0][:, 1:], expected, rtol=0, atol=0)


def test_the_class_token_speaks_for_every_pixel_alike():
    torch.manual_seed(0)
    head = PatchHead(12, 3)
    patches, token = torch.randn(1, 12, 3, 5), torch.randn(1, 12)
    added = head(patches, token) - head(patches, torch.zeros(1, 12))
    torch.testing.assert_close(
        added, (head.of_image.weight @ token[0])[None, :, None, None].expand(1, 3, 12, 20)
    )


@pytest.mark.parametrize("registers", [0, 3])
def test_every_head_is_read_with_its_tokens_and_patches(registers):
    network = tiny_transformer(registers)
    image = np.random.default_rng(0).integers(0, 256, (256, 264, 3), dtype=np.uint8)
    records = capture(network, image)
    qkv = []
    for layer in network.backbone.layers:
        layer.attention.qkv.register_forward_hook(lambda _, inputs, output: qkv.append(output))
    network(network.preprocess(image))
    titles = [
        (f"backbone.layers.{layer}.attention", head) for layer in (0, 1) for head in (0, 1, 2)
    ]
    assert [(record.block, record.head) for record in records] == titles
    names = ("class", *(f"register {number}" for number in range(1, registers + 1)))
    for number, record in enumerate(records):
        query, key, _ = (
            part[:, number % 3] for part in qkv[number // 3][0].unflatten(1, (3, 3, 4)).unbind(1)
        )
        expected = (query.double() @ key.double().T / 2).softmax(dim=1)
        placed_first = torch.arange(len(expected)).roll(-len(names))
        expected = expected[placed_first][:, placed_first]
        own = terms.attention(record, torch.arange(len(expected)))
        torch.testing.assert_close(own.double(), expected, rtol=1e-4, atol=1e-7)
        grid = record.query_grid
        assert (grid.height, grid.width) == (32, 33)
        assert record.query_axis.names == names
        assert grid.center(Cell(5, 7)) == (60.0, 44.0)  # x, y


def test_it_survives_its_weight_file(tmp_path):
    architecture = tiny_transformer_architecture(3)
    assert read_architecture(architecture.to_json()) == architecture
    network = tiny_transformer(3)
    save_network(tmp_path / "tiny.safetensors", network, architecture)
    x = torch.randn(1, 3, 40, 56)
    loaded = load_network(tmp_path / "tiny.safetensors")
    torch.testing.assert_close(loaded(x), network(x), rtol=1e-2, atol=1e-2)


def test_a_header_with_another_trunk_is_refused():
    text = TransformerArchitecture(CLASSES).to_json().replace("transformer", "perceptron")
    message = "unknown trunk 'perceptron' for segmentation; available: residual, transformer"
    with pytest.raises(ValueError, match=message):
        read_architecture(text)


def test_both_are_trained_alike_but_for_the_registers():
    with_registers, without = (
        [STREET_RECIPES[f"{prefix}{name}"] for prefix, name in steps]
        for steps in (
            (("vit-reg-", "views"), ("streets-vit", "-reg")),
            (("vit-", "views"), ("streets-", "vit")),
        )
    )
    for one, other in zip(with_registers, without, strict=True):
        same = {"network": one.network, "start_from": one.start_from}
        assert one == type(other)(**{**vars(other), **same})
        assert isinstance(optimizer_of(build(architecture_of(other)), other), torch.optim.AdamW)


def test_a_transformer_has_no_block_to_replace():
    recipe = STREET_RECIPES["streets-vit"]
    with pytest.raises(ValueError, match="streets-vit is a transformer"):
        architecture_of(type(recipe)(**{**vars(recipe), "block": "pairwise"}))


def test_its_attention_is_listed_measured_and_changed_like_any_other():
    network = tiny_transformer(3)
    assert not only_own_blocks_attend(network)
    rows, left_out = blocks_of(network)
    blocks = [f"backbone.layers.{layer}.attention" for layer in (0, 1)]
    assert [(row["block"], row["heads"]) for row in rows] == [(block, 3) for block in blocks]
    assert not left_out
    image = np.random.default_rng(0).integers(0, 256, (256, 264, 3), dtype=np.uint8)
    seen = observe_blocks(network, image, to_the_end=False)
    assert [(record.block, record.head) for record in seen.records] == [
        (block, head) for block in blocks for head in range(3)
    ]
    x = network.preprocess(image)
    before = network(x)
    for how in ("off", "mean_row", "uniform", "noise", "unary_only", "pairwise_only"):
        with intervene(network, how):
            assert not torch.allclose(network(x), before), how
    assert torch.equal(network(x), before)
