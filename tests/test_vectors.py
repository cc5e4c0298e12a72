from math import isnan

import pytest
import torch
from networks import tiny_network
from test_degeneracy import mean_cosine_distance

from nonlocal_lens.analysis.capture import observe
from nonlocal_lens.analysis.vectors import cosine_distance, vector_distances


def test_the_closed_form_is_the_mean_over_all_ordered_pairs(generator):
    vectors = torch.randn(23, 7, generator=generator, dtype=torch.float64) + 0.5
    assert cosine_distance(vectors) == pytest.approx(mean_cosine_distance(vectors))


def test_by_hand_two_opposite_vectors_and_two_at_right_angles():
    assert cosine_distance(torch.tensor([[2.0, 0], [-3.0, 0]])) == pytest.approx(0.5)
    assert cosine_distance(torch.tensor([[2.0, 0], [0, 5.0]])) == pytest.approx(0.25)


def test_zeros_have_no_direction():
    vectors = torch.tensor([[2.0, 0], [0, 0], [1.0, 0]])
    assert cosine_distance(vectors) == 0
    assert isnan(cosine_distance(vectors[1:2]))
    assert isnan(cosine_distance(torch.zeros(5, 0)))


def test_a_block_is_watched_while_the_network_runs(generator):
    network = tiny_network("non_local")
    block = network.head.block
    seen = {}
    hook = block.register_forward_hook(
        lambda _block, inputs, output: seen.update(x=inputs[0], z=output)
    )
    image = torch.randint(0, 256, (256, 264, 3), generator=generator, dtype=torch.uint8).numpy()
    with vector_distances(network) as distances:
        records = observe(network, image).records
    hook.remove()
    assert not block._forward_hooks
    assert list(distances) == [record.block for record in records] == ["head.block"]
    x, z = (seen[name][0].flatten(1).T.double() for name in ("x", "z"))
    added, x = z - x, x[x.any(dim=1)]  # a vector of zeros has no direction
    found = distances["head.block"]
    assert found.input == pytest.approx(mean_cosine_distance(x), abs=1e-6)
    assert found.output == pytest.approx(cosine_distance(added).item(), abs=1e-6)
