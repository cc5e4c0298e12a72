"""The transformer for clips: what it attends to, how it is read, how it is kept."""

import numpy as np
import pytest
import torch
from clips import tiny_clip_architecture, tiny_hybrid_architecture, tiny_hybrid_network

from nonlocal_lens.analysis import capture, terms
from nonlocal_lens.analysis.capture import takes_clips
from nonlocal_lens.analysis.grid import Cell
from nonlocal_lens.analysis.interventions import intervene
from nonlocal_lens.models.checkpoint import load_network, save_network
from nonlocal_lens.models.networks.description import HybridClipArchitecture, read_architecture
from nonlocal_lens.models.networks.spacetime_transformer import SpacetimeTransformer
from nonlocal_lens.streets import CLIP_LABELS

FEATURES = torch.randn(2, 6, 5, 6, 14, generator=torch.Generator().manual_seed(0))
CLIP = np.random.default_rng(0).integers(0, 256, (5, 48, 112, 3), dtype=np.uint8)
BLOCKS = ["head.layers.0.attention", "head.layers.1.attention"]


def tiny_head():
    torch.manual_seed(0)
    head = SpacetimeTransformer(6, 12, 2, 3, 4).eval()
    for layer in head.layers:  # as if trained: by the first weights hardly anything moves
        for weight in (layer.attention.qkv.weight, layer.attention.project.weight):
            weight.data *= 20
    return head


@torch.no_grad()
def test_clips_of_a_batch_know_nothing_of_each_other():
    head = tiny_head()
    scores = head(FEATURES)
    assert scores.shape == (2, 4)
    torch.testing.assert_close(head(FEATURES.flip(0)), scores.flip(0))
    torch.testing.assert_close(head(FEATURES[1:]), scores[1:])


@torch.no_grad()
@pytest.mark.parametrize("axis", [2, 3, 4])
def test_order_plays_a_part_through_positions_alone(axis):
    head = tiny_head()
    for layer in (head.conv_in[0], head.merge[0]):  # kernels that a mirror leaves as they are
        layer.weight.data = layer.weight.mean(dim=(2, 3), keepdim=True).expand_as(layer.weight)
    assert not torch.allclose(head(FEATURES), head(FEATURES.flip(axis)), atol=1e-3)
    for position in (head.place, head.position):  # without these, there is no order
        torch.nn.init.zeros_(position.embed.weight)
    torch.testing.assert_close(head(FEATURES), head(FEATURES.flip(axis)))


def test_scores_hang_on_every_cell_of_every_frame():
    features = FEATURES.clone().requires_grad_()
    tiny_head()(features)[:, 0].sum().backward()
    assert features.grad.abs().amin(dim=1).gt(0).all()


@torch.no_grad()
def test_a_token_is_told_by_tokens_of_all_frames_in_every_layer():
    head, changed = tiny_head(), FEATURES.clone()
    changed[:, :, 4, 2:4, 6:8] += 1
    tokens = []
    for layer in head.layers:
        layer.register_forward_hook(lambda *call: tokens.append(call[2]))
    head(FEATURES), head(changed)
    assert tokens[0].shape == (2, 1 + 5 * 3 * 7, 12)
    for before, after in zip(tokens[:2], tokens[2:], strict=True):
        assert (before != after).any(dim=2).all()


@torch.no_grad()
def test_a_token_is_2_x_2_cells_of_one_frame_and_those_around_them():
    head, changed = tiny_head(), FEATURES.clone()
    changed[:, :, 4, 2, 7] += 1
    tokens = []
    head.layers[0].register_forward_pre_hook(lambda _, inputs: tokens.append(inputs[0]))
    head(FEATURES), head(changed)
    differ = (tokens[0] != tokens[1]).any(dim=2)
    assert not differ[:, 0].any(), "the class token comes first"
    assert differ[0, 1:].unflatten(0, (5, 3, 7)).nonzero().tolist() == [
        [4, row, column] for row in (0, 1) for column in (3, 4)
    ]


@torch.no_grad()
def test_any_number_of_frames_and_any_size_may_come():
    head = tiny_head()
    for shape in ((1, 2, 2), (7, 3, 5), (2, 13, 9)):
        assert head(torch.randn(1, 6, *shape)).isfinite().all()
    network = tiny_hybrid_network()
    for height, width in ((97, 131), (113, 60), (24, 100)):
        sides = network.preprocess(np.zeros((3, height, width, 3), np.uint8)).shape[3:]
        assert max(sides) == 112
        assert all(side % 16 == 0 for side in sides), "whole tokens tile a frame"


def test_every_head_is_read_with_its_class_token_and_its_places_in_all_frames():
    network = tiny_hybrid_network()
    assert takes_clips(network)
    records = capture(network, CLIP)
    qkv = []
    for layer in network.head.layers:
        layer.attention.qkv.register_forward_hook(lambda _, inputs, output: qkv.append(output))
    with torch.no_grad():
        network(network.preprocess(CLIP))
    titles = [(block, head) for block in BLOCKS for head in (0, 1, 2)]
    assert [(record.block, record.head) for record in records] == titles
    for number, record in enumerate(records):
        query, key, _ = (
            part[:, number % 3] for part in qkv[number // 3][0].unflatten(1, (3, 3, 4)).unbind(1)
        )
        expected = (query.double() @ key.double().T / 2).softmax(dim=1)
        placed_first = torch.arange(len(expected)).roll(-1)
        expected = expected[placed_first][:, placed_first]
        own = terms.attention(record, torch.arange(len(expected)))
        torch.testing.assert_close(own.double(), expected, rtol=1e-4, atol=1e-7)
        assert record.query_grid.shape == record.key_grid.shape == (5, 3, 7)
        assert record.query_axis.names == record.key_axis.names == ("class",)
        assert record.query_grid.center(Cell(1, 4)) == (72.0, 24.0)  # x, y
        assert record.proof.error < record.proof.tolerance


def test_its_attention_is_changed_like_any_other():
    network = tiny_hybrid_network()
    x = network.preprocess(CLIP)
    with torch.no_grad():
        before = network(x)
        for how in ("off", "mean_row", "uniform", "noise", "unary_only", "pairwise_only"):
            with intervene(network, how):
                assert not torch.allclose(network(x), before), how
        assert torch.equal(network(x), before)


def test_it_survives_its_weight_file(tmp_path):
    network, architecture = tiny_hybrid_network(), tiny_hybrid_architecture()
    assert read_architecture(architecture.to_json()) == architecture
    assert architecture.attends
    assert architecture.depth == 4 + 2
    save_network(tmp_path / "tiny.safetensors", network, architecture)
    loaded = load_network(tmp_path / "tiny.safetensors")
    x = network.preprocess(CLIP)
    with torch.no_grad():
        torch.testing.assert_close(loaded(x), network(x), rtol=1e-2, atol=1e-2)
    assert loaded.preprocess == network.preprocess


def test_heads_that_do_not_divide_the_channels_are_refused():
    with pytest.raises(ValueError, match=r"^5 heads do not divide 12 channels$"):
        SpacetimeTransformer(6, 12, 2, 5, 4)


def test_there_is_no_place_for_a_block():
    with pytest.raises(ValueError, match=r"^a transformer has no place for a block, got 'unary'$"):
        HybridClipArchitecture(CLIP_LABELS, "unary")


def test_a_header_with_another_trunk_is_refused():
    text = tiny_clip_architecture().to_json().replace('"residual"', '"perceptron"')
    message = "unknown trunk 'perceptron' for clips; available: residual, hybrid"
    with pytest.raises(ValueError, match=message):
        read_architecture(text)


def test_it_has_the_backbone_of_the_other_networks_for_clips():
    ours, base = load_network("clips-vit"), load_network("clips-base")
    for part in ("backbone", "cells"):
        one, other = (getattr(network, part).state_dict() for network in (ours, base))
        assert all(torch.equal(one[name], other[name]) for name in other), part
