"""Cells lie where torch's own operations put the coordinates of the pixels that they see."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nonlocal_lens.analysis.tracing.mode import run
from nonlocal_lens.analysis.tracing.provenance import Provenance


class Function(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x)


def lattice(function, shape: tuple[int, ...]) -> np.ndarray:
    """Return (frame, y, x) of every cell that a function makes, NaN where there is no place."""
    provenance = Provenance()
    output = run(Function(function), (torch.zeros(shape),), observers=[provenance])
    label = provenance.label(output)
    ids = label.ids.squeeze(0)
    rows = provenance.sources.rows(np.broadcast_to(ids, (1, *output.shape[2:])))[0]
    return rows[..., 2:5]


def coordinates(shape: tuple[int, ...]) -> Tensor:
    """Return the map of each coordinate, one channel each: frame (if any), y and x."""
    sides = [torch.arange(size, dtype=torch.float32) + 0.5 for size in shape[2:]]
    return torch.stack(torch.meshgrid(*sides, indexing="ij"))[:, None]


def mean_over(kernel, **kwargs):
    """Return a convolution that takes the mean, and so gives the middle of what it sees."""
    weight = torch.full((1, 1, *kernel), 1 / np.prod(kernel))
    name = f"conv{len(kernel)}d"
    return lambda x: getattr(F, name)(x, weight.to(x.dtype), **kwargs)


IN_SPACE = {
    "patches": mean_over((7, 5), stride=(7, 5)),
    "overlapping": mean_over((7, 7), stride=4),
    "dilated": mean_over((3, 3), stride=2, dilation=3),
    "pooling": lambda x: F.avg_pool2d(x, 3, 2),
    "pooling what is left": lambda x: F.avg_pool2d(x, (4, 5)),
    "adaptive pooling": lambda x: F.adaptive_avg_pool2d(x, (17, 11)),
    "bilinear": lambda x: F.interpolate(x, (19, 90), mode="bilinear"),
    "bilinear by corners": lambda x: F.interpolate(
        x, (19, 90), mode="bilinear", align_corners=True
    ),
    "bilinear by factor": lambda x: F.interpolate(x, scale_factor=0.6, mode="bilinear"),
    "nearest at whole factors": lambda x: F.avg_pool2d(F.interpolate(x, scale_factor=2.0), 2),
    "mean of windows": lambda x: (
        x[..., :32, :49].unflatten(3, (7, 7)).unflatten(2, (8, 4)).mean((3, 5))
    ),
    "one after another": lambda x: mean_over((3, 3), stride=2)(
        F.avg_pool2d(mean_over((4, 4), stride=2)(x), 2)
    ),
    "flipped before": lambda x: mean_over((5, 5), stride=5)(x.flip(3)),
    "of a part": lambda x: mean_over((5, 5), stride=5)(x[:, :, 7:30, -23:]),
    "of rows turned to columns": lambda x: mean_over((3, 5), stride=(3, 5))(x.mT),
    "by numbers": lambda x: F.avg_pool2d(x[:, :, torch.arange(3, 33)], 2),
    "gathered into channels": lambda x: F.conv2d(
        F.pixel_unshuffle(x[..., :32, :48], 4), torch.full((1, 16, 1, 1), 1 / 16)
    ),
    "gathered by windows": lambda x: F.linear(
        F.unfold(x, (6, 8), stride=(6, 8)).mT, torch.full((1, 48), 1 / 48)
    ).mT.unflatten(2, (5, 6)),
    "transposed": lambda x: F.conv_transpose2d(
        mean_over((4, 4), stride=4)(x), torch.ones(1, 1, 1, 1), stride=1
    ),
    "pooled by the largest of windows that overlap not": lambda x: mean_over((2, 2), stride=2)(
        mean_over((3, 3), padding=0)(x)
    ),
}


@pytest.mark.parametrize("name", IN_SPACE)
def test_cells_lie_in_the_middle_of_what_they_see(name):
    shape = (1, 1, 33, 53)
    rows = lattice(IN_SPACE[name], shape)
    right = [IN_SPACE[name](x[None]).squeeze() for x in coordinates(shape)]
    interior = (slice(3, -3), slice(3, -3)) if "bi" in name else (slice(None), slice(None))
    for axis, side in enumerate(right):
        got = rows[..., axis + 1][interior]
        np.testing.assert_allclose(got, side.numpy()[interior], atol=2e-3)


def test_frames_pool_as_sides_do():
    shape = (1, 1, 8, 12, 18)
    tubelets = mean_over((2, 4, 6), stride=(2, 4, 6))
    rows = lattice(tubelets, shape)
    for axis, x in enumerate(coordinates(shape)):
        np.testing.assert_allclose(rows[..., axis], tubelets(x[None])[0, 0].numpy(), atol=1e-4)


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "first"),
    [
        (3, 2, 1, 0.5),
        (7, 2, 3, 0.5),
        (7, 4, 3, 0.5),
        (2, 2, 0, 1.0),
        (4, 4, 0, 2.0),
        (3, 1, 0, 1.5),
    ],
)
def test_odd_windows_with_padding_are_centered_on_the_first_pixel(kernel, stride, padding, first):
    rows = lattice(lambda x: F.conv2d(x, torch.ones(1, 1, kernel, kernel), None, stride, padding),
                   (1, 1, 32, 40))  # fmt: skip
    assert tuple(rows[0, 0]) == (0.5, first, first)
    assert rows[1, 0, 1] - rows[0, 0, 1] == stride


def test_transposed_convolution_undoes_a_strided_one():
    down = lambda x: F.conv2d(x, torch.ones(1, 1, 4, 4), stride=4)  # noqa: E731
    up = lambda x: F.conv_transpose2d(down(x), torch.ones(1, 1, 4, 4), stride=4)  # noqa: E731
    rows = lattice(up, (1, 1, 8, 12))
    np.testing.assert_allclose(rows[:, 0, 1], np.arange(8) + 0.5)
    np.testing.assert_allclose(rows[0, :, 2], np.arange(12) + 0.5)


def test_padding_moves_cells_and_is_no_place():
    cells = mean_over((4, 4), stride=4)
    rows = lattice(lambda x: cells(F.pad(x, (8, 3, 0, 1))), (1, 1, 7, 13))
    assert rows.shape == (2, 6, 3)
    assert np.isnan(rows[:, :2]).all()
    np.testing.assert_allclose(rows[0, 2:5, 2], [2, 6, 10])
    assert np.isnan(rows[0, 5]).all()  # its middle lies beyond the 13 columns


def test_windows_lie_where_they_were_cut():
    def windows(x: Tensor) -> Tensor:  # 4 x 4 cells in a batch, pooled by 2 inside
        x = x.unflatten(3, (3, 4)).unflatten(2, (2, 4)).permute(0, 2, 4, 1, 3, 5).flatten(0, 2)
        return F.avg_pool2d(x, 2)

    provenance = Provenance()
    output = run(Function(windows), (torch.zeros(1, 1, 8, 12),), observers=[provenance])
    rows = provenance.sources.rows(provenance.label(output).ids)[:, 0, :, :, 3:5]
    right = [windows(x[None])[:, 0] for x in coordinates((1, 1, 8, 12))]
    np.testing.assert_allclose(rows, torch.stack(right, -1).numpy())


def test_what_is_pooled_over_all_of_a_picture_has_no_place():
    for function in (
        lambda x: x.mean((2, 3), keepdim=True),
        lambda x: F.adaptive_avg_pool2d(x, 1),
        lambda x: x.flatten(2).mean(2),
        lambda x: x.amax((2, 3)),
    ):
        provenance = Provenance()
        output = run(Function(function), (torch.zeros(2, 3, 8, 12),), observers=[provenance])
        assert provenance.sources.kinds(provenance.label(output).ids) == {"mixed"}


def test_convolution_over_tokens_mixes_them():
    def over_tokens(x: Tensor) -> Tensor:
        return F.conv1d(x.flatten(2), torch.ones(1, 1, 3), padding=1)

    provenance = Provenance()
    output = run(Function(over_tokens), (torch.zeros(1, 1, 8, 12),), observers=[provenance])
    assert provenance.sources.kinds(provenance.label(output).ids) == {"mixed"}


def test_channels_of_lattices_within_a_cell_are_met_in_the_middle():
    def skipped(x: Tensor) -> Tensor:  # as decoders join what they enlarge with what they skipped
        fine = F.conv2d(x, torch.ones(4, 1, 3, 3), stride=2, padding=1)
        coarse = F.conv2d(fine, torch.ones(6, 4, 3, 3), stride=2, padding=1)
        joined = torch.cat([F.interpolate(coarse, scale_factor=2.0), fine], 1)
        return F.conv2d(joined, torch.ones(1, 10, 1, 1))

    rows = lattice(skipped, (1, 1, 16, 24))
    # fine cells lie at 0.5, 2.5, ...; those that were enlarged half a cell of theirs before
    np.testing.assert_allclose(rows[:, 0, 1], 2 * np.arange(8))
    np.testing.assert_allclose(rows[0, :, 2], 2 * np.arange(12))
