from math import log, prod
from typing import ClassVar

import numpy as np
import pytest
import torch
from foreign import CHANNELS, drawn, noise
from oracle import check_places
from timm.models.maxxvit import MaxxVitTransformerCfg, PartitionAttentionCl
from timm.models.swin_transformer import SwinTransformerBlock
from timm.models.swin_transformer_v2 import SwinTransformerV2Block
from torch import nn
from torch.nn import functional as F
from torchvision.models.maxvit import PartitionAttentionLayer
from torchvision.models.swin_transformer import (
    PatchMergingV2,
    ShiftedWindowAttention,
    ShiftedWindowAttentionV2,
    SwinTransformer,
    SwinTransformerBlockV2,
    shifted_window_attention,
)
from torchvision.models.video.swin_transformer import ShiftedWindowAttention3d

from nonlocal_lens.analysis import capture, terms
from nonlocal_lens.analysis.degeneracy import measure

HEADS = 3


@pytest.fixture
def image():
    return noise(46, 34)


@pytest.fixture
def seen(monkeypatch):
    """Collect what every softmax over windows gives: (windows, heads, places, places)."""
    maps = []

    def softmax(x, dim, **_):
        maps.append(x.softmax(dim))
        return maps[-1]

    monkeypatch.setattr(F, "softmax", softmax)
    return maps


def in_windows(x, window):
    """Return the positions of every window of a map, or of a clip's."""
    for axis, side in enumerate(window):
        x = x.unflatten(2 * axis, (-1, side))
    order = [2 * axis for axis in range(len(window))]
    return x.permute(order + [axis + 1 for axis in order]).reshape(-1, prod(window))


def own_attention(seen, size, window, shift, *, padded_first=True):
    """Lay weights inside windows out on the map; rows are over what of them falls on it."""
    padding = [(0, -side % extent) for side, extent in zip(size, window, strict=True)]
    index = torch.arange(prod(size)).view(size)
    steps = (
        lambda x: F.pad(x, [pad for pads in reversed(padding) for pad in pads], value=prod(size)),
        lambda x: x.roll([-by for by in shift], list(range(len(shift)))),
    )
    for step in steps if padded_first else reversed(steps):
        index = step(index)
    return on_map(seen, in_windows(index, window), prod(size))


def on_map(seen, index, positions):
    """Lay weights out by the positions that they are between."""
    whole = torch.zeros(seen.shape[1], positions + 1, positions + 1)
    whole[:, index[:, :, None], index[:, None]] = seen.transpose(0, 1)
    whole = whole[:, :-1, :-1]
    return whole / whole.sum(dim=2, keepdim=True)


def assert_alike(record, own):
    """Compare what of all rows falls on the map with a module's own.

    Those are 0 where a mask has e to the -100; padding is a key beside the map.
    """
    assert all(name.startswith("padding") for name in record.key_axis.names)
    rows = terms.attention(record, range(len(own)))[:, : len(own)]
    rows = rows / rows.sum(dim=1, keepdim=True)
    torch.testing.assert_close(rows, own, rtol=1e-5, atol=1e-6)
    assert torch.equal(rows < 1e-30, own < 1e-30)


class Cells(nn.Module):
    """Cells of 2 x 2 pixels, channels last, then a block."""

    def __init__(self, block, image_size):
        super().__init__()
        self.image_size = image_size
        self.cells = nn.Conv2d(3, CHANNELS, 2, stride=2)
        self.block = block

    def forward(self, x):
        return self.block(self.cells(x).permute(0, 2, 3, 1))


CASES = {
    "windows divide the map": ((26, 22), [13, 11], [0, 0]),
    "shifted": ((42, 30), [7, 5], [3, 2]),
    "shifted along one side": ((42, 30), [7, 5], [0, 2]),
    "padded": ((46, 34), [7, 5], [0, 0]),
    "shifted and padded": ((46, 34), [7, 5], [3, 2]),
    "padded by less than the shift": ((40, 28), [7, 5], [3, 2]),
    "larger than the map": ((10, 14), [7, 5], [3, 2]),
    "larger than both sides of the map": ((10, 6), [7, 5], [3, 2]),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", [ShiftedWindowAttention, ShiftedWindowAttentionV2])
def test_every_head_of_attention_in_windows_is_torchvisions_own(seen, image, kind, case):
    pixels, window, shift = CASES[case]
    network = drawn(Cells(kind(CHANNELS, window, shift, HEADS), pixels))
    records = capture(network, image)
    size = tuple(side // 2 for side in pixels)
    shift = [0 if s <= w else by for s, w, by in zip(size, window, shift, strict=True)]
    own = own_attention(seen[0], size, window, shift)
    assert [record.head for record in records] == list(range(HEADS))
    for record in records:
        assert record.query_grid.shape == (1, *size)
        assert_alike(record, own[record.head])
    one_window = all(s <= w for s, w in zip(size, window, strict=True))
    assert (record.reach is None) == one_window
    if not one_window:
        assert record.reach.kind == "window"
        assert record.reach.parts is not None


def test_weights_worked_by_hand():
    """Windows of 2 x 2, shifted by 1; a key to the right of its query weighs 3, all others 1."""
    attention = ShiftedWindowAttention(CHANNELS, [2, 2], [1, 1], 1)
    network = drawn(Cells(attention, (8, 12)))
    with torch.no_grad():
        attention.qkv.weight[: 2 * CHANNELS] = 0
        attention.qkv.bias[: 2 * CHANNELS] = 0
        attention.relative_position_bias_table[:, 0] = 0
        attention.relative_position_bias_table[3, 0] = log(3)  # query - key = (0, -1)
    (record,) = capture(network, np.zeros((8, 12, 3), np.uint8))
    rows = terms.attention(record, [0, 1, 6, 7, 23]).unflatten(1, (4, 6))
    expected = torch.zeros(5, 4, 6)
    expected[0, 0, 0] = 1  # the corner is a window of its own
    expected[1, 0, 1:3] = torch.tensor([1 / 4, 3 / 4])
    expected[2, 1:3, 0] = 1 / 2
    expected[3, 1:3, 1:3] = torch.tensor([[1, 3], [1, 1]]) / 6
    expected[4, 3, 5] = 1
    torch.testing.assert_close(rows, expected)


def test_the_cells_of_shifted_windows_are_those_whose_pixels_move_them(image):
    network = SwinTransformer([2, 2], CHANNELS, [2, 2], [3, 6], [5, 5], num_classes=7)
    network.image_size = (46, 34)
    network = drawn(network)
    records = capture(network, image)
    assert [r.query_grid.cell_height for r in records[::9]] == [2, 4], "padding stretches no cell"
    check_places(network, image, records, within=1, blocks={r.block for r in records})


@pytest.mark.parametrize("version", [1, 2])
def test_torchvisions_swin_transformer_is_captured_per_layer_and_head(seen, image, version):
    new = {"block": SwinTransformerBlockV2, "downsample_layer": PatchMergingV2}
    network = SwinTransformer(
        [2, 2], CHANNELS, [2, 2], [3, 6], [5, 5], num_classes=7, **(new if version == 2 else {})
    )
    network.image_size = (46, 34)
    records = capture(drawn(network), image)
    assert [(record.block, record.head) for record in records] == [
        (f"features.{stage}.{layer}.attn", head)
        for stage, heads in ((1, 3), (3, 6))
        for layer in range(2)
        for head in range(heads)
    ]
    owns = [
        own
        for layer, weights in enumerate(seen[:4])
        for own in own_attention(
            weights, (23, 17) if layer < 2 else (12, 9), [5, 5], [2 * (layer % 2)] * 2
        )
    ]
    for record, own in zip(records, owns, strict=True):
        assert_alike(record, own)


def test_statistics_of_windows_are_of_what_queries_do_inside_them(image):
    network = drawn(Cells(ShiftedWindowAttention(CHANNELS, [7, 5], [3, 2], HEADS), (46, 34)))
    report = measure(capture(network, image)[0])
    assert report.restriction.kind == "window"
    assert 0 < report.unary_share < 1
    assert report.perplexity < 35
    assert report.query_information_bits > report.restriction.information_bits


class Clips(nn.Module):
    """Cells of 2 x 2 pixels in 2 frames, channels last, then a block."""

    image_size = (14, 22)

    def __init__(self, block):
        super().__init__()
        self.cells = nn.Conv3d(3, CHANNELS, 2, stride=2)
        self.block = block

    def forward(self, x):
        return self.block(self.cells(x).permute(0, 2, 3, 4, 1))


def test_windows_of_a_clip_are_torchvisions_own(seen):
    network = drawn(Clips(ShiftedWindowAttention3d(CHANNELS, [8, 5, 3], [4, 2, 1], HEADS)))
    frames = np.random.default_rng(0).integers(0, 256, (10, 14, 22, 3), dtype=np.uint8)
    records = capture(network, frames)
    own = own_attention(seen[0], (5, 7, 11), [5, 5, 3], [0, 2, 1])  # 8 is more than all 5 frames
    for record in records:
        assert record.query_grid.shape == (5, 7, 11)
        assert_alike(record, own[record.head])


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("kind", [SwinTransformerBlock, SwinTransformerV2Block])
def test_every_head_of_attention_in_windows_is_timms_own(seen, image, kind, case):
    pixels, window, shift = CASES[case]
    size = tuple(side // 2 for side in pixels)
    block = kind(CHANNELS, size, HEADS, window_size=tuple(window), shift_size=tuple(shift))
    records = capture(drawn(Cells(block, pixels)), image)
    own = own_attention(seen[0], size, block.window_size, block.shift_size, padded_first=False)
    assert [record.head for record in records] == list(range(HEADS))
    for record in records:
        assert record.block == "block.attn"
        assert_alike(record, own[record.head])


class Rows(Cells):
    """The same, with all positions in a row."""

    def forward(self, x):
        x = self.cells(x)
        output = self.block(x.flatten(2).mT, x.shape[2:])
        return output[0] if isinstance(output, tuple) else output


class LayerLike(nn.Module):
    """A layer of Hugging Face's: it makes the windows that its attention is given."""

    window_size, shift_size = 5, 2

    def __init__(self, version, cosine):
        super().__init__()
        kind = ShiftedWindowAttentionV2 if cosine else ShiftedWindowAttention
        biased = kind(CHANNELS, [5, 5], [2, 2], HEADS)
        self.layernorm_before, self.layernorm_after = (nn.LayerNorm(CHANNELS) for _ in range(2))
        self.layers = [nn.Linear(CHANNELS, CHANNELS) for _ in range(4)]
        self.attention = nn.Module()
        if version == 5:
            inner, names = self.attention, ("q_proj", "k_proj", "v_proj")
            self.attention.o_proj = self.layers[3]
            self.attention.relative_position_bias = biased
            self.mlp = nn.Linear(CHANNELS, CHANNELS)
            self.follow = self.mlp
        else:
            inner, names = nn.Module(), ("query", "key", "value")
            self.attention.add_module("self", inner)
            self.attention.output = nn.Module()
            self.attention.output.dense = self.layers[3]
            self.intermediate, self.output = nn.Linear(CHANNELS, 7), nn.Linear(7, CHANNELS)
            self.follow = nn.Sequential(self.intermediate, self.output)
            inner.relative_position_index = biased.relative_position_index
            inner.relative_position_bias_table = getattr(
                biased, "relative_position_bias_table", None
            )
        if cosine:
            self.layers[1].register_parameter("bias", None)
            inner.logit_scale, inner.continuous_position_bias_mlp = (
                biased.logit_scale,
                biased.cpb_mlp,
            )
            inner.relative_coords_table = biased.relative_coords_table
        inner.num_attention_heads = HEADS
        for name, layer in zip(names, self.layers, strict=False):
            inner.add_module(name, layer)
        self.cosine, self.biased = cosine, [biased]

    def forward(self, hidden_states, input_dimensions):
        x = hidden_states.unflatten(1, input_dimensions)
        biases = [layer.bias for layer in self.layers[:3]]
        attended = shifted_window_attention(
            x if self.cosine else self.layernorm_before(x),
            torch.cat([layer.weight for layer in self.layers[:3]]),
            self.layers[3].weight,
            self.biased[0].get_relative_position_bias(),
            [5, 5],
            HEADS,
            [2, 2],
            qkv_bias=torch.cat([torch.zeros(CHANNELS) if b is None else b for b in biases]),
            proj_bias=self.layers[3].bias,
            logit_scale=self.biased[0].logit_scale if self.cosine else None,
        )
        if self.cosine:
            x = x + self.layernorm_before(attended)
            x = x + self.layernorm_after(self.follow(x))
        else:
            x = x + attended
            x = x + self.follow(self.layernorm_after(x))
        return x.flatten(1, 2), None


class OpenMMLabLike(nn.Module):
    """It makes windows, and nothing follows what attends in them."""

    window_size, shift_size = 5, 2

    def __init__(self):
        super().__init__()
        self.w_msa = ShiftedWindowAttention(CHANNELS, [5, 5], [2, 2], HEADS)

    def forward(self, query, hw_shape):
        return self.w_msa(query.unflatten(1, hw_shape)).flatten(1, 2)


LAYERS = {
    "Hugging Face": lambda: LayerLike(5, cosine=False),
    "Hugging Face 4": lambda: LayerLike(4, cosine=False),
    "Hugging Face, v2": lambda: LayerLike(4, cosine=True),
    "OpenMMLab": OpenMMLabLike,
}


@pytest.mark.parametrize("kind", LAYERS)
def test_windows_of_positions_in_a_row_are_read(seen, image, kind):
    network = drawn(Rows(LAYERS[kind](), (46, 34)))
    records = capture(network, image)
    own = own_attention(seen[0], (23, 17), [5, 5], [2, 2])
    assert len(records) == HEADS
    for record in records:
        assert record.query_grid.shape == (1, 23, 17)
        assert_alike(record, own[record.head])


class AuthorsLike(SwinTransformerBlock):
    """Positions are in a row, and the layer knows what rows and columns they are of."""

    def forward(self, x, *_):
        return super().forward(x.unflatten(1, (21, 15))).flatten(1, 2)


def test_the_resolution_of_a_layer_tells_the_rows_and_columns(image):
    layer = AuthorsLike(CHANNELS, (21, 15), HEADS, window_size=(7, 5), shift_size=(3, 2))

    class Network(Rows):
        def forward(self, x):
            return self.block(self.cells(x).flatten(2).mT)

    network = drawn(Network(layer, (42, 30)))
    assert [record.query_grid.shape for record in capture(network, image)] == [(1, 21, 15)] * HEADS
    layer.input_resolution = None  # it is followed, not asked for
    assert [record.query_grid.shape for record in capture(network, image)] == [(1, 21, 15)] * HEADS


@pytest.mark.parametrize(("kind", "size"), [("window", (15, 9)), ("grid", (15, 15))])
def test_partitions_of_maxvit_are_torchvisions_own(seen, image, kind, size):
    block = PartitionAttentionLayer(
        CHANNELS, CHANNELS // HEADS, 3, kind, size, 2, nn.GELU, nn.LayerNorm, 0.0, 0.0, 0.0
    )

    class Network(Cells):
        def forward(self, x):
            return self.block(self.cells(x))

    records = capture(drawn(Network(block, tuple(2 * side for side in size))), image)
    index = torch.arange(prod(size)).view(size)
    parts = in_windows(index, [3, 3]) if kind == "window" else in_windows(index, [5, 5]).T
    own = on_map(seen[0][0], parts, prod(size))
    assert [record.head for record in records] == list(range(HEADS))
    for record in records:
        assert record.reach.kind == kind
        assert_alike(record, own[record.head])


@pytest.mark.parametrize("positions", ["bias", "mlp"])
@pytest.mark.parametrize("head_first", [True, False])
@pytest.mark.parametrize(("kind", "size"), [("block", (15, 10)), ("grid", (9, 10))])
def test_partitions_of_maxvit_are_timms_own(image, kind, size, head_first, positions):
    options = MaxxVitTransformerCfg(
        dim_head=CHANNELS // HEADS,
        window_size=(5, 2),
        grid_size=(3, 5),
        rel_pos_type=positions,
        rel_pos_dim=7,
        init_values=1e-3,
        head_first=head_first,
    )
    block = PartitionAttentionCl(CHANNELS, kind, options)
    block.attn.fused_attn = False
    seen = []
    block.attn.attn_drop.register_forward_hook(lambda _module, args, _: seen.append(args[0]))
    records = capture(drawn(Cells(block, tuple(2 * side for side in size))), image)
    index = torch.arange(prod(size)).view(size)
    parts = in_windows(index, [5, 2]) if kind == "block" else in_windows(index, [3, 2]).T
    own = on_map(seen[0], parts, prod(size))
    assert [record.head for record in records] == list(range(HEADS))
    for record in records:
        assert record.reach.kind == {"block": "window"}.get(kind, kind)
        assert_alike(record, own[record.head])


def test_a_bias_laid_out_by_einsum_of_both_sides_is_refused(image):
    options = MaxxVitTransformerCfg(
        dim_head=CHANNELS // HEADS, window_size=(5, 2), rel_pos_type="bias_tf", init_values=1e-3
    )
    network = drawn(Cells(PartitionAttentionCl(CHANNELS, "block", options), (30, 20)))
    with pytest.warns(UserWarning, match=r"block\.attn \(AttentionCl\) is left out: "):
        assert capture(network, image) == ()


class Changed(ShiftedWindowAttention):
    """Its attributes do not tell what it did."""

    def __init__(self, **changes):
        super().__init__(CHANNELS, [7, 5], [3, 2], HEADS)
        self.changes = changes

    def forward(self, x):
        for name in self.changes:
            setattr(self, name, self.right[name])
        output = super().forward(x)
        for name, value in self.changes.items():
            setattr(self, name, value)
        return output

    right: ClassVar = {"shift_size": [3, 2], "num_heads": HEADS, "window_size": [7, 5]}


@pytest.mark.parametrize(
    "changes",
    [{"shift_size": [3, 1]}, {"num_heads": 2}, {"window_size": [8, 5]}, {"window_size": [7, 5, 3]}],
    ids=str,
)
def test_what_attributes_tell_does_not_matter(seen, image, changes):
    records = capture(drawn(Cells(Changed(**changes), (46, 34))), image)
    own = own_attention(seen[0], (23, 17), [7, 5], [3, 2])
    assert [record.head for record in records] == list(range(HEADS))
    for record in records:
        assert_alike(record, own[record.head])
