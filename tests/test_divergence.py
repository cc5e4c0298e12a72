from dataclasses import replace
from math import log

import pytest
import torch
from records import random_record

from analysis import divergence, terms
from analysis.divergence import jensen_shannon_nats, query_pairs
from analysis.grid import Grid
from analysis.streaming import entropy_nats, shares


def record_of(generator, query, key):
    record = random_record(generator)
    return replace(
        record,
        scale=1.0,
        query=query,
        key=key,
        query_grid=Grid.tiling((40, 56), len(query), 1),
        key_grid=Grid.tiling((40, 56), len(key), 1),
    )


def divergence_of(record, generator):
    entropy = entropy_nats(shares(terms.attention(record, range(len(record.query)))))
    return jensen_shannon_nats(record, entropy, generator=generator)


def test_two_queries_with_nothing_in_common_are_ln_2_apart_and_half_the_pairs_are_zeros(generator):
    one_hot = 1e3 * torch.eye(2, dtype=torch.float64)
    found, _ = divergence_of(record_of(generator, one_hot, one_hot), generator)
    assert found.mean == pytest.approx(log(2) / 2)
    assert found.standard_error == 0


def test_a_single_query_differs_from_nobody(generator):
    record = record_of(generator, torch.ones(1, 3), torch.rand(5, 3, generator=generator))
    assert divergence_of(record, generator) == ((0, 0), (0, 0))


def test_a_sample_of_pairs_agrees_with_all_pairs_within_its_error(generator, monkeypatch):
    query = torch.randn(89, 13, generator=generator, dtype=torch.float64)
    key = torch.randn(31, 13, generator=generator, dtype=torch.float64)
    record = record_of(generator, query, key)
    monkeypatch.setattr(divergence, "CHUNK_VALUES", 10 * len(key))
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


def test_random_pairs_are_of_different_queries_and_reach_all(generator, monkeypatch):
    monkeypatch.setattr(divergence, "PAIRS", 500)
    first, second = query_pairs(37, generator=generator)
    assert len(first) == len(second) == 500
    assert (first != second).all()
    assert set(first.tolist()) == set(second.tolist()) == set(range(37))
    first, second = query_pairs(5, generator=generator)
    assert len(set(zip(first.tolist(), second.tolist(), strict=True))) == 10
