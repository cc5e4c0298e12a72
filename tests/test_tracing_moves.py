"""Labels move as values do: what torch does to numbers is what provenance does to their sources."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nonlocal_lens.analysis.tracing.label import written
from nonlocal_lens.analysis.tracing.mode import run
from nonlocal_lens.analysis.tracing.provenance import Provenance
from nonlocal_lens.analysis.tracing.sources import NOTHING, PADDING


class Function(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.function = function

    def forward(self, *args: Tensor) -> Tensor:
        return self.function(*args)


class Numbered(Provenance):
    """Every element of the inputs is a source of its own: their values are the numbers."""

    def begin(self, network, args, kwargs, running) -> None:
        super().begin(network, args, kwargs, running)
        count = sum(x.numel() for x in args)
        rows = np.zeros((count, 8))
        rows[:, 4] = np.arange(count)
        assert self.sources.anyhow(rows) == 0
        for x in args:
            self._labels.set(x, written(self.sources, x.numpy().astype(np.int64)))


def numbers(*shapes: tuple[int, ...]) -> list[Tensor]:
    start, result = 0, []
    for shape in shapes:
        count = int(np.prod(shape))
        result.append(torch.arange(start, start + count, dtype=torch.float64).reshape(shape))
        start += count
    return result


def moved(function, *args: Tensor) -> tuple[Tensor, np.ndarray]:
    """Return what a function gives, and the numbers of its sources."""
    provenance = Numbered()
    output = run(Function(function), args, observers=[provenance])
    label = provenance.label(output)
    assert label is not None
    return output, np.broadcast_to(label.ids, output.shape)


MOVES = {
    "view": lambda x: x.view(6, 20),
    "reshape after permute": lambda x: x.permute(2, 0, 1).reshape(10, -1),
    "flatten": lambda x: x.flatten(1),
    "unflatten": lambda x: x.unflatten(2, (2, 5, 1, -1))[:, :, 0],
    "transpose": lambda x: x.transpose(0, -1),
    "movedim": lambda x: x.movedim(-1, 0),
    "matrix transpose": lambda x: x[0].t(),
    "negative select": lambda x: x[:, -2],
    "slice": lambda x: x[:, 1:-1, ::3],
    "slice from the end": lambda x: x[..., -3:],
    "narrow": lambda x: x.narrow(2, 3, 4),
    "unsqueeze and expand": lambda x: x.unsqueeze(1).expand(-1, 3, -1, -1),
    "expand as": lambda x: x[:, :, :1].expand_as(x),
    "squeeze": lambda x: x[:, :, :1].squeeze(2),
    "squeeze all": lambda x: x[:1, :, :1].squeeze(),
    "repeat": lambda x: x.repeat(2, 1, 3),
    "repeat more dimensions": lambda x: x.repeat(2, 1, 3, 1),
    "repeat interleave": lambda x: x.repeat_interleave(3, dim=1),
    "repeat interleave by tensor": lambda x: x.repeat_interleave(torch.tensor([1, 0, 2, 1]), 1),
    "tile": lambda x: x.tile(2, 2),
    "split": lambda x: x.split(3, dim=2)[1],
    "split with sizes": lambda x: x.split([2, 5, 3], dim=2)[2],
    "chunk": lambda x: x.chunk(3, dim=2)[2],
    "unbind": lambda x: x.unbind(1)[3],
    "cat": lambda x: torch.cat([x[:, 2:], x[:, :2]], dim=1),
    "stack": lambda x: torch.stack([x[0], x[2]], dim=-1),
    "flip": lambda x: x.flip(0, 2),
    "rot90": lambda x: x.rot90(1, (1, 2)),
    "roll": lambda x: x.roll((1, -3), (1, 2)),
    "roll flat": lambda x: x.roll(7),
    "index select": lambda x: x.index_select(2, torch.tensor([3, 1, 1])),
    "index": lambda x: x[:, torch.tensor([3, 0])],
    "index two": lambda x: x[torch.tensor([[0, 1]]), :, torch.tensor([[4], [7]])],
    "index by mask": lambda x: x[:, torch.tensor([True, False, True, True])],
    "index by mask of two": lambda x: x[torch.arange(12).view(3, 4) % 5 == 1],
    "index backwards": lambda x: x[:, torch.tensor([-1, -2])],
    "gather": lambda x: x.gather(1, torch.tensor([3, 1]).view(1, 2, 1).expand(3, 2, 10)),
    "gather for each": lambda x: x.gather(2, torch.arange(24).view(3, 4, 2) * 7 % 10),
    "take along": lambda x: torch.take_along_dim(x, x.argsort(2, descending=True), 2),
    "masked select": lambda x: x.masked_select(torch.arange(10) % 3 == 0),
    "sort": lambda x: (-x).sort(dim=1).values.neg(),
    "sort with nothing": lambda x: x[:, torch.randperm(4)].sort(dim=1)[0],
    "topk": lambda x: x.topk(2, dim=2)[0],
    "pixel shuffle": lambda x: F.pixel_shuffle(x.reshape(1, 12, 2, 5), 2),
    "pixel unshuffle": lambda x: F.pixel_unshuffle(x.reshape(1, 2, 6, 10), 2),
    "channel shuffle": lambda x: F.channel_shuffle(x.reshape(1, 12, 2, 5), 3),
    "unfold a side": lambda x: x.unfold(2, 4, 3),
    "unfold two sides": lambda x: x.unfold(1, 2, 2).unfold(2, 3, 2),
    "im2col": lambda x: F.unfold(x.reshape(2, 3, 4, 5), (2, 3), stride=(2, 1)),
    "im2col dilated": lambda x: F.unfold(x.reshape(2, 3, 4, 5), 2, dilation=2),
    "diagonal": lambda x: x.diagonal(1, 1, 2),
    "reflection pad": lambda x: F.pad(x, (2, 1), mode="reflect"),
    "replication pad": lambda x: F.pad(x, (0, 3), mode="replicate"),
    "circular pad": lambda x: F.pad(x, (2, 1), mode="circular"),
    "crop by pad": lambda x: F.pad(x, (-2, -1, 0, -1)),
    "as strided": lambda x: x.as_strided((2, 3, 5), (40, 11, 2), 3),
    "where": lambda x: torch.where(x > 57, x, x.flip(2)),
    "fold of unfolded": lambda x: F.fold(
        F.unfold(x.reshape(3, 1, 4, 10), 2, stride=2), (4, 10), 2, stride=2
    ),
    "written into a part": lambda x: _write(x, slice(None)),
    "written by number": lambda x: _put(x),
    "scattered": lambda x: torch.zeros_like(x).scatter(1, _order(x), x),
    "scattered and added": lambda x: torch.zeros_like(x).scatter_add(1, _order(x), x),
    "added by number": lambda x: torch.zeros_like(x).index_add(1, torch.tensor([3, 0, 2, 1]), x),
    "copied by number": lambda x: torch.zeros_like(x).index_copy(1, torch.tensor([3, 0, 2, 1]), x),
    "half precision and back": lambda x: x.to(torch.float32).double(),
    "contiguous": lambda x: x.mT.contiguous(),
    "complex pairs": lambda x: torch.view_as_real(torch.complex(x, x))[..., 0],
    "einsum that only moves": lambda x: torch.einsum("abc->cab", x),
}


def _write(x: Tensor, part: slice) -> Tensor:
    y = torch.empty_like(x)
    y[:, :2] = x[:, 2:]
    y[:, 2].copy_(x[:, 0])
    first, *_ = y[:, 3:].split(6, dim=2)
    first.copy_(x[:, 1:2, :6])
    y[:, 3:].split(6, dim=2)[1][:] = x[:, 1:2, 6:]
    return y


def _put(x: Tensor) -> Tensor:
    y = x.clone()
    y[:, torch.tensor([0, 2])] = x[:, torch.tensor([3, 1])]
    return y


def _order(x: Tensor) -> Tensor:
    return torch.tensor([2, 0, 3, 1]).view(1, 4, 1).expand_as(x)


@pytest.mark.parametrize("name", MOVES)
def test_sources_move_as_values_do(name):
    output, ids = moved(MOVES[name], *numbers((3, 4, 10)))
    assert np.array_equal(ids, output.numpy().astype(int))


def test_what_pads_is_padding():
    output, ids = moved(lambda x: F.pad(x, (1, 2, 0, 1), value=-2.0), *numbers((3, 4, 5)))
    assert np.array_equal(ids, output.numpy().astype(int))
    assert PADDING == -2


def test_what_is_filled_comes_from_nowhere():
    def erased(x: Tensor) -> Tensor:
        y = x.clone()
        y[:, 1].fill_(-1)
        y[1].zero_().sub_(1)
        return y

    output, ids = moved(erased, *numbers((3, 4)))
    assert np.array_equal(ids, output.numpy().astype(int))
    assert NOTHING == -1


def test_two_tensors_are_told_apart():
    output, ids = moved(lambda x, y: torch.cat([y, x], dim=1), *numbers((2, 3), (2, 5)))
    assert np.array_equal(ids, output.numpy().astype(int))


def test_values_merged_by_number_are_mixed_and_the_others_stay():
    def merged(x: Tensor) -> Tensor:  # token 0 is merged into token 2
        index = torch.tensor([2]).view(1, 1, 1).expand(1, 1, 3)
        return x.scatter_reduce(1, index, x[:, :1], reduce="mean")[:, 1:]

    provenance = Numbered()
    output = run(Function(merged), tuple(numbers((1, 5, 3))), observers=[provenance])
    ids = provenance.label(output).ids
    kinds = [provenance.sources.kinds(ids[:, token]) for token in range(4)]
    assert kinds == [{"place"}, {"mixed"}, {"place"}, {"place"}]
    assert np.array_equal(ids[0, 2:], [[9, 10, 11], [12, 13, 14]])


def test_an_operation_without_a_rule_is_named():
    provenance = Numbered()
    x = numbers((1, 1, 4, 4))[0]
    grid = F.affine_grid(torch.eye(2, 3, dtype=torch.float64)[None], [1, 1, 4, 4], False)
    sampled = Function(lambda x: F.grid_sample(x, grid, align_corners=False))
    output = run(nn.Sequential(sampled), (x,), observers=[provenance])
    note = provenance.sources.of(int(provenance.label(output).ids.ravel()[0]))
    assert note.kind == "unknown"
    assert "`grid_sampler_2d` in 0" in note.text
