import numpy as np
import pytest
import torch
from networks import tiny_network
from torch import nn

from nonlocal_lens.analysis import degeneracy
from nonlocal_lens.analysis.capture import observe, recording
from nonlocal_lens.analysis.early_exit import observe_blocks
from nonlocal_lens.analysis.vectors import Unattended, VectorDistances, vector_distances
from nonlocal_lens.models.networks.architecture import BLOCKS

IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
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
