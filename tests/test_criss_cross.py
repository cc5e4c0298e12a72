"""Criss-cross attention of other code: a query looks at its row and its column."""

import numpy as np
import pytest
import torch
from foreign import (
    CHANNELS,
    COLUMNS,
    IMAGE,
    INNER,
    ROWS,
    Stem,
    assert_same,
    captured,
    drawn,
    whole,
)
from torch import nn

from nonlocal_lens.analysis import degeneracy
from nonlocal_lens.analysis.record import AttentionRecord


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
def test_criss_cross_attention_is_the_modules_own(kind):
    network = drawn(Stem(CRISS_CROSS[kind]()))
    (record,) = captured(network, IMAGE)
    assert record.query_grid.shape == record.key_grid.shape == (1, ROWS, COLUMNS)
    assert record.reach.kind == "row and column"
    assert_same(record, network.block.seen)


def test_a_query_sees_its_row_and_its_column_and_its_own_place_once():
    (record,) = captured(drawn(Stem(CrissCrossAttention())), IMAGE)
    rows = whole(record).reshape(ROWS, COLUMNS, ROWS, COLUMNS)
    row = rows[2, 3]
    assert (row > 0).sum() == ROWS + COLUMNS - 1
    assert (row[2] > 0).all()
    assert (row[:, 3] > 0).all()
    torch.testing.assert_close(rows.sum(dim=(2, 3)), torch.ones(ROWS, COLUMNS))


def test_a_block_that_runs_twice_gives_two_records_in_order():
    network = drawn(Stem(CrissCrossAttention(), times=2))
    seen = []
    network.block.register_forward_hook(lambda module, *_: seen.append(module.seen))
    records = captured(network, IMAGE)
    assert [record.block for record in records] == ["block", "block"]
    for record, own in zip(records, seen, strict=True):
        assert_same(record, own)
    assert not torch.equal(*seen)


@pytest.mark.parametrize("kind", ["mmcv", "CCNet", "CCNet, first code"])
def test_before_training_what_a_block_is_called_tells_its_reach(kind):
    network = drawn(Stem(CRISS_CROSS[kind]()))
    last = getattr(network.block, "inc", None) or network.block.gamma
    with torch.no_grad():
        for parameter in last.parameters() if isinstance(last, nn.Module) else [last]:
            parameter.zero_()
    (record,) = captured(network, IMAGE)
    assert_same(record, network.block.seen)


def test_criss_cross_attention_is_measured_and_saved(tmp_path):
    (record,) = captured(drawn(Stem(CrissCrossAttention())), IMAGE)
    report = degeneracy.measure(record)
    assert np.isnan(report.unary_share)
    assert report.restriction.kind == "row and column"
    assert "within its own row and column" in report.verdict
    record.save(tmp_path / "record.safetensors")
    assert_same(AttentionRecord.load(tmp_path / "record.safetensors"), whole(record))


def test_an_own_place_that_counts_twice_does():
    network = drawn(Stem(CrissCrossAttention(own=2)))
    (record,) = captured(network, IMAGE)
    assert_same(record, network.block.seen)
