"""What holds for every record, whatever its sizes and numbers."""

from dataclasses import replace
from math import isfinite, log2

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nonlocal_lens.analysis import degeneracy, terms
from nonlocal_lens.analysis.grid import Grid
from nonlocal_lens.analysis.query_map import divergence_from_mean_bits
from nonlocal_lens.analysis.record import AttentionRecord

settings.register_profile("quick", deadline=None, max_examples=25, derandomize=True)
settings.load_profile("quick")

SIDES = st.integers(1, 7)
SCALES = st.sampled_from([0.01, 0.3, 1.0, 5.0])
SEEDS = st.integers(0, 2**31)


@st.composite
def records(draw):
    """Return records of all sizes, flat and sharp, with means near and far from 0."""
    generator = torch.Generator().manual_seed(draw(SEEDS))
    query_hw, key_hw = (draw(SIDES), draw(SIDES)), (draw(SIDES), draw(SIDES))
    channels, offset, scale = draw(st.integers(1, 11)), draw(st.floats(-3, 3)), draw(SCALES)

    def vectors(hw):
        count = hw[0] * hw[1]
        return torch.randn(count, channels, generator=generator, dtype=torch.float64) + offset

    coupling = draw(st.sampled_from(["coupled", "disentangled"]))
    key = vectors(key_hw)
    return AttentionRecord(
        block="block",
        form="embedded_gaussian",
        coupling=coupling,
        scale=scale,
        query=vectors(query_hw),
        key=key,
        unary=key[:, 0].clone() if coupling == "disentangled" else None,
        query_grid=Grid.tiling((56, 64), *query_hw),
        key_grid=Grid.tiling((56, 64), *key_hw),
    )


def with_queries(record, query):
    return replace(record, query=query, query_grid=Grid.tiling((56, 64), len(query), 1))


@given(records())
def test_the_terms_are_orthogonal_and_their_squares_add_up(record):
    queries = range(len(record.query))
    pairwise = terms.pairwise_logits(record, queries)
    unary = terms.unary_logits(record)
    unary = unary - unary.mean()
    assert (pairwise @ unary).sum().item() == pytest.approx(
        0, abs=1e-9 * (1 + pairwise.norm().item())
    )
    together = (pairwise + unary).square().sum().item()
    parts = pairwise.square().sum().item() + len(pairwise) * unary.square().sum().item()
    assert together == pytest.approx(parts, rel=1e-9, abs=1e-12)


@given(records())
def test_statistics_and_baselines_stay_within_their_bounds(record):
    report = degeneracy.measure(record)
    for name in degeneracy.STATISTICS:
        low, high = report.bounds(name)
        slack = 1e-6 * max(1, high)
        for value in (getattr(report, name), *report.baselines.get(name, ())):
            assert not isfinite(value) or low - slack <= value <= high + slack, (name, value)
    assert report.verdict.endswith(".")


@given(records())
def test_information_is_the_mean_divergence_from_the_mean_row_and_bounded_by_width(record):
    report = degeneracy.measure(record)
    divergence = divergence_from_mean_bits(record)
    assert report.query_information_bits == pytest.approx(divergence.mean().item(), abs=1e-9)
    width = log2(report.keys) - report.entropy_bits
    assert report.query_information_bits <= min(width, log2(report.queries)) + 1e-9


@given(records(), st.floats(-2, 2))
def test_what_cancels_in_the_softmax_changes_nothing(record, shift):
    before = degeneracy.measure(record)
    after = degeneracy.measure(replace(record, key=record.key + shift))
    for name in ("query_information_bits", "cosine_distance", "entropy_bits", "jsd_nats"):
        assert getattr(after, name) == pytest.approx(getattr(before, name), abs=1e-9), name


@given(records(), SEEDS)
def test_the_order_of_queries_and_keys_does_not_matter(record, seed):
    generator = torch.Generator().manual_seed(seed)
    query_order = torch.randperm(len(record.query), generator=generator)
    key_order = torch.randperm(len(record.key), generator=generator)
    before = degeneracy.measure(record)
    after = degeneracy.measure(
        replace(
            record,
            query=record.query[query_order],
            key=record.key[key_order],
            unary=None if record.unary is None else record.unary[key_order],
        )
    )
    for name in ("unary_share", "query_information_bits", "cosine_distance", "effective_rank"):
        expected = pytest.approx(getattr(before, name), abs=1e-7, nan_ok=True)
        assert getattr(after, name) == expected, name


@given(records(), st.integers(2, 50))
def test_a_planted_degenerate_block_has_no_information_whatever_its_keys(record, queries):
    report = degeneracy.measure(with_queries(record, record.query[:1].repeat(queries, 1)))
    assert report.query_information_bits == pytest.approx(0, abs=1e-9)
    assert report.cosine_distance == pytest.approx(0, abs=1e-9)
    assert report.jsd_nats == pytest.approx(0, abs=1e-9)
    assert report.effective_rank == pytest.approx(1, abs=1e-6)
    assert report.verdict.startswith("Degenerate")


@given(st.integers(2, 40), SEEDS, st.floats(0, 3))
def test_a_planted_query_dependent_block_is_told_from_a_degenerate_one(cells, seed, offset):
    generator = torch.Generator().manual_seed(seed)
    vectors = torch.randn(cells, 16, generator=generator, dtype=torch.float64)
    vectors = torch.nn.functional.normalize(vectors, dim=1)
    grid = Grid.tiling((56, 64), cells, 1)
    record = AttentionRecord(
        "block", "embedded_gaussian", "coupled", 20.0, vectors, vectors, None, grid, grid
    )
    report = degeneracy.measure(record)
    assert report.verdict.startswith("Query-dependent")
    # a mean query far from 0 adds the same unary term for everybody
    common = replace(record, query=0.001 * vectors + offset + 0.1)
    report = degeneracy.measure(common)
    assert report.verdict.startswith("Degenerate")
    assert report.unary_share > 0.9


@given(st.integers(2, 30), SEEDS)
def test_a_permutation_of_keys_carries_log2_n_bits(cells, seed):
    generator = torch.Generator().manual_seed(seed)
    one_hot = 1e3 * torch.eye(cells, dtype=torch.float64)
    grid = Grid.tiling((56, 64), cells, 1)
    order = torch.randperm(cells, generator=generator)
    report = degeneracy.measure(
        AttentionRecord(
            "block", "gaussian", "coupled", 1.0, one_hot, one_hot[order], None, grid, grid
        )
    )
    assert report.query_information_bits == pytest.approx(log2(cells))
    assert report.effective_rank == pytest.approx(cells)
    assert report.entropy_bits == pytest.approx(0, abs=1e-9)
    assert report.cosine_distance == pytest.approx((1 - 1 / cells) / 2)
    assert report.unary_share == pytest.approx(0, abs=1e-9)
    assert report.verdict.startswith("Query-dependent")
