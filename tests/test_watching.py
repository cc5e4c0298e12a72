import numpy as np
import pytest
import torch
from networks import tiny_network

from analysis.capture import observe
from analysis.vectors import vector_distances
from analysis.watching import watch

IMAGE = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize("to_the_end", [True, False])
def test_what_is_watched_is_what_capture_records_bit_for_bit(to_the_end):
    network = tiny_network("disentangled")
    with vector_distances(network) as vectors:
        observation = observe(network, IMAGE)
    watched = watch(network, IMAGE, to_the_end=to_the_end)
    (record,), (expected,) = watched.records, observation.records
    for name in ("query", "key", "unary"):
        assert torch.equal(getattr(record, name), getattr(expected, name))
    assert record.query_grid == expected.query_grid
    assert watched.vectors == vectors
    if to_the_end:
        assert torch.equal(watched.output, observation.output)
    else:
        assert watched.output is None


def test_a_pass_ends_at_the_last_block_and_leaves_the_network_as_it_was():
    network = tiny_network("non_local")
    ran = []
    handle = network.head.conv_out.register_forward_hook(lambda *_: ran.append(1))
    watch(network, IMAGE, to_the_end=False)
    assert not ran
    handle.remove()
    network(network.preprocess(IMAGE))
    assert all(not module._forward_hooks for module in network.modules())


def test_a_network_without_blocks_runs_to_the_end():
    watched = watch(tiny_network(), IMAGE, to_the_end=False)
    assert watched.records == ()
    assert watched.output is not None
