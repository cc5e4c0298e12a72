"""Blocks of other code whose queries look at few keys, or at keys by their place."""

import re
import warnings

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from analysis import capture, degeneracy, terms
from analysis.grid import Cell
from analysis.record import AttentionRecord

CHANNELS, INNER = 12, 5
ROWS, COLUMNS = 5, 7


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (8 * ROWS, 8 * COLUMNS, 3), dtype=np.uint8)


def drawn(module):
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.uniform_(-0.6, 0.6)
    return module.eval()


class Stem(nn.Module):
    """Cells of 8 x 8 pixels, then a block, maybe several times."""

    def __init__(self, block, times=1):
        super().__init__()
        self.image_size = 8 * ROWS, 8 * COLUMNS
        self.cells = nn.Conv2d(3, CHANNELS, 8, stride=8)
        self.block, self.times = block, times

    def forward(self, x):
        x = self.cells(x) / 4  # or some weights would be 1
        for _ in range(self.times):
            x = self.block(x)
        return x


def captured(network, image):
    """Return the records of a network of which nothing is left out."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return capture(network, image)


def whole(record):
    return terms.attention(record, range(len(record.query)))


def assert_same(record, seen):
    torch.testing.assert_close(whole(record), seen, rtol=1e-5, atol=1e-6)


def refused(network, image, sentence):
    with pytest.warns(UserWarning, match=re.escape(sentence)):
        assert capture(network, image) == ()


class Times(nn.Module):
    """A learned factor, as mmcv's."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.0))

    def forward(self, x):
        return self.scale * x


class CrissCrossAttention(nn.Module):
    """The attention of CCNet, from a table of who sees whom.

    Attributes are mmcv's, or with other names those of CCNet's first code.
    """

    def __init__(self, names=("query_conv", "key_conv", "value_conv"), gamma=None, own=1):
        super().__init__()
        self.names, self.own = names, own
        for name, width in zip(names, (INNER, INNER, CHANNELS), strict=True):
            self.add_module(name, nn.Conv2d(CHANNELS, width, 1))
        if names[0] == "t_func":
            self.inc = nn.Conv2d(CHANNELS, CHANNELS, 1)
        else:
            self.gamma = nn.Parameter(torch.zeros(1)) if gamma is None else gamma

    def forward(self, x):
        query, key, value = (getattr(self, name)(x).flatten(2)[0].T for name in self.names)
        row, column = (side.flatten() for side in np.indices(x.shape[2:]))
        times = (row[:, None] == row).astype(int) + (column[:, None] == column)
        times = torch.tensor(np.where(np.eye(len(row), dtype=bool), self.own, times)).to(x)
        self.seen = (query @ key.T + times.log()).softmax(dim=1)
        y = (self.seen @ value).T.reshape(1, -1, *x.shape[2:])
        if self.names[0] == "t_func":
            return x + self.inc(y)
        return x + (self.gamma(y) if isinstance(self.gamma, nn.Module) else self.gamma * y)


class Anonymous(CrissCrossAttention):
    """Criss-cross attention whose class does not say so."""


CRISS_CROSS = {
    "mmcv": lambda: CrissCrossAttention(gamma=Times()),
    "CCNet": CrissCrossAttention,
    "CCNet, first code": lambda: Anonymous(("t_func", "f_func", "g_func")),
    "unnamed": Anonymous,
}


@pytest.mark.parametrize("kind", CRISS_CROSS)
def test_criss_cross_attention_is_the_modules_own(image, kind):
    network = drawn(Stem(CRISS_CROSS[kind]()))
    (record,) = captured(network, image)
    assert record.query_grid.shape == record.key_grid.shape == (1, ROWS, COLUMNS)
    assert record.reach.kind == "row and column"
    assert_same(record, network.block.seen)


def test_a_query_sees_its_row_and_its_column_and_its_own_place_once(image):
    (record,) = captured(drawn(Stem(CrissCrossAttention())), image)
    rows = whole(record).reshape(ROWS, COLUMNS, ROWS, COLUMNS)
    row = rows[2, 3]
    assert (row > 0).sum() == ROWS + COLUMNS - 1
    assert (row[2] > 0).all()
    assert (row[:, 3] > 0).all()
    torch.testing.assert_close(rows.sum(dim=(2, 3)), torch.ones(ROWS, COLUMNS))


def test_a_block_that_runs_twice_gives_two_records_in_order(image):
    network = drawn(Stem(CrissCrossAttention(), times=2))
    seen = []
    network.block.register_forward_hook(lambda module, *_: seen.append(module.seen))
    records = captured(network, image)
    assert [record.block for record in records] == ["block", "block"]
    for record, own in zip(records, seen, strict=True):
        assert_same(record, own)
    assert not torch.equal(*seen)


@pytest.mark.parametrize("kind", ["mmcv", "CCNet", "CCNet, first code"])
def test_before_training_what_a_block_is_called_tells_its_reach(image, kind):
    network = drawn(Stem(CRISS_CROSS[kind]()))
    last = getattr(network.block, "inc", None) or network.block.gamma
    with torch.no_grad():
        for parameter in last.parameters() if isinstance(last, nn.Module) else [last]:
            parameter.zero_()
    (record,) = captured(network, image)
    assert_same(record, network.block.seen)


def test_criss_cross_attention_is_measured_and_saved(image, tmp_path):
    (record,) = captured(drawn(Stem(CrissCrossAttention())), image)
    report = degeneracy.measure(record)
    assert np.isnan(report.unary_share)
    assert report.restriction.kind == "row and column"
    assert "within its own row and column" in report.verdict
    record.save(tmp_path / "record.safetensors")
    assert_same(AttentionRecord.load(tmp_path / "record.safetensors"), whole(record))


def test_an_own_place_that_counts_twice_is_no_criss_cross_attention(image):
    refused(
        drawn(Stem(CrissCrossAttention(own=2))),
        image,
        "block (CrissCrossAttention) is left out: no known way from its queries and keys",
    )


class GeneralizedAttention(nn.Module):
    """mmcv's, from the whole table of vectors R between every query and every key."""

    def __init__(self, kinds="1111", kv_stride=2, q_stride=1, magnitude=1, spatial_range=-1):
        super().__init__()
        self.attention_type = [kind == "1" for kind in kinds]
        self.num_heads, self.qk_embed_dim, self.position_embedding_dim = 3, 4, 20
        self.kv_stride, self.q_stride = kv_stride, q_stride
        self.position_magnitude, self.spatial_range = magnitude, spatial_range
        content, position, saliency, position_alone = self.attention_type
        if content or position:
            self.query_conv = nn.Conv2d(CHANNELS, CHANNELS, 1, bias=False)
        if content or saliency:
            self.key_conv = nn.Conv2d(CHANNELS, CHANNELS, 1, bias=False)
        if position or position_alone:
            self.appr_geom_fc_x = nn.Linear(10, CHANNELS, bias=False)
            self.appr_geom_fc_y = nn.Linear(10, CHANNELS, bias=False)
        if saliency:
            self.appr_bias = nn.Parameter(torch.zeros(CHANNELS))
        if position_alone:
            self.geom_bias = nn.Parameter(torch.zeros(CHANNELS))
        self.value_conv = nn.Conv2d(CHANNELS, CHANNELS, 1, bias=False)
        self.proj_conv = nn.Conv2d(CHANNELS, CHANNELS, 1)
        self.gamma = nn.Parameter(torch.zeros(1))
        if spatial_range >= 0:
            far = [
                [abs(query - kv_stride * key) > spatial_range for key in range(9)]
                for query in range(11)
            ]
            far = torch.tensor(far)
            self.local_constraint_map = far[:, None, :, None] | far[:, None]

    def between(self, layer, queries, keys):
        """Return the vectors of one side, (head, channel, query, key)."""
        apart = self.q_stride * torch.arange(queries)[:, None] - self.kv_stride * torch.arange(keys)
        waves = torch.tensor([1000 ** (wave / 5) for wave in range(5)])
        angles = self.position_magnitude * apart[..., None] / waves
        vectors = layer(torch.cat((angles.sin(), angles.cos()), dim=2)) / 2**0.5
        return vectors.permute(2, 0, 1).unflatten(0, (self.num_heads, -1))

    def table(self, rows, columns, key_rows, key_columns):
        down = self.between(self.appr_geom_fc_y, rows, key_rows)
        across = self.between(self.appr_geom_fc_x, columns, key_columns)
        return down[:, :, :, None, :, None], across[:, :, None, :, None, :]

    def forward(self, x):
        content, position, saliency, position_alone = self.attention_type
        at_queries, at_keys = (x[:, :, ::step, ::step] for step in (self.q_stride, self.kv_stride))
        shape, keys = at_queries.shape[2:], at_keys.shape[2:]

        def by_head(y):
            return y.unflatten(-3, (self.num_heads, -1))[0]

        def vector(bias):
            return bias.view(self.num_heads, -1)

        logits = x.new_zeros(self.num_heads, *shape, *keys)
        if content or position:
            query = by_head(self.query_conv(at_queries))
        if content or saliency:
            key = by_head(self.key_conv(at_keys))
        if content:
            logits = logits + torch.einsum("ncyx,nckl->nyxkl", query, key)
        if saliency:
            saliencies = torch.einsum("nc,nckl->nkl", vector(self.appr_bias), key)
            logits = logits + saliencies[:, None, None]
        if position:
            for side, asking in zip(self.table(*shape, *keys), self.asking(query), strict=True):
                logits = logits + torch.einsum(
                    "ncyx,ncyxkl->nyxkl", asking, side.expand(-1, -1, *shape, *keys)
                )
        if position_alone:
            down, across = self.table(*shape, *keys)
            vectors = down + across
            logits = logits + torch.einsum("nc,ncyxkl->nyxkl", vector(self.geom_bias), vectors)
        logits = logits.flatten(1, 2).flatten(2)
        if self.spatial_range >= 0:
            far = self.local_constraint_map[: shape[0], : shape[1], : keys[0], : keys[1]]
            logits = logits.masked_fill(far.flatten(2).flatten(0, 1), -torch.inf)
        self.seen = logits.softmax(dim=2)
        value = by_head(self.value_conv(at_keys)).flatten(2)
        y = torch.einsum("nqk,nck->ncq", self.seen, value).reshape(1, -1, *shape)
        y = F.interpolate(self.proj_conv(y), x.shape[2:], mode="bilinear")
        return self.gamma * y + x

    def asking(self, query):
        return query, query


class Swapping(GeneralizedAttention):
    """With mmcv's slip: for rows, queries are those of the swapped place."""

    def asking(self, query):
        return query.mT, query


def assert_heads_same(records, block):
    assert [record.head for record in records] == list(range(block.num_heads))
    for record in records:
        assert_same(record, block.seen[record.head])


@pytest.mark.parametrize("kinds", [f"{kinds:04b}" for kinds in range(1, 16)])
def test_every_kind_of_generalized_attention_is_the_modules_own(image, kinds):
    network = drawn(Stem(GeneralizedAttention(kinds)))
    records = captured(network, image)
    assert records[0].query_grid.shape == (1, ROWS, COLUMNS)
    assert records[0].key_grid.shape == (1, 3, 4)
    assert_heads_same(records, network.block)


@pytest.mark.parametrize(
    "options",
    [
        {"kv_stride": 1},
        {"kv_stride": 3, "q_stride": 2},
        {"magnitude": 3},
        {"spatial_range": 1},
        {"spatial_range": 2, "kv_stride": 1, "kinds": "1000"},
    ],
)
def test_every_option_of_generalized_attention_is_the_modules_own(image, options):
    network = drawn(Stem(GeneralizedAttention(**options)))
    assert_heads_same(captured(network, image), network.block)


def test_a_saliency_alone_has_no_pairwise_term(image):
    record = captured(drawn(Stem(GeneralizedAttention("0010"))), image)[1]
    assert (record.form, record.coupling, record.query.shape[1]) == (
        "query_independent",
        "unary",
        0,
    )
    assert degeneracy.measure(record).unary_share == 1


def test_a_window_is_what_a_query_reaches(image):
    record = captured(drawn(Stem(GeneralizedAttention(kv_stride=1, spatial_range=1))), image)[0]
    rows = whole(record).reshape(ROWS, COLUMNS, ROWS, COLUMNS)
    assert record.reach.kind == "window"
    assert (rows[2, 3] > 0).nonzero().tolist() == [[i, j] for i in (1, 2, 3) for j in (2, 3, 4)]
    assert (rows[0, 0] > 0).nonzero().tolist() == [[i, j] for i in (0, 1) for j in (0, 1)]


def test_the_middle_of_a_strided_key_is_that_of_the_cell_it_was(image):
    record = captured(drawn(Stem(GeneralizedAttention())), image)[0]
    for row in range(3):
        for column in range(4):
            key = record.key_grid.center(Cell(row, column))
            assert key == record.query_grid.center(Cell(2 * row, 2 * column))


@pytest.mark.parametrize("block", [GeneralizedAttention, Swapping])
def test_swapped_queries_are_told_by_the_output(image, block):
    network = drawn(Stem(block("1100", kv_stride=3)))
    network.image_size = 56, 56
    assert_heads_same(captured(network, image), network.block)


class Tempered(GeneralizedAttention):
    """What no attribute tells: values are halved."""

    def forward(self, x):
        return x + (super().forward(x) - x) / 2


@pytest.mark.parametrize(
    ("block", "sentence"),
    [
        (Tempered(), "what its attributes say does not lead to its own output"),
        (
            GeneralizedAttention(q_stride=3),
            "its queries are every 3 cells and its keys every 2: the keys of a record lie no",
        ),
    ],
)
def test_generalized_attention_that_no_record_holds_is_said(image, block, sentence):
    refused(drawn(Stem(block)), image, sentence)


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
def test_attention_to_reduced_keys_is_the_modules_own_per_head(image, kind):
    network = drawn(REDUCED[kind]())
    records = captured(network, image)
    assert [record.head for record in records] == [0, 1, 2]
    seen = network.block.seen[0]
    for record in records:
        own = seen[record.head, -len(record.query) :, -len(record.key) :]
        assert_same(record, own / own.sum(dim=1, keepdim=True))


@pytest.mark.parametrize(("ratio", "middles"), [(2, [8, 24, 40]), (3, [12, 36]), (4, [16])])
def test_a_reduced_key_lies_in_the_middle_of_what_it_is_made_of(image, ratio, middles):
    record = captured(drawn(Patches(SegformerAttention(ratio))), image)[0]
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
    ("network", "sentence"),
    [
        (Patches(Halving(2)), "softmax of the scaled products of its queries and keys does not"),
        (
            Patches(Subtracting(2), pair=True),
            "what its attributes say does not lead to its own out",
        ),
        (
            Patches(PyramidAttention(1), told=False),
            "it was not told of how many rows and columns its 35 tokens are",
        ),
        (
            Patches(PyramidAttention(1, nn.AdaptiveAvgPool2d(3))),
            "its 5 x 7 patches are pooled to 3 x 3 keys, which are not equally large",
        ),
    ],
)
def test_attention_to_reduced_keys_that_no_record_holds_is_said(image, network, sentence):
    refused(drawn(network), image, sentence)
