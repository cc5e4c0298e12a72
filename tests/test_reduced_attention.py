"""Attention to fewer keys than queries: SegFormer, PVT and their kin."""

import pytest
from foreign import (
    CHANNELS,
    COLUMNS,
    IMAGE,
    ROWS,
    assert_same,
    captured,
    drawn,
)
from torch import nn
from torch.nn import functional as F

from nonlocal_lens.analysis.grid import Cell


class Reduction(nn.Module):
    """Hugging Face's of version 5: a module of its own."""

    def __init__(self, ratio):
        super().__init__()
        self.sequence_reduction = nn.Conv2d(CHANNELS, CHANNELS, ratio, stride=ratio)
        self.layer_norm = nn.LayerNorm(CHANNELS)

    def forward(self, tokens, height, width):
        patches = self.sequence_reduction(tokens.mT.unflatten(2, (height, width)))
        return self.layer_norm(patches.flatten(2).mT)


class SegformerAttention(nn.Module):
    def __init__(self, ratio):
        super().__init__()
        self.num_attention_heads, self.scaling = 3, 0.3
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            self.add_module(name, nn.Linear(CHANNELS, CHANNELS))
        self.sequence_reduction_ratio = ratio
        if ratio > 1:
            self.sequence_reduction = Reduction(ratio)

    def forward(self, hidden_states, height, width):
        reduced = hidden_states
        if self.sequence_reduction_ratio > 1:
            reduced = self.sequence_reduction(hidden_states, height, width)
        y = self.attend(self.q_proj(hidden_states), self.k_proj(reduced), self.v_proj(reduced))
        return self.o_proj(y), self.seen

    def attend(self, *sides):
        query, key, value = (side.unflatten(2, (3, -1)).transpose(1, 2) for side in sides)
        self.seen = (0.3 * query @ key.mT).softmax(3)
        return (self.seen @ value).transpose(1, 2).flatten(2)


class PyramidAttention(SegformerAttention):
    """timm's and that of the first authors: keys and values by one layer, a pair of sides."""

    def __init__(self, ratio, pool=None):
        nn.Module.__init__(self)
        self.num_heads, self.scale, self.pool = 3, 0.3, pool
        self.q, self.kv = nn.Linear(CHANNELS, CHANNELS), nn.Linear(CHANNELS, 2 * CHANNELS)
        self.proj = nn.Linear(CHANNELS, CHANNELS)
        self.sr = nn.Conv2d(CHANNELS, CHANNELS, ratio, stride=ratio) if ratio > 1 or pool else None
        self.norm = nn.LayerNorm(CHANNELS)
        self.act = nn.GELU() if pool else None

    def forward(self, x, *size):
        size = size[0] if len(size) == 1 else size
        reduced = x
        if self.sr is not None:
            patches = x.mT.unflatten(2, size)
            patches = patches if self.pool is None else self.pool(patches)
            reduced = self.norm(self.sr(patches).flatten(2).mT)
            reduced = reduced if self.act is None else self.act(reduced)
        return self.proj(self.attend(self.q(x), *self.kv(reduced).chunk(2, dim=2)))


class EfficientAttention(nn.Module):
    """mmsegmentation's, around torch's own, which it adds its input to."""

    def __init__(self, ratio):
        super().__init__()
        self.attn, self.sr_ratio = nn.MultiheadAttention(CHANNELS, 3, batch_first=True), ratio
        if ratio > 1:
            self.sr = nn.Conv2d(CHANNELS, CHANNELS, ratio, stride=ratio)
            self.norm = nn.LayerNorm(CHANNELS)

    def forward(self, x, hw_shape, identity=None):
        keys = x
        if self.sr_ratio > 1:
            keys = self.norm(self.sr(x.mT.unflatten(2, hw_shape)).flatten(2).mT)
        y, self.seen = self.attn(x, keys, keys, average_attn_weights=False)
        return y + (x if identity is None else identity)


class Patches(nn.Module):
    """Patches as tokens, of which the block is told the grid: in one pair, or in two numbers."""

    def __init__(self, block, *, pair=False, first=0, told=True):
        super().__init__()
        self.image_size = 8 * ROWS, 8 * COLUMNS
        self.cells = nn.Conv2d(3, CHANNELS, 8, stride=8)
        self.block, self.pair, self.first, self.told = block, pair, first, told

    def forward(self, x):
        x = self.cells(x) / 4
        size = [tuple(x.shape[2:])] if self.pair else x.shape[2:]
        tokens = F.pad(x.flatten(2).mT, (0, 0, self.first, 0), value=1.0)
        y = self.block(tokens, *(size if self.told else ()))
        return y[0] if isinstance(y, tuple) else y


REDUCED = {
    "SegFormer": lambda: Patches(SegformerAttention(2)),
    "SegFormer, last stage": lambda: Patches(SegformerAttention(1)),
    "PVT, a token more": lambda: Patches(SegformerAttention(1), first=1),
    "timm": lambda: Patches(PyramidAttention(2), pair=True),
    "first authors": lambda: Patches(PyramidAttention(3)),
    "mmsegmentation": lambda: Patches(EfficientAttention(2), pair=True),
    "mmsegmentation, last stage": lambda: Patches(EfficientAttention(1), pair=True),
    "timm, last stage": lambda: Patches(PyramidAttention(1), pair=True),
    "timm, linear": lambda: Patches(PyramidAttention(1, nn.AdaptiveAvgPool2d((5, 1)))),
}


@pytest.mark.parametrize("kind", REDUCED)
def test_attention_to_reduced_keys_is_the_modules_own_per_head(kind):
    network = drawn(REDUCED[kind]())
    records = captured(network, IMAGE)
    assert [record.head for record in records] == [0, 1, 2]
    seen = network.block.seen[0]
    for record in records:
        named = [-len(axis.names) for axis in (record.query_axis, record.key_axis)]
        own = seen[record.head].roll(named, (0, 1))  # a query that is padding is nobody's
        assert_same(record, own[-len(record.query) :])


@pytest.mark.parametrize(("ratio", "middles"), [(2, [8, 24, 40]), (3, [12, 36])])
def test_a_reduced_key_lies_in_the_middle_of_what_it_is_made_of(ratio, middles):
    record = captured(drawn(Patches(SegformerAttention(ratio))), IMAGE)[0]
    grid = record.key_grid
    assert (grid.height, grid.width) == (ROWS // ratio, COLUMNS // ratio)
    assert [grid.center(Cell(0, col))[0] for col in range(grid.width)] == middles


class Subtracting(EfficientAttention):
    """What no attribute tells: the sign."""

    def forward(self, x, hw_shape):
        return 2 * x - super().forward(x, hw_shape)


class Halving(SegformerAttention):
    """What no attribute tells: values are halved."""

    def attend(self, *sides):
        return super().attend(*sides) / 2


@pytest.mark.parametrize(
    "network",
    [
        Patches(Halving(2)),
        Patches(Subtracting(2), pair=True),
        Patches(PyramidAttention(1), told=False),
        Patches(PyramidAttention(1, nn.AdaptiveAvgPool2d(3))),
    ],
)
def test_what_no_attribute_tells_changes_no_weights(network):
    for record in captured(drawn(network), IMAGE):
        assert_same(record, network.block.seen[0, record.head])
