from dataclasses import fields

import numpy as np
import pytest
import torch
from networks import tiny_network
from torch import nn

from nonlocal_lens.analysis import degeneracy, early_exit
from nonlocal_lens.analysis.capture import observe, recording
from nonlocal_lens.analysis.early_exit import observe_blocks
from nonlocal_lens.analysis.vectors import Unattended, VectorDistances, vector_distances
from nonlocal_lens.models.networks.architecture import BLOCKS

IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
OTHER_IMAGE = np.random.default_rng(1).integers(0, 256, (48, 64, 3), dtype=np.uint8)
KINDS = ("non_local", "disentangled", "gaussian", "dot_product", "concatenation")


@pytest.mark.parametrize("to_the_end", [True, False])
def test_what_is_watched_is_what_capture_records_bit_for_bit(to_the_end):
    network = tiny_network("disentangled")
    with vector_distances(network) as vectors:
        observation = observe(network, IMAGE)
    observed = observe_blocks(network, IMAGE, to_the_end=to_the_end)
    (record,), (expected,) = observed.records, observation.records
    for name in ("query", "key", "unary"):
        assert torch.equal(getattr(record, name), getattr(expected, name))
    assert record.query_grid == expected.query_grid
    assert observed.vectors.keys() == vectors.keys()
    if to_the_end:
        assert observed.vectors == vectors
        assert torch.equal(observed.output, observation.output)
    else:
        assert observed.output is None


def test_a_pass_ends_at_the_last_block_and_leaves_the_network_as_it_was():
    network = tiny_network("non_local")
    ran = []
    handle = network.head.conv_out.register_forward_hook(lambda *_: ran.append(1))
    observe_blocks(network, IMAGE, to_the_end=False)
    assert not ran
    handle.remove()
    network(network.preprocess(IMAGE))
    assert all(not module._forward_hooks for module in network.modules())


@pytest.mark.parametrize("kind", [*KINDS, "space_only", "time_only"])
def test_the_rows_tell_what_a_block_adds_that_did_not_attend(generator, kind):
    restricted = kind not in KINDS
    options = {"dimension": 3} if restricted else {"subsample": True}
    block = BLOCKS[kind](13, init="awake", batch_norm=False, **options).eval()
    network = nn.Sequential(block)
    size = (3, 7, 11) if restricted else (7, 11)
    x = 3 * torch.randn(1, 13, *size, generator=generator)
    with torch.no_grad(), recording(network, (70, 110)) as records:
        with vector_distances(network) as ran:
            network(x)
        left = Unattended(block, x, block.project(x).value[0])
        expected, found = (
            degeneracy.measure(records[0], vectors=vectors) for vectors in (ran["0"], left)
        )
    assert found.input_cosine_distance == pytest.approx(expected.input_cosine_distance, abs=1e-6)
    assert found.output_cosine_distance == pytest.approx(expected.output_cosine_distance, abs=1e-6)
    assert 1e-4 < expected.output_cosine_distance < 0.5


def test_a_block_that_does_more_than_to_add_what_it_attends_to_is_run():
    observed = observe_blocks(tiny_network("global_context"), IMAGE, to_the_end=False)
    assert isinstance(observed.vectors["head.block"], VectorDistances)
    observed = observe_blocks(tiny_network("non_local"), IMAGE, to_the_end=False)
    assert isinstance(observed.vectors["head.block"], Unattended)


def test_a_network_without_blocks_runs_to_the_end():
    observed = observe_blocks(tiny_network(), IMAGE, to_the_end=False)
    assert observed.records == ()
    assert observed.output is not None


@pytest.mark.parametrize("kind", [*KINDS, "gaussian"])
def test_the_next_picture_is_watched_without_following_and_bit_for_bit_the_same(kind, monkeypatch):
    network = tiny_network(kind)
    expected = observe_blocks(network, OTHER_IMAGE, to_the_end=False)
    network = tiny_network(kind)
    observe_blocks(network, IMAGE, to_the_end=False)
    if kind != "concatenation":  # whose every record is proved by its output
        monkeypatch.setattr(early_exit, "recording_batch", None)
    found = observe_blocks(network, OTHER_IMAGE, to_the_end=False)
    for one, other in zip(found.records, expected.records, strict=True):
        for name in (field.name for field in fields(one)):
            a, b = getattr(one, name), getattr(other, name)
            assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
    (left,), (ran) = found.vectors.values(), expected.vectors["head.block"]
    assert torch.equal(left.x, ran.x)
    assert torch.equal(left.value, ran.value)
    assert all(not module._forward_pre_hooks for module in network.modules())


@pytest.mark.parametrize("change", ["weights", "scale", "stride", "layer", "hook", "size"])
def test_a_network_that_was_changed_is_followed_anew(change, monkeypatch):
    network = tiny_network("non_local")
    observe_blocks(network, IMAGE, to_the_end=False)
    image = IMAGE
    if change == "weights":
        with torch.no_grad():
            network.head.block.query.weight.mul_(2)
    elif change == "scale":
        network.head.block.scale = 0.75
    elif change == "stride":
        next(m for m in network.modules() if isinstance(m, nn.Conv2d)).stride = (1, 1)
    elif change == "layer":
        network.head.block.query = nn.Conv2d(
            network.head.block.query.in_channels, network.head.block.query.out_channels, 1
        )
    elif change == "hook":
        network.head.block.register_forward_pre_hook(lambda _, args: (args[0].flip(3),))
    else:
        image = IMAGE[:40]
    followed = []
    original = early_exit.recording_batch
    monkeypatch.setattr(
        early_exit, "recording_batch", lambda *args: followed.append(1) or original(*args)
    )
    (found,) = observe_blocks(network, image, to_the_end=False).records
    assert bool(followed) == (change != "weights")
    (expected,) = observe(network, image).records
    assert found.scale == expected.scale
    assert found.query_axis == expected.query_axis
    assert torch.equal(found.query, expected.query)
