"""Attention split in bits: what is the same for every query, and what the query tells."""

from dataclasses import replace
from math import isnan, log2, nan

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from records import KINDS, random_record
from test_degeneracy_laws import SEEDS, records

from nonlocal_lens.analysis import degeneracy
from nonlocal_lens.analysis.grid import Grid
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.statistics.statistic import at_least_zero


def planted(rows):
    """Return a record whose rows of attention are these, of softmax over their logarithms."""
    queries, keys = rows.shape
    grids = (Grid.tiling((56, 64), 1, count) for count in (queries, keys))
    logits, one_hot = rows.double().log(), torch.eye(keys, dtype=torch.float64)
    return AttentionRecord("block", "gaussian", "coupled", 1.0, logits, one_hot, None, *grids)


@given(records())
def test_selectivity_is_the_sum_of_what_all_share_and_what_the_query_tells(record):
    report = degeneracy.measure(record, shuffles=False)
    together = report.unary_bits + report.query_information_bits
    assert report.selectivity_bits == pytest.approx(together, abs=1e-12)
    assert report.unary_bits >= 0
    if report.selectivity_bits > 1e-9:
        share = report.unary_bits / report.selectivity_bits
        assert report.unary_information_share == pytest.approx(share, abs=1e-9)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "unnormalized" not in str(KINDS[kind])])
def test_the_sum_holds_for_every_kind_of_attention(generator, kind):
    report = degeneracy.measure(random_record(generator, **KINDS[kind]))
    together = report.unary_bits + report.query_information_bits
    assert report.selectivity_bits == pytest.approx(together, abs=1e-12)


def test_a_split_worked_by_hand():
    # two queries, four keys: the mean row is (5/8, 1/8, 1/8, 1/8)
    rows = torch.tensor([[1.0, 0.0, 0.0, 0.0], [0.25] * 4], dtype=torch.float64).clamp_min(1e-300)
    report = degeneracy.measure(planted(rows))
    of_mean = -(5 / 8 * log2(5 / 8) + 3 / 8 * log2(1 / 8))
    assert report.selectivity_bits == pytest.approx(2 - 1)
    assert report.unary_bits == pytest.approx(2 - of_mean)
    assert report.query_information_bits == pytest.approx(of_mean - 1)
    assert report.sink == 0
    assert report.sink_share == pytest.approx(5 / 8)
    assert report.sink_concentration == pytest.approx(5)
    assert report.sink_routed == 0.5
    assert report.participation_ratio == pytest.approx(64 / 28)
    assert report.normalized_mutual_information == pytest.approx((of_mean - 1) / of_mean**0.5)


def test_a_sink_is_seen_that_the_logits_do_not_show():
    """A key that is raised for everybody is one of many logits, and most of the attention."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(196, 16, generator=generator, dtype=torch.float64)
    grid = Grid.tiling((224, 224), 14, 14)
    one = torch.ones_like(vectors[:, :1])
    raised = torch.zeros_like(one)
    raised[77] = 14 / 0.73
    record = AttentionRecord(
        *("block", "embedded_gaussian", "coupled", 0.73),
        torch.cat((vectors, one), dim=1),
        torch.cat((vectors, raised), dim=1),
        *(None, grid, grid),
    )
    report = degeneracy.measure(record)
    assert report.unary_share < 0.15
    assert report.unary_information_share > 0.5
    assert (report.sink, report.sink_cell) == (77, (5, 7, 0))
    assert report.sink_share > 0.5
    assert report.sink_rate == 1
    assert report.sink_routed > 0.5
    assert "sink" in report.verdict


@given(st.floats(0, 0.999), st.integers(2, 30), SEEDS)
def test_mass_planted_on_one_key_is_the_sink_share(mass, others, seed):
    generator = torch.Generator().manual_seed(seed)
    rest = torch.rand(7, others, generator=generator, dtype=torch.float64) + 1e-3
    rest = (1 - mass) * rest / rest.sum(dim=1, keepdim=True)
    rows = torch.cat((rest[:, :1], torch.full((7, 1), mass, dtype=rest.dtype), rest[:, 1:]), dim=1)
    report = degeneracy.measure(planted(rows.clamp_min(1e-300)), shuffles=False)
    expected = rows.mean(dim=0).max().item()
    assert report.sink_share == pytest.approx(expected, abs=1e-9)
    if mass > rest.mean(dim=0).max().item():
        assert report.sink == 1
        assert report.sink_routed == float(mass >= 0.5)
        assert report.sink_rate == float(mass >= 0.3)


@given(st.floats(0.01, 0.99), SEEDS)
def test_what_goes_to_a_key_alike_from_everywhere_takes_its_share_of_the_information(mass, seed):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.rand(11, 13, generator=generator, dtype=torch.float64) ** 4 + 1e-6
    rows = rows / rows.sum(dim=1, keepdim=True)
    among = degeneracy.measure(planted(rows), shuffles=False).query_information_bits
    with_sink = torch.cat(((1 - mass) * rows, torch.full((11, 1), mass, dtype=rows.dtype)), dim=1)
    found = degeneracy.measure(planted(with_sink), shuffles=False).query_information_bits
    assert found == pytest.approx((1 - mass) * among, abs=1e-9)


@given(records(), SEEDS)
def test_the_order_of_keys_changes_no_number_but_those_of_places(record, seed):
    order = torch.randperm(len(record.key), generator=torch.Generator().manual_seed(seed))
    changed = replace(
        record,
        key=record.key[order],
        unary=None if record.unary is None else record.unary[order],
    )
    before, after = (degeneracy.measure(r, shuffles=False) for r in (record, changed))
    names = [name for name in degeneracy.STATISTICS if not name.endswith(("_mass", "_distance"))]
    for name in {*names} - {"jsd_nats"}:  # of other random pairs
        expected = pytest.approx(getattr(before, name), rel=1e-6, abs=1e-6, nan_ok=True)
        assert getattr(after, name) == expected, name


@pytest.mark.parametrize("kind", ["non_local", "product", "sum", "disentangled", "pairwise"])
def test_the_stable_rank_is_that_of_the_materialized_logits(generator, kind):
    record = random_record(generator, **KINDS[kind])
    query, key = record.query, record.key
    if kind != "non_local":
        query, key = query - query.mean(dim=0), key - key.mean(dim=0)
    logits = record.scale * query @ key.T
    if kind == "product":
        logits = logits + record.unary
    logits = logits - logits.mean(dim=1, keepdim=True)
    singular = torch.linalg.svdvals(logits)
    expected = (singular.square().sum() / singular[0] ** 2).item()
    assert degeneracy.measure(record).stable_rank == pytest.approx(expected, rel=1e-6)


def test_the_stable_rank_is_undefined_where_logits_are_no_products(generator):
    report = degeneracy.measure(random_record(generator, **KINDS["concatenation"]))
    assert report.stable_rank != report.stable_rank
    assert degeneracy.measure(random_record(generator, **KINDS["unary"])).stable_rank == 1


def test_a_query_of_a_clip_stays_in_its_frame():
    grid = Grid.tiling((40, 56), 5, 7, frames=3)
    one_hot = 1e3 * torch.eye(grid.positions, dtype=torch.float64)
    record = AttentionRecord(
        "block", "gaussian", "coupled", 1.0, one_hot, one_hot, None, grid, grid
    )
    report = degeneracy.measure(record)
    assert report.self_mass == pytest.approx(1)
    assert report.local_mass == pytest.approx(1)
    next_frame = replace(record, key=one_hot.roll(-35, dims=0))
    assert degeneracy.measure(next_frame).self_mass == pytest.approx(0)
    # uniform attention: 9 keys around a cell inside, 6 at an edge, 4 in a corner, of 3 x 35
    near = (15 * 9 + (2 * 3 + 2 * 5) * 6 + 4 * 4) / 35
    assert report.baselines["local_mass"].uniform == pytest.approx(near / 105)
    assert report.baselines["self_mass"].uniform == pytest.approx(1 / 105)


@pytest.mark.parametrize(("value", "expected"), [(-0.0, "0.0"), (-1e-17, "0.0"), (0.5, "0.5")])
def test_what_is_at_least_zero_has_no_sign(value, expected):
    assert str(at_least_zero(value)) == expected
    assert isnan(at_least_zero(nan))
