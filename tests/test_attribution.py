from math import isnan

import numpy as np
import pytest
import torch
from networks import tiny_network
from torch import nn

from analysis.attribution import METHODS, agreement, attributions, compare
from analysis.capture import capture
from models.blocks import NonLocalBlock
from models.preprocess import Preprocess

QUERY = 13 * 33 + 20  # of 32 x 33 cells


class OwnPixel(nn.Module):
    """Scores every pixel for three classes by its own color; its block changes nothing."""

    preprocess = Preprocess()

    def __init__(self):
        super().__init__()
        self.block = NonLocalBlock(3, subsample=True)

    def forward(self, x):
        cells = self.block(nn.functional.avg_pool2d(x, 8))
        return x + 0 * nn.functional.interpolate(cells, size=x.shape[2:])


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (256, 264, 3), np.uint8)


@pytest.mark.parametrize("method", ["saliency", "integrated_gradients"])
def test_what_depends_on_its_own_pixel_owes_all_to_its_own_cell(image, method):
    record, (found,) = attributions(OwnPixel(), image, QUERY, methods=(method,), target=1)
    assert (found.method, found.target) == (method, 1)
    assert record.key_grid.shape == (1, 16, 16)
    # row 13, column 20 of 32 x 33 cells; keys are pooled by 2, the last column belongs to none
    assert found.relevance.nonzero().tolist() == [[6 * 16 + 10]]


def test_occlusion_finds_the_square_around_the_query(image):
    _, (found,) = attributions(OwnPixel(), image, QUERY, methods=("occlusion",), target=0)
    on_keys = found.relevance.reshape(16, 16) > 0
    # 6 cells wide from row 12 and column 18 on, and 3 keys wide
    assert on_keys.nonzero().tolist() == [[r, c] for r in (6, 7, 8) for c in (9, 10, 11)]


def test_gradients_are_those_of_the_score_at_the_middle_of_the_cell(image):
    network = tiny_network("non_local")
    record, (saliency, grad_cam) = attributions(
        network, image, QUERY, methods=("saliency", "grad_cam")
    )
    x = network.preprocess(image).requires_grad_()
    activation = {}
    hook = network.head.block.register_forward_hook(lambda *seen: activation.update(z=seen[2]))
    scores = network(x)[0, :, 13 * 8 + 4, 20 * 8 + 4]
    hook.remove()
    assert saliency.target == grad_cam.target == int(scores.argmax())
    gradient, layer_gradient = torch.autograd.grad(scores.max(), (x, activation["z"]))
    by_cell = nn.functional.avg_pool2d(gradient.abs().sum(dim=1), 8).flatten()
    torch.testing.assert_close(saliency.relevance, by_cell)
    weights = layer_gradient.mean(dim=(2, 3), keepdim=True)
    torch.testing.assert_close(
        grad_cam.relevance, (weights * activation["z"]).sum(dim=1).relu().flatten().detach()
    )
    assert torch.equal(record.query, capture(network, image)[0].query)


def test_every_method_gives_a_map_over_the_keys_and_leaves_the_network_alone(image):
    network = tiny_network("disentangled").train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    hooks = [len(module._forward_hooks) for module in network.modules()]
    record, found = attributions(network, image, QUERY)
    assert [one.method for one in found] == list(METHODS)
    for one in found:
        assert one.relevance.shape == (len(record.key),)
        assert (one.relevance >= 0).all()
        assert not one.relevance.requires_grad
        assert set(compare(record, QUERY, one)) == {"whole", "pairwise", "unary"}
    assert network.training
    assert hooks == [len(module._forward_hooks) for module in network.modules()]
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_agreement_by_hand():
    attention = torch.tensor([0.5, 0.3, 0.2, 0.0])
    same = agreement(attention, -7 * attention)
    assert same.rank_correlation == pytest.approx(1)
    assert same.overlap == pytest.approx(1)
    apart = agreement(attention, torch.tensor([0.0, 0.0, 0.0, 3.0]))
    assert apart.overlap == 0
    assert apart.rank_correlation < 0
    assert apart.uniform_overlap == pytest.approx(0.25)
    half = agreement(attention, torch.tensor([1.0, 0.0, 1.0, 0.0]))
    assert half.overlap == pytest.approx(0.5 + 0.2)
    assert half.uniform_overlap == pytest.approx(0.5)
    backwards = agreement(torch.arange(5.0), 5 - torch.arange(5.0))
    assert backwards.rank_correlation == pytest.approx(-1)


def test_maps_without_order_or_mass_have_no_agreement():
    some, flat, none = torch.rand(7), torch.ones(7), torch.zeros(7)
    assert isnan(agreement(some, flat).rank_correlation)
    assert 0 < agreement(some, flat).overlap < 1
    assert isnan(agreement(some, none).overlap)
    assert isnan(agreement(none, some).overlap)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"block": "tail"}, "unknown block 'tail'; available: head.block"),
        ({"methods": ("lime",)}, "unknown method 'lime'; available: grad_cam, integrated"),
        ({"target": 3}, r"target must be a class in \[0, 3\), got 3"),
        ({"query": 32 * 33}, r"queries must be positions in \[0, 1056\), got 1056"),
    ],
)
def test_what_does_not_exist_is_refused_by_name(image, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        attributions(tiny_network("non_local"), image, **{"query": QUERY, **options})
    with pytest.raises(ValueError, match="unknown block ''; available: none"):
        attributions(tiny_network(), image, QUERY)
