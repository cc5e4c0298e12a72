from math import log

import pytest
import torch
from networks import tiny_clip_network, tiny_network

from nonlocal_lens.analysis.effects import effect, effects
from nonlocal_lens.analysis.interventions import INTERVENTIONS, intervene
from nonlocal_lens.models.training.evaluation import best_class


def test_by_hand_two_classes_at_two_pixels():
    odds = torch.tensor([[[log(3.0), 0.0], [0.0, 0.0]]])  # 3/4 and 1/4; 1/2 and 1/2
    even = torch.tensor([[[0.0, 0.0], [0.0, 1.0]]])
    found = effect(odds, even)
    assert found.kl_nats[0].item() == pytest.approx(0.75 * log(1.5) + 0.25 * log(0.5))
    assert found.flipped.tolist() == [False, True]
    assert found.flipped_share == 0.5
    assert found.mean_kl_nats == pytest.approx(found.kl_nats.mean().item())


def test_nothing_changes_where_nothing_changed_or_all_scores_moved_alike(generator):
    scores = torch.randn(1, 5, 7, 11, generator=generator)
    for after in (scores, scores + torch.randn(1, 1, 7, 11, generator=generator)):
        found = effect(scores, after)
        assert found.mean_kl_nats == pytest.approx(0, abs=1e-6)
        assert found.flipped_share == 0
    assert torch.equal(best_class(scores), scores[0].argmax(dim=0))


def test_every_intervention_is_compared_with_the_network_as_it_is(generator):
    network = tiny_network("disentangled")
    image = torch.randint(0, 256, (256, 264, 3), generator=generator, dtype=torch.uint8).numpy()
    found = effects(network, image)
    assert tuple(found) == INTERVENTIONS
    assert found["on"].mean_kl_nats == found["on"].flipped_share == 0
    x = network.preprocess(image)
    with torch.no_grad():
        before = network(x)
        with intervene(network, "uniform"):
            expected = effect(before, network(x))
    assert found["uniform"].kl_nats.shape == (256, 264)
    torch.testing.assert_close(found["uniform"].kl_nats, expected.kl_nats)
    assert found["uniform"].mean_kl_nats > 0


def test_a_clip_is_changed_as_a_whole(generator):
    network = tiny_clip_network("non_local")
    clip = torch.randint(0, 256, (3, 40, 56, 3), generator=generator, dtype=torch.uint8).numpy()
    found = effects(network, clip)
    assert found["on"].mean_kl_nats == 0
    assert found["off"].kl_nats.shape == ()
    assert found["off"].mean_kl_nats > 0
