from dataclasses import replace
from math import log2

import pytest
import torch
from records import KEYS, QUERIES, random_record
from test_degeneracy import fake_attention

from nonlocal_lens.analysis import degeneracy, query_map, streaming, terms
from nonlocal_lens.analysis.query_map import divergence_from_mean_bits, most_different


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


def jensen_shannon(rows):
    """Return the divergence of every pair of rows, by its definition."""
    p, q = rows[:, None], rows[None]
    middle = ((p + q) / 2).log()
    return (torch.special.xlogy(p, p) + torch.special.xlogy(q, q)).sum(-1) / 2 - (
        (p + q) / 2 * middle
    ).sum(-1)


@pytest.mark.parametrize("coupling", ["coupled", "disentangled"])
def test_further_queries_are_those_of_a_search_through_all(generator, coupling):
    record = random_record(generator, coupling, scale=2.0)
    rows = terms.attention(record, range(QUERIES))
    divergence = jensen_shannon(rows / rows.sum(dim=1, keepdim=True))
    chosen = list(most_different(record))
    while len(chosen) < 6:
        nearest = divergence[:, chosen].min(dim=1).values
        nearest[chosen] = -1
        chosen.append(int(nearest.argmax()))
    assert most_different(record, 6) == tuple(chosen)
    assert most_different(record, 1) == tuple(chosen[:1])


def test_all_queries_can_be_chosen_once_even_if_they_do_not_differ(generator):
    record = random_record(generator, scale=1e-9)
    assert sorted(most_different(record, QUERIES)) == list(range(QUERIES))
    with pytest.raises(ValueError, match="at most 35 queries can be chosen, got 36"):
        most_different(record, QUERIES + 1)


def test_of_many_queries_an_even_choice_is_compared_whatever_memory_there_is(
    generator, monkeypatch
):
    record = random_record(generator)
    monkeypatch.setattr(query_map, "MOST_CANDIDATES", 5)
    pair = most_different(record)
    assert set(pair) <= {3, 10, 17, 24, 31}  # the middles of five equal parts of 35
    monkeypatch.setattr(query_map, "CHUNK_VALUES", 1)
    assert most_different(record) == pair


def test_queries_that_attend_to_nothing_are_never_chosen(generator, monkeypatch):
    rows = torch.eye(QUERIES, KEYS)
    rows[:, KEYS - 1] += 1
    rows[[0, 5, 30]] = 0
    fake_attention(monkeypatch, rows)
    record = random_record(generator)
    assert sorted(most_different(record, QUERIES - 3)) == sorted(set(range(QUERIES)) - {0, 5, 30})
    with pytest.raises(ValueError, match="must have 33 queries that attend to anything, got 32"):
        most_different(record, QUERIES - 2)
    rows[:] = 0
    with pytest.raises(ValueError, match="must have a query that attends to anything, got 0"):
        most_different(record, 1)
