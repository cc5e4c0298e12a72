import numpy as np
import pytest
import torch
from networks import tiny_network
from oracle import check_places
from torch import nn

from nonlocal_lens.analysis import capture, terms
from nonlocal_lens.analysis.capture import attention_blocks, observe
from nonlocal_lens.analysis.grid import Cell
from nonlocal_lens.models.blocks import NonLocalBlock
from nonlocal_lens.models.networks.architecture import BLOCKS


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (264, 312, 3), dtype=np.uint8)


def hooks_of(network):
    return [hook for module in network.modules() for hook in module._forward_hooks.values()]


@pytest.mark.parametrize("block", BLOCKS)
def test_a_record_has_the_blocks_grid_form_and_scale(image, block):
    network = tiny_network(block)
    (record,) = capture(network, image)
    assert record.block == "head.block"
    assert record.form == BLOCKS[block].form
    assert record.coupling == BLOCKS[block].coupling
    assert record.scale == network.head.block.scale
    assert (record.unary is not None) == BLOCKS[block].learns_unary
    assert record.query_grid.shape == (1, 33, 39)
    assert record.query_grid.image_hw == (264, 312)
    assert record.query.dtype == torch.float32
    assert not record.query.requires_grad
    check_places(network, image, (record,), within=2)  # features of neighbors overlap


@pytest.mark.parametrize("block", BLOCKS)
def test_output_with_capture_is_bit_identical(image, block):
    network = tiny_network(block)
    with torch.no_grad():
        plain = network(network.preprocess(image))
    assert torch.equal(observe(network, image).output, plain)


def test_the_network_comes_back_as_it_was(image):
    network = tiny_network("non_local").train()
    network.backbone.eval()
    network.head.block.query.weight.requires_grad_(False)
    modes = [module.training for module in network.modules()]
    grads = [parameter.requires_grad for parameter in network.parameters()]
    weights = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    capture(network, image)

    assert [module.training for module in network.modules()] == modes
    assert [parameter.requires_grad for parameter in network.parameters()] == grads
    assert not hooks_of(network)
    assert all(torch.equal(weights[name], tensor) for name, tensor in network.state_dict().items())


def test_hooks_and_modes_are_restored_even_when_the_forward_fails(image):
    class Failing(nn.Module):
        def forward(self, x):
            raise RuntimeError("boom")

    network = tiny_network("non_local").train()
    network.head.classify = Failing()
    with pytest.raises(RuntimeError, match="boom"):
        capture(network, image)
    assert network.training
    assert not hooks_of(network)


def test_later_changes_to_the_network_do_not_reach_the_record(image):
    network = tiny_network("non_local")
    (record,) = capture(network, image)
    before = record.query.clone()
    with torch.no_grad():
        network.head.block.query.weight.zero_()
    capture(network, image)
    assert torch.equal(record.query, before)


def test_a_sub_sampled_block_has_a_smaller_key_grid(image):
    (record,) = capture(tiny_network("disentangled", subsample=True), image)
    assert record.query_grid.shape == (1, 33, 39)
    assert record.key_grid.shape == (1, 16, 19)
    assert record.key_grid.cell_width == 2 * record.query_grid.cell_width


def test_any_module_with_a_block_can_be_captured(image):
    network = nn.Sequential(
        nn.Conv2d(3, 4, 8, stride=8), NonLocalBlock(4), NonLocalBlock(4, subsample=True)
    )
    records = capture(network, image)
    assert [record.block for record in records] == ["1", "2"] == list(attention_blocks(network))


def test_a_network_without_attention_gives_no_record(image):
    assert capture(tiny_network(), image) == ()


class Brightness(nn.Module):
    """A network whose block sees nothing but the brightness of each cell."""

    def __init__(self):
        super().__init__()
        self.cells = nn.AvgPool2d(8)
        self.block = NonLocalBlock(3, inner_channels=1, scale=1.0)
        nn.init.ones_(self.block.key.weight)

    def forward(self, x):
        return self.block(self.cells(x))


@pytest.mark.parametrize(
    "image_hw",
    [(360, 480), (480, 270), (97, 1511), (1511, 97), (333, 257), (64, 64), (31, 700)],
    ids=str,
)
@pytest.mark.parametrize("place", [(0.02, 0.03), (0.5, 0.5), (0.31, 0.77), (0.97, 0.98)], ids=str)
def test_a_bright_dot_is_found_in_its_own_cell(image_hw, place):
    network = Brightness()
    height, width = image_hw
    x, y = place[0] * width, place[1] * height
    image = np.zeros((height, width, 3), np.uint8)
    grid = capture(network, image)[0].query_grid
    row, col, _ = grid.cell_at(x=x, y=y)
    top, left = round(row * grid.cell_height), round(col * grid.cell_width)
    bottom, right = round((row + 1) * grid.cell_height), round((col + 1) * grid.cell_width)
    image[top:bottom, left:right] = 255

    (record,) = capture(network, image)

    brightest = record.key[:, 0].argmax().item()
    assert record.key_grid.cell(brightest) == Cell(row, col)


def test_the_backbones_cells_are_centered_on_their_pixels():
    """A mirrored picture must give mirrored features: with odd strided windows it would not."""
    from nonlocal_lens.models.networks.dilated_resnet import DilatedResNet

    torch.manual_seed(0)
    backbone = DilatedResNet((3, 5, 6, 6), (1, 1, 1, 1)).eval()
    with torch.no_grad():
        for parameter in backbone.parameters():
            if parameter.ndim == 4:
                parameter.copy_(parameter + parameter.flip(3))
        x = torch.randn(1, 3, 64, 80)
        mirrored = [features.flip(3) for features in backbone(x.flip(3))]
        differences = [a - b for a, b in zip(mirrored, backbone(x), strict=True)]
    assert max(difference.abs().max() for difference in differences) < 1e-5


def test_captured_attention_is_a_function_of_the_image_alone(image):
    network = tiny_network("non_local")
    rows = [terms.attention(capture(network, image)[0], [7]) for _ in range(2)]
    assert torch.equal(*rows)
