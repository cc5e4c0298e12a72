from dataclasses import replace
from math import log2

import pytest
import torch
from records import KEYS, QUERIES, random_record
from test_degeneracy import fake_attention

from analysis import degeneracy, streaming, terms
from analysis.query_map import divergence_from_mean_bits, most_different


@pytest.mark.parametrize("coupling", ["coupled", "disentangled"])
def test_the_mean_over_queries_is_the_query_information(generator, monkeypatch, coupling):
    record = random_record(generator, coupling)
    monkeypatch.setattr(streaming, "CHUNK_VALUES", 6 * KEYS)
    divergence = divergence_from_mean_bits(record)
    rows = terms.attention(record, range(QUERIES))
    rows = rows / rows.sum(dim=1, keepdim=True)
    torch.testing.assert_close(divergence, (rows * (rows / rows.mean(dim=0)).log2()).sum(dim=1))
    information = degeneracy.measure(record).query_information_bits
    assert divergence.mean().item() == pytest.approx(information)


def test_by_hand_one_query_of_two_keys_looks_elsewhere(generator, monkeypatch):
    rows = torch.tensor([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    fake_attention(monkeypatch, rows)
    record = random_record(generator)
    record = replace(
        record,
        query=record.query[:5],
        key=record.key[:2],
        query_grid=record.query_grid.tiling((40, 56), 5, 1),
        key_grid=record.key_grid.tiling((40, 56), 2, 1),
    )
    divergence = divergence_from_mean_bits(record).tolist()
    assert divergence[:4] == pytest.approx([log2(4 / 3)] * 3 + [2])
    assert divergence[4] != divergence[4], "a query that attends to nothing has no place to look"
    assert set(most_different(record)) == {0, 3}
    rows[1:] = 0
    with pytest.raises(ValueError, match=r"'head\.block' must have two queries .* got 1"):
        most_different(record)


@pytest.mark.parametrize("seed", range(5))
def test_two_planted_opposites_are_found_among_the_rest(seed):
    generator = torch.Generator().manual_seed(seed)
    record = random_record(generator, scale=0.05)
    query = record.query.clone()
    direction = torch.randn(13, generator=generator, dtype=torch.float64)
    query[11], query[29] = 100 * direction, -100 * direction
    assert set(most_different(replace(record, query=query))) == {11, 29}


@pytest.mark.parametrize("seed", range(5))
def test_no_query_is_farther_from_either_of_the_two(seed):
    record = random_record(torch.Generator().manual_seed(seed))
    first, second = most_different(record)
    rows = terms.attention(record, range(QUERIES))

    def divergence(p, q):
        middle = (p + q) / 2
        return ((p * (p / middle).log()).sum(-1) + (q * (q / middle).log()).sum(-1)) / 2

    found = divergence(rows[first], rows[second])
    assert (divergence(rows[second], rows) <= found + 1e-12).all()
    assert first != second
