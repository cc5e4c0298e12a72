"""Generalized attention: content, relative position and saliency in one logit."""

import pytest
import torch
from foreign import (
    CHANNELS,
    COLUMNS,
    IMAGE,
    ROWS,
    Stem,
    assert_same,
    captured,
    drawn,
    refused,
    whole,
)
from torch import nn
from torch.nn import functional as F

from nonlocal_lens.analysis.grid import Cell


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


def assert_heads_same(records, block):
    assert [record.head for record in records] == list(range(block.num_heads))
    for record in records:
        assert_same(record, block.seen[record.head])


@pytest.mark.parametrize("kinds", [f"{kinds:04b}" for kinds in range(8, 16)])
def test_every_kind_of_generalized_attention_is_the_modules_own(kinds):
    network = drawn(Stem(GeneralizedAttention(kinds)))
    records = captured(network, IMAGE)
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
def test_every_option_of_generalized_attention_is_the_modules_own(options):
    network = drawn(Stem(GeneralizedAttention(**options)))
    assert_heads_same(captured(network, IMAGE), network.block)


def test_a_window_is_what_a_query_reaches():
    record = captured(drawn(Stem(GeneralizedAttention(kv_stride=1, spatial_range=1))), IMAGE)[0]
    rows = whole(record).reshape(ROWS, COLUMNS, ROWS, COLUMNS)
    assert record.reach.kind == "window"
    assert (rows[2, 3] > 0).nonzero().tolist() == [[i, j] for i in (1, 2, 3) for j in (2, 3, 4)]
    assert (rows[0, 0] > 0).nonzero().tolist() == [[i, j] for i in (0, 1) for j in (0, 1)]


def test_the_middle_of_a_strided_key_is_that_of_the_cell_it_was():
    record = captured(drawn(Stem(GeneralizedAttention())), IMAGE)[0]
    for row in range(3):
        for column in range(4):
            key = record.key_grid.center(Cell(row, column))
            assert key == record.query_grid.center(Cell(2 * row, 2 * column))


def test_a_content_alone_with_rows_and_columns_is_the_modules_own():
    network = drawn(Stem(GeneralizedAttention("1100", kv_stride=3)))
    network.image_size = 56, 56
    assert_heads_same(captured(network, IMAGE), network.block)


class Tempered(GeneralizedAttention):
    """What no attribute tells: values are halved."""

    def forward(self, x):
        return x + (super().forward(x) - x) / 2


@pytest.mark.parametrize("block", [Tempered(), GeneralizedAttention(q_stride=3)])
def test_what_no_attribute_tells_changes_no_weights(block):
    assert_heads_same(captured(drawn(Stem(block)), IMAGE), block)


@pytest.mark.parametrize("kinds", ["0001", "0101"])
def test_attention_by_places_alone_is_refused(kinds):
    refused(drawn(Stem(GeneralizedAttention(kinds))), IMAGE, "is left out: ")
