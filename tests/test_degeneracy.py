from dataclasses import fields, replace
from math import log2

import pytest
import torch
from records import KEYS, QUERIES, random_record

from analysis import degeneracy, terms
from analysis.record import ROW_SUM


def brute_force(record):
    """Return the statistics straight from their definitions, over all pairs."""
    rows = terms.attention(record, range(QUERIES)).double() / ROW_SUM[record.coupling]
    entropy = -(rows * rows.log2()).sum(dim=1)
    mean = rows.mean(dim=0)
    joint = rows / len(rows)
    cosine = torch.nn.functional.cosine_similarity(rows[:, None], rows[None], dim=2)
    return {
        "query_information_bits": (joint * (rows / mean).log2()).sum().item(),
        "cosine_distance": ((1 - cosine) / 2).mean().item(),
        "entropy_bits": entropy.mean().item(),
    }


@pytest.mark.parametrize("coupling", ROW_SUM)
@pytest.mark.parametrize("chunk_values", [1, 5 * KEYS, 10**9])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_streaming_equals_brute_force(
    generator, monkeypatch, coupling, chunk_values, dtype, tolerance
):
    monkeypatch.setattr(degeneracy, "CHUNK_VALUES", chunk_values)
    record = random_record(generator, coupling, dtype)
    report = degeneracy.measure(record)
    for name, expected in brute_force(record).items():
        assert getattr(report, name) == pytest.approx(expected, abs=tolerance), name


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5)])
def test_unary_share_equals_the_one_of_the_materialized_logits(generator, dtype, tolerance):
    record = random_record(generator, dtype=dtype)
    logits = (record.scale * record.query @ record.key.T).double()
    centered = logits - logits.mean(
        dim=1, keepdim=True
    )  # grand and row terms cancel in the softmax
    between_keys = QUERIES * centered.mean(dim=0).square().sum()
    expected = (between_keys / centered.square().sum()).item()
    assert 0.1 < expected < 0.9
    assert degeneracy.unary_share(record) == pytest.approx(expected, abs=tolerance)


def test_a_disentangled_block_is_measured_by_its_learned_unary_logits(generator):
    record = random_record(generator, "disentangled")
    pairwise = terms.pairwise_logits(record, range(QUERIES)).square().sum().item()
    unary = QUERIES * (record.unary - record.unary.mean()).square().sum().item()
    assert degeneracy.unary_share(record) == pytest.approx(unary / (pairwise + unary))


def test_equal_queries_are_fully_degenerate(generator):
    record = random_record(generator)
    report = degeneracy.measure(replace(record, query=record.query[:1].repeat(QUERIES, 1)))
    assert report.unary_share == pytest.approx(1)
    assert report.query_information_bits == pytest.approx(0, abs=1e-12)
    assert report.cosine_distance == pytest.approx(0, abs=1e-12)


def test_a_permutation_matrix_carries_log2_n_bits(generator):
    record = random_record(generator)
    one_hot = 1e3 * torch.eye(QUERIES, dtype=torch.float64)
    report = degeneracy.measure(
        replace(
            record, query=one_hot, key=one_hot[torch.randperm(QUERIES)], key_grid=record.query_grid
        )
    )
    assert report.query_information_bits == pytest.approx(log2(QUERIES))
    assert report.entropy_bits == pytest.approx(0)
    assert report.cosine_distance == pytest.approx((1 - 1 / QUERIES) / 2)
    assert report.unary_share == pytest.approx(0)


def test_uniform_attention_has_no_share_and_full_entropy(generator):
    record = random_record(generator)
    report = degeneracy.measure(replace(record, key=torch.zeros_like(record.key)))
    assert report.unary_share != report.unary_share, "0 / 0 is NaN, not a number that could mislead"
    assert report.entropy_bits == pytest.approx(log2(KEYS))


def test_every_statistic_has_a_label_a_unit_and_bounds(generator):
    report = degeneracy.measure(random_record(generator))
    assert {field.name for field in fields(report)} == {
        "block",
        "queries",
        "keys",
        *degeneracy.STATISTICS,
    }
    for name in degeneracy.STATISTICS:
        low, high = report.bounds(name)
        assert low <= getattr(report, name) <= high
    with pytest.raises(ValueError, match="available: unary_share"):
        report.bounds("queries")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_record_with_nan_or_infinity_is_refused_by_the_name_of_its_block(generator, bad):
    record = random_record(generator)
    record.key[2, 3] = bad
    with pytest.raises(ValueError, match=r"head\.block.*key"):
        degeneracy.measure(record)
