import pytest
import torch
from networks import tiny_network
from torch import nn

from nonlocal_lens.analysis.capture import recording
from nonlocal_lens.analysis.grid import Cell
from nonlocal_lens.models.blocks import NonLocalBlock
from nonlocal_lens.models.networks.resnet_v1c import ResNetV1c
from nonlocal_lens.models.networks.video_resnet import Pacing, VideoResNet
from nonlocal_lens.models.preprocess import ClipPreprocess, Preprocess


def summing(network):
    """Give every weight the value 1 and every bias 0, so that a feature sums all that it sees."""
    with torch.no_grad():
        for module in network.modules():
            for name, parameter in module.named_parameters(recurse=False):
                parameter.fill_(0.0 if name == "bias" else 1e-3)
            if isinstance(module, nn.MaxPool2d | nn.MaxPool3d):
                module.forward = averaging(module)
    return network.eval()


def averaging(pool):
    """Return a forward that averages a pool's windows: a maximum has one pixel's gradient."""
    average = nn.AvgPool2d if isinstance(pool, nn.MaxPool2d) else nn.AvgPool3d
    return average(pool.kernel_size, pool.stride, pool.padding).forward


def seen_center(features, x, row, col):
    """Return (y, x) of the middle of what one feature depends on, pixels weighed by how much."""
    features[..., row, col].sum().backward()
    weight = x.grad.double().sum(dim=tuple(range(x.ndim - 2)))
    height, width = weight.shape
    down = (weight.sum(1) @ (torch.arange(height).double() + 0.5)) / weight.sum()
    across = (weight.sum(0) @ (torch.arange(width).double() + 0.5)) / weight.sum()
    return down.item(), across.item()


@pytest.mark.parametrize(
    ("layers", "size"),
    [
        ([nn.Conv2d(1, 1, 3, 2, 1)], (48, 56)),
        ([nn.Conv2d(1, 1, 7, 2, 3), nn.MaxPool2d(3, 2, 1)], (48, 56)),
        ([nn.Conv2d(1, 1, 7, 2, 3), nn.MaxPool2d(3, 2), nn.Conv2d(1, 1, 3, 2, 1)], (64, 96)),
        ([nn.Conv2d(1, 1, 4, 2, 1), nn.AvgPool2d(2)], (48, 56)),
        ([nn.Conv2d(1, 1, 8, 8)], (48, 56)),
        ([nn.Conv2d(1, 1, 8, 8)], (51, 61)),
        ([nn.Conv2d(1, 1, 3, 2, 1), nn.Conv2d(1, 1, 3, 1, 2, 2)], (57, 89)),
        ([nn.Conv2d(1, 1, 5)], (48, 56)),
        ([nn.Conv2d(1, 1, 3, padding="same"), nn.Conv2d(1, 1, 3, 2, padding="valid")], (48, 56)),
    ],
    ids=str,
)
def test_cells_are_where_their_features_look(layers, size):
    network = summing(nn.Sequential(*layers))
    x = torch.rand(1, 1, *size, requires_grad=True)
    features = network(x)
    cells = tuple(features.shape[2:])
    with_block = nn.Sequential(network, NonLocalBlock(1)).eval()
    with torch.no_grad(), recording(with_block, size) as records:
        with_block(x.detach())
    row, col = cells[0] // 2, cells[1] // 2  # far from the borders, where windows are cut off
    seen = seen_center(features, x, row, col)
    (grid,) = (record.query_grid for record in records)
    assert seen[::-1] == pytest.approx(grid.center(Cell(row, col)))


def test_an_offset_is_in_pixels_of_the_image_not_of_the_input():
    network = nn.Sequential(nn.Conv2d(1, 1, 3, 2, 1), NonLocalBlock(1)).eval()
    for image_hw, offset in (((48, 56), (-0.5, -0.5)), ((96, 28), (-1.0, -0.25))):
        with torch.no_grad(), recording(network, image_hw) as records:
            network(torch.zeros(1, 1, 48, 56))
        assert records[0].query_grid.offset == offset


def test_the_published_backbones_sit_half_a_cell_off_and_the_bundled_one_does_not():
    torch.manual_seed(0)
    backbone = ResNetV1c((2, 2, 2), (2, 2, 2, 2), (1, 1, 2, 1), bottleneck=True)
    network = nn.Sequential(backbone, First(), NonLocalBlock(8)).eval()
    x = torch.rand(1, 3, 64, 96)
    with torch.no_grad(), recording(network, (64, 96)) as records:
        network(x)
    assert records[0].query_grid.offset == records[0].key_grid.offset == (-3.5, -3.5)
    bundled = tiny_network("non_local")
    with torch.no_grad(), recording(bundled, (64, 96)) as records:
        bundled(x)
    assert records[0].query_grid.offset == (0.0, 0.0)


class First(nn.Module):
    def forward(self, features):
        return features[0]


def test_a_mirrored_image_has_mirrored_attention_where_the_cells_say(generator):
    """One cell of the mirrored image looks at what its mirror image looked at."""
    torch.manual_seed(0)
    backbone = ResNetV1c((2, 2, 2), (2, 2, 2, 2), (1, 1, 1, 1), bottleneck=True)
    for module in backbone.modules():  # kernels that are their own mirror image
        if isinstance(module, nn.Conv2d):
            module.weight.data = module.weight.data + module.weight.data.flip(3)
    network = nn.Sequential(backbone, First(), NonLocalBlock(8, init="awake")).eval()
    width = 97  # odd strides keep the last pixel of an odd number of them: grids mirror exactly
    image = torch.rand(1, 3, 64, width, generator=generator)
    grids, maps = [], []
    for x in (image, image.flip(3)):
        with torch.no_grad(), recording(network, (64, width)) as records:
            network(x)
        grids.append(records[0].query_grid)
        key = records[0].key.unflatten(0, (8, 13))
        maps.append(key)
    torch.testing.assert_close(maps[0], maps[1].flip(1), rtol=1e-4, atol=1e-5)
    assert grids[0] == grids[1]
    for col in range(13):
        left, _ = grids[0].center(grids[0].cell(col))
        right, _ = grids[0].center(grids[0].cell(12 - col))
        assert left == pytest.approx(width - right)


@pytest.mark.parametrize(("padding", "offset"), [(1, -3.5), (0, -1.5)])
def test_video_networks_say_where_their_cells_lie(padding, offset):
    preprocess = ClipPreprocess(Preprocess(), 2)
    network = VideoResNet(
        (3, 1),
        (2, 2, 2, 2),
        ((1,), (1,), (1,), (1,)),
        {"layer2.0": NonLocalBlock(8, dimension=3, subsample=True)},
        Pacing(stem_padding=padding),
        ("a",),
        preprocess,
    ).eval()
    with torch.no_grad(), recording(network, (64, 96)) as records:
        network(torch.rand(1, 3, 2, 64, 96))
    assert records[0].query_grid.shape == (2, 8, 12)
    assert records[0].query_grid.offset == records[0].key_grid.offset == (offset, offset)


def test_keys_do_not_tell_where_features_of_their_size_lie():
    network = nn.Sequential(
        nn.Conv2d(3, 5, 8, stride=8),
        NonLocalBlock(5, subsample=True),
        nn.Conv2d(5, 5, 3, stride=2, padding=1),
        NonLocalBlock(5),
    ).eval()
    with torch.no_grad(), recording(network, (32, 48)) as records:
        network(torch.zeros(1, 3, 32, 48))
    pooled, last = records[0].key_grid, records[1].query_grid
    assert pooled.shape == last.shape == (1, 2, 3)
    assert (pooled.offset, last.offset) == ((0.0, 0.0), (-4.0, -4.0))
