"""Copies of a picture in one batch are told from heads, or refused."""

import pytest
import torch
from torch import nn

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.tracing.copies import copies, in_block
from nonlocal_lens.analysis.tracing.label import Affine, Label, written
from nonlocal_lens.analysis.tracing.reading import trace
from nonlocal_lens.analysis.tracing.sources import COLUMN, ROW, Side, Sources

HEIGHT, WIDTH = 12, 20


class Heads(nn.Module):
    """Self-attention of patches in some heads, whose queries are maybe pooled head by head."""

    def __init__(self, heads: int, pools: bool = False) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(8, 24)
        self.pool = nn.Conv2d(8 // heads, 8 // heads, 3, padding=1) if pools else None

    def parts(self, x):
        return self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)

    def forward(self, x):
        query, key, value = self.parts(x)
        if self.pool is not None:
            maps = query.flatten(0, 1).mT.unflatten(2, (HEIGHT // 4, WIDTH // 4))
            query = self.pool(maps).flatten(2).mT.unflatten(0, (-1, self.heads))
        weights = (query @ key.mT).softmax(dim=-1)
        return x + (weights @ value).transpose(1, 2).flatten(2)


class Batched(nn.Module):
    """A network that makes a batch of its picture, before its patches or after them."""

    def __init__(self, batch, heads: int = 1, *, of_patches: bool = False, pools: bool = False):
        super().__init__()
        self.embed, self.attend, self.out = (
            nn.Conv2d(3, 8, 4, 4),
            Heads(heads, pools),
            nn.Linear(8, 8),
        )
        self.batch, self.of_patches = batch, of_patches

    def forward(self, x):
        patches = self.embed(x if self.of_patches else self.batch(x))
        patches = self.batch(patches) if self.of_patches else patches
        return self.out(self.attend(patches.flatten(2).mT))


BATCHES = {
    "repeated": lambda x: x.repeat(3, 1, 1, 1),
    "expanded": lambda x: x.expand(3, -1, -1, -1),
    "joined": lambda x: torch.cat([x, x, x]),
    "stacked": lambda x: torch.stack([x[0]] * 3),
    "indexed": lambda x: x[torch.zeros(3, dtype=torch.long)],
    "each of its own light": lambda x: torch.cat([x, 2 * x, x - 1]),
}


def picture() -> torch.Tensor:
    return torch.rand(1, 3, HEIGHT, WIDTH, generator=torch.Generator().manual_seed(7))


def network(*args, **kwargs) -> Batched:
    torch.manual_seed(3)
    return Batched(*args, **kwargs).eval()


@pytest.mark.parametrize("how", BATCHES)
@torch.no_grad()
def test_copies_of_a_picture_are_runs_of_the_block_and_no_heads(how):
    net, x = network(BATCHES[how]), picture()
    found = trace(net, x)
    assert [(record.head, record.call) for record in found.records] == [
        (None, 0), (None, 1), (None, 2)
    ]  # fmt: skip
    query, key, _ = net.attend.parts(net.embed(BATCHES[how](x)).flatten(2).mT)
    own = (query @ key.mT).softmax(dim=-1)[:, 0]
    for record, rows in zip(found.records, own, strict=True):
        assert torch.allclose(terms.attention(record, range(15)), rows, atol=1e-6)


@pytest.mark.parametrize("of_patches", [False, True])
def test_copies_in_several_heads_are_refused_for_which_is_which_is_unknown(of_patches):
    found = trace(network(BATCHES["repeated"], heads=2, of_patches=of_patches), picture())
    assert not found.records
    assert "which of its groups are copies and which are heads is unknown" in found.refused[0].why


@pytest.mark.parametrize("pools", [False, True])
def test_heads_stay_heads_where_layers_look_at_them_one_by_one(pools):
    found = trace(network(lambda x: x, heads=4, pools=pools), picture())
    assert [record.head for record in found.records] == [0, 1, 2, 3]


def test_turned_copies_in_several_heads_are_views_as_before():
    found = trace(network(lambda x: torch.cat([x, x.flip(-1)]), heads=2), picture())
    assert [(record.head, record.call) for record in found.records] == [
        (0, 0), (1, 0), (0, 1), (1, 1)
    ]  # fmt: skip


def test_a_second_run_counts_copies_anew():
    net, x = network(lambda x: x.repeat(len(x) + 1, 1, 1, 1)), picture()
    first, second = trace(net, x), trace(net, x)
    assert [r.call for r in first.records] == [r.call for r in second.records] == [0, 1]
    net.batch = lambda x: x
    assert [r.head for r in trace(net, x).records] == [None]


def test_copies_are_counted_along_all_dimensions_but_channels():
    sources = Sources()
    sides = (None, None, Side.whole(ROW, 0.5, 1.0, 3), Side.whole(COLUMN, 0.5, 1.0, 5))
    label = Label(sources, affine=Affine((0.0, 0.0, 0.5, 0.5, 0.5, 1.0, 1.0, 1.0), sides))
    assert copies(label, (1, 7, 3, 5), channels=1) == 1
    assert copies(label, (2, 7, 3, 5), channels=1) == 2
    ids = label.ids.reshape(-1, 1)
    for repeated in (torch.tensor(ids).repeat(4, 1), torch.tensor(ids).repeat_interleave(4, 0)):
        assert copies(written(sources, repeated.numpy()), (60, 7), channels=1) == 4
    turned = torch.cat([torch.tensor(ids), torch.tensor(ids).flip(0)])
    assert copies(written(sources, turned.numpy()), (30, 7), channels=1) == 1
    named = sources.names("query", 15).reshape(-1, 1)
    assert copies(written(sources, named), (15, 7), channels=1) is None


def test_a_block_is_given_what_its_first_layer_and_those_around_it_are_given():
    assert in_block({"a.qkv": 3, "a.pool": 12, "mlp": 3}, "a") == 3
    assert in_block({"a.qkv": 1, "a.pool": 4, "mlp": 1}, "a") == 1
    assert in_block({"a.pool": 4, "qkv": 1}, "a") == 0
    assert in_block({"stem": 1, "a.qkv": 3}, "a") == 0
    assert in_block({"a.qkv": 2, "b": 1}, "a.inner") == 0
    assert in_block({}, "a") == 1
