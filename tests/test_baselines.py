from dataclasses import replace
from math import isnan, log2

import numpy as np
import pytest
import torch
from records import KEYS, QUERIES, random_record
from test_degeneracy import brute_force, fake_attention

from nonlocal_lens.analysis import degeneracy, terms
from nonlocal_lens.analysis.distance import Distances


@pytest.fixture
def record(generator):
    """Return a record with rows sharp enough that shuffling matters."""
    return random_record(generator, scale=0.5)


def measured_with(record, monkeypatch, rows):
    fake_attention(monkeypatch, rows)
    return degeneracy.measure(record)


def test_uniform_and_mean_row_baselines_are_what_such_attention_measures(record, monkeypatch):
    rows = terms.attention(record, range(QUERIES))
    baselines = degeneracy.measure(record).baselines
    uniform = measured_with(record, monkeypatch, torch.full_like(rows, 1 / KEYS))
    degenerate = measured_with(record, monkeypatch, rows.mean(dim=0).expand_as(rows))
    for name in baselines.keys() - {"unary_share"}:  # of logits, which these rows do not have
        found = baselines[name]
        assert found.uniform == pytest.approx(getattr(uniform, name), abs=1e-6, nan_ok=True), name
        assert found.mean_row == pytest.approx(getattr(degenerate, name), abs=1e-6, nan_ok=True), (
            name
        )


def test_baselines_of_the_unary_share_are_those_of_such_logits(record):
    baselines = degeneracy.measure(record).baselines["unary_share"]
    assert isnan(baselines.uniform)
    assert baselines.mean_row == 1
    logits = record.scale * record.query @ record.key.T
    share = []
    for seed in range(100):
        shuffled = np.random.default_rng(seed).permuted(logits.numpy(), axis=1)
        shuffled = shuffled - shuffled.mean(axis=1, keepdims=True)
        share.append(QUERIES * (shuffled.mean(axis=0) ** 2).sum() / (shuffled**2).sum())
    assert baselines.shuffled == 1 / QUERIES
    assert baselines.shuffled == pytest.approx(np.mean(share), rel=0.1)


def test_shuffled_baselines_are_means_over_literal_shuffles(record, monkeypatch):
    rows = terms.attention(record, range(QUERIES))
    baselines = degeneracy.measure(record).baselines
    found = {name: [] for name in baselines}
    for seed in range(30):
        shuffled = np.random.default_rng(seed).permuted(rows.numpy(), axis=1)
        fake_attention(monkeypatch, torch.from_numpy(shuffled))
        for name, value in brute_force(record).items():
            if name in found:
                found[name].append(value)
    assert len([name for name in found if found[name]]) > 10
    for name in found.keys() - {"unary_share"}:
        if not found[name]:
            continue
        mean = np.mean(found[name])
        noise = max(0.03 * mean, 3 * np.std(found[name]))  # of a single shuffle
        assert baselines[name].shuffled == pytest.approx(mean, abs=noise), name
    assert baselines["entropy_bits"].shuffled == pytest.approx(np.mean(found["entropy_bits"]))


def test_shuffled_one_hot_rows_leave_random_collisions(generator):
    record = random_record(generator)
    one_hot = 1e3 * torch.eye(QUERIES, dtype=torch.float64)
    found = degeneracy.measure(
        replace(record, query=one_hot, key=one_hot, key_grid=record.query_grid)
    ).baselines
    # a key is hit k times with the odds of a binomial(35, 1/35)
    hits = np.random.default_rng(0).binomial(QUERIES, 1 / QUERIES, 10**5) / QUERIES
    entropy = -QUERIES * np.mean(hits * np.log2(np.maximum(hits, 1e-9)))
    assert found["query_information_bits"].shuffled == pytest.approx(entropy, rel=0.02)
    assert found["cosine_distance"].shuffled == pytest.approx((1 - 1 / QUERIES) ** 2 / 2)
    assert found["query_information_bits"].uniform == 0
    assert found["entropy_bits"].uniform == log2(QUERIES)


def test_distance_of_the_mean_row_counts_every_query(record):
    rows = terms.attention(record, range(QUERIES))
    distances = Distances.between(record.query_axis, record.key_axis, torch.float64)
    apart = torch.cat([distances.from_row(row) for row in range(record.query_grid.height)])
    baselines = degeneracy.measure(record).baselines["attention_distance"]
    assert baselines.mean_row == pytest.approx((apart @ rows.mean(dim=0)).mean().item())
    assert baselines.uniform == baselines.shuffled == pytest.approx(apart.mean().item())
