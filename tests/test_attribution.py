from math import isnan

import numpy as np
import pytest
import torch
from networks import tiny_network
from torch import nn

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.attribution import METHODS, agreement, attributions, compare
from nonlocal_lens.analysis.capture import capture
from nonlocal_lens.analysis.cell_means import cell_means
from nonlocal_lens.analysis.grid import Grid
from nonlocal_lens.models.blocks import NonLocalBlock
from nonlocal_lens.models.preprocess import Preprocess

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


def vit():
    from torchvision.models.vision_transformer import VisionTransformer

    torch.manual_seed(0)
    network = VisionTransformer(35, 7, 2, 3, 24, 48, num_classes=5).eval()
    torch.nn.init.normal_(network.heads[0].weight)
    network.preprocess = Preprocess(stride=7, long_side=(35, 35))
    return network


def test_the_score_of_a_picture_owes_to_the_patches_what_autograd_says():
    network, image = vit(), np.random.default_rng(0).integers(0, 256, (35, 35, 3), np.uint8)
    class_token = 25
    record, (gradients, saliency) = attributions(
        network, image, class_token, head=2, methods=("integrated_gradients", "saliency")
    )
    assert (record.head, record.query_axis.names) == (2, ("class",))
    x = network.preprocess(image).requires_grad_()
    scores = network(x)[0]
    assert saliency.target == int(scores.argmax())
    (gradient,) = torch.autograd.grad(scores.max(), x)
    by_patch = nn.functional.avg_pool2d(gradient.abs().sum(dim=1), 7).flatten()
    torch.testing.assert_close(saliency.relevance, by_patch)
    assert gradients.relevance.shape == (25,)
    row = terms.attention(record, [class_token])[0, :25]
    assert compare(record, class_token, saliency)["whole"] == agreement(row, saliency.relevance)


def test_every_method_but_grad_cam_is_of_blocks_of_any_code():
    network, image = vit(), np.random.default_rng(0).integers(0, 256, (35, 35, 3), np.uint8)
    _, found = attributions(
        network, image, 3, block="encoder.layers.encoder_layer_1.self_attention"
    )
    assert [one.method for one in found] == [name for name in METHODS if name != "grad_cam"]
    with pytest.raises(ValueError, match="grad_cam needs a block whose output is a map"):
        attributions(network, image, 3, methods=("grad_cam",))
    with pytest.raises(ValueError, match="has no head 3; available: 0, 1, 2"):
        attributions(network, image, 3, head=3)


def test_means_over_cells_are_by_area():
    pixels = torch.arange(12.0).reshape(3, 4)
    grid = Grid(1, 3, 3.0, 1.5, (3, 4), offset=(0.0, -0.5))  # columns -0.5 to 1, 1 to 2.5, 2.5 to 4
    columns = pixels.mean(dim=0)
    expected = [
        columns[0],
        (columns[1] + columns[2] / 2) / 1.5,
        (columns[2] / 2 + columns[3]) / 1.5,
    ]
    torch.testing.assert_close(cell_means(pixels, grid), torch.stack(expected)[None])
    finer = pixels.repeat_interleave(2, dim=0).repeat_interleave(2, dim=1)
    torch.testing.assert_close(cell_means(finer, grid), cell_means(pixels, grid))


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
