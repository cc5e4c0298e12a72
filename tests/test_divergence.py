from dataclasses import replace
from math import log

import pytest
import torch
from records import random_record

from nonlocal_lens.analysis import divergence, streaming, terms
from nonlocal_lens.analysis.divergence import jensen_shannon_nats, pairs_of
from nonlocal_lens.analysis.grid import Grid
from nonlocal_lens.analysis.streaming import sum_rows

pytestmark = pytest.mark.slow


def record_of(generator, query, key):
    record = random_record(generator)
    return replace(
        record,
        scale=1.0,
        query=query,
        key=key,
        query_grid=Grid.tiling((40, 56), 1, len(query)),  # rows are worked off one by one
        key_grid=Grid.tiling((40, 56), len(key), 1),
    )


def divergence_of(record, generator, *, shuffles=True):
    sums = sum_rows([record], generator=generator, shuffles=shuffles)
    (found,) = jensen_shannon_nats(sums, generator=generator, shuffles=shuffles)
    return found


def test_two_queries_with_nothing_in_common_are_ln_2_apart_and_half_the_pairs_are_zeros(generator):
    one_hot = 1e3 * torch.eye(2, dtype=torch.float64)
    found, _ = divergence_of(record_of(generator, one_hot, one_hot), generator)
    assert found.mean == pytest.approx(log(2) / 2)
    assert found.standard_error == 0


def test_a_single_query_differs_from_nobody(generator):
    record = record_of(generator, torch.ones(1, 3), torch.rand(5, 3, generator=generator))
    assert divergence_of(record, generator) == ((0, 0), (0, 0))


def random_block(generator, queries):
    query = torch.randn(queries, 13, generator=generator, dtype=torch.float64)
    key = torch.randn(31, 13, generator=generator, dtype=torch.float64)
    return record_of(generator, query, key)


def test_a_sample_of_pairs_agrees_with_all_pairs_within_its_error(generator, monkeypatch):
    record = random_block(generator, 89)
    monkeypatch.setattr(divergence, "CHUNK_VALUES", 10 * len(record.key))
    sample, shuffled_sample = divergence_of(record, generator)
    monkeypatch.setattr(divergence, "PAIRS", 89 * 44)
    exact, shuffled_exact = divergence_of(record, generator)
    assert sample.standard_error > 0 == exact.standard_error
    assert abs(sample.mean - exact.mean) < 3 * sample.standard_error
    assert abs(shuffled_sample.mean - shuffled_exact.mean) < 4 * shuffled_sample.standard_error
    rows = terms.attention(record, range(89))
    middle = (rows[:, None] + rows[None]) / 2
    both_ways = (rows[:, None] * (rows[:, None] / middle).log()).sum(dim=2)
    assert exact.mean == pytest.approx(both_ways.mean().item())


@pytest.mark.parametrize("pairs", [23, 4 * 23])
def test_the_error_is_the_spread_over_samples(generator, monkeypatch, pairs):
    monkeypatch.setattr(streaming, "SAMPLE", 23)
    monkeypatch.setattr(divergence, "PAIRS", pairs)
    record = random_block(generator, 1009)
    estimates = [divergence_of(record, generator, shuffles=False)[0] for _ in range(300)]
    spread = torch.tensor([one.mean for one in estimates]).std().item()
    error = torch.tensor([one.standard_error for one in estimates]).square().mean().sqrt().item()
    assert error == pytest.approx(spread, rel=0.15)


@pytest.mark.parametrize("rows", [37, 89, 256, 509, 512, 1031])
def test_pairs_are_of_different_rows_and_use_all_alike(generator, rows):
    first, second = pairs_of(rows, generator=generator)
    pairs = {frozenset(pair) for pair in zip(first.tolist(), second.tolist(), strict=True)}
    assert len(pairs) == len(first) == divergence.PAIRS
    assert all(len(pair) == 2 for pair in pairs)
    uses = torch.cat((first, second)).bincount(minlength=rows)
    assert uses.max() - uses.min() <= (2 if rows < 2 * divergence.PAIRS else 1)
    assert (first != pairs_of(rows, generator=generator)[0]).any()


def test_all_pairs_of_few_rows_are_taken(generator):
    first, second = pairs_of(5, generator=generator)
    assert len(set(zip(first.tolist(), second.tolist(), strict=True))) == 10
    assert (first < second).all()
