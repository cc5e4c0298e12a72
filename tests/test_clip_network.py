import numpy as np
import pytest
import torch
from clips import tiny_clip_architecture, tiny_clip_network

from nonlocal_lens.analysis.capture import attention_blocks
from nonlocal_lens.models import list_networks, load_network
from nonlocal_lens.models.blocks import AttentionBlock, SimplifiedNonLocalBlock
from nonlocal_lens.models.bundled import ModelCard
from nonlocal_lens.models.checkpoint import save_network
from nonlocal_lens.models.networks.architecture import BLOCKS
from nonlocal_lens.models.networks.clip_network import ClipHead, Position, framewise
from nonlocal_lens.models.networks.description import read_architecture
from nonlocal_lens.streets import CLIP_LABELS
from nonlocal_lens.streets.classes import STREET_CLASSES

CLIP = torch.randn(2, 3, 5, 24, 40, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def test_scores_have_a_number_per_class_and_per_cell():
    network = tiny_clip_network("non_local")
    assert network(CLIP).shape == (2, len(CLIP_LABELS))
    cells = network.in_cells(CLIP[:, :, 0])
    assert cells.classes.shape == (2, len(STREET_CLASSES), 3, 5)
    assert cells.color.shape == (2, 3, 3, 5)


@torch.no_grad()
@pytest.mark.parametrize(
    ("block", "mixes"),
    [
        (None, False),
        ("space_only", False),
        ("time_only", True),
        ("non_local", True),
        ("disentangled", True),
    ],
)
def test_frames_meet_in_the_block_or_not_before_the_pooling(block, mixes):
    network = tiny_clip_network(block)
    before_pooling = []
    network.head.conv_out.register_forward_hook(lambda *call: before_pooling.append(call[2]))
    changed = CLIP.clone()
    changed[:, :, 4] += 1
    network(CLIP), network(changed)
    before, after = (features.unflatten(0, (2, 5)) for features in before_pooling)
    assert not torch.equal(before[:, 4], after[:, 4])
    assert torch.equal(before[:, :4], after[:, :4]) != mixes


@torch.no_grad()
def test_order_plays_a_part_through_the_block_alone():
    features = torch.randn(2, 6, 5, 3, 5)
    for block in (None, "non_local", "time_only"):
        torch.manual_seed(0)
        head = ClipHead(6, 4, BLOCKS[block](6, dimension=3, init="awake") if block else None).eval()
        forwards, backwards = head(features), head(features.flip(2))
        assert torch.allclose(forwards, backwards, atol=1e-6) == (block is None)
        if head.clock is not None:
            torch.nn.init.zeros_(head.clock.embed.weight)  # without it, time has no order
            torch.testing.assert_close(head(features), head(features.flip(2)))


@torch.no_grad()
def test_the_head_goes_on_with_what_was_gathered_not_with_the_marks():
    head = ClipHead(6, 4, SimplifiedNonLocalBlock(6, dimension=3)).eval()  # starts as identity
    features = torch.randn(2, 6, 5, 3, 5)
    torch.testing.assert_close(head(features), head(features.flip(2)))


@torch.no_grad()
def test_positions_are_relative_so_that_any_size_may_come():
    position = Position(3, (0, 1, 2), spread=1.0)
    small, large = (position(torch.zeros(1, 3, *shape)) for shape in ((3, 5, 7), (5, 9, 13)))
    torch.testing.assert_close(small, large[:, :, ::2, ::2, ::2])
    rows = Position(3, (1,), spread=1.0)(torch.zeros(1, 3, 2, 5, 7))
    torch.testing.assert_close(rows, rows[:, :, :1, :, :1].expand_as(rows))
    assert not torch.allclose(rows, rows.flip(3))
    network = tiny_clip_network("non_local")
    for shape in ((1, 24, 40), (2, 40, 24), (7, 16, 16)):
        assert network(torch.zeros(1, 3, *shape)).isfinite().all()


def test_a_layer_for_images_sees_every_frame_by_itself():
    layer = torch.nn.Conv2d(3, 4, 3, padding=1)
    frames = torch.stack([layer(CLIP[:, :, frame]) for frame in range(5)], dim=2)
    torch.testing.assert_close(framewise(layer, CLIP), frames)


@pytest.mark.parametrize("block", [None, *BLOCKS])
def test_every_block_survives_its_weight_file(tmp_path, block):
    network, path = tiny_clip_network(block), tmp_path / "tiny.safetensors"
    architecture = tiny_clip_architecture(block)
    assert read_architecture(architecture.to_json()) == architecture
    save_network(path, network, architecture)
    loaded = load_network(path)
    torch.testing.assert_close(loaded(CLIP), network(CLIP), rtol=1e-2, atol=1e-2)
    assert loaded.preprocess == network.preprocess


def test_frames_are_reduced_to_the_size_that_the_network_was_trained_on():
    preprocess = tiny_clip_network().preprocess
    assert preprocess(np.zeros((3, 96, 160, 3), np.uint8)).shape == (1, 3, 3, 24, 40)
    clips = torch.randint(0, 256, (2, 3, 5, 24, 40), dtype=torch.uint8)
    one = preprocess(clips[1].permute(1, 2, 3, 0).numpy())
    torch.testing.assert_close(preprocess.normalize(clips)[1:], one)


def test_an_image_is_refused_in_one_sentence(as_users_run):
    with pytest.raises(ValueError, match=r"clip must be \(frames, height, width, 3\).*\(9, 9, 3\)"):
        tiny_clip_network().preprocess(np.zeros((9, 9, 3), np.uint8))


@pytest.mark.parametrize("name", list_networks("clips"))
def test_a_bundled_network_names_clips_and_looks_through_its_block(name):
    network = load_network(name)
    assert network.classes == CLIP_LABELS
    blocks = attention_blocks(network)
    without = ("clips-base", "clips-vit")  # of which the second attends in its layers
    assert list(blocks) == ([] if name in without else ["head.block"])
    assert all(isinstance(block, AttentionBlock) for block in blocks.values())
    assert ModelCard.read(name).figure.startswith("clips val accuracy 0.")
