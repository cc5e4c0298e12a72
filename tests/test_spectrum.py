from math import isnan

import pytest
import torch
from records import KEYS, QUERIES, random_record

from analysis import spectrum, terms
from analysis.spectrum import effective_rank, sample_effective_rank


@pytest.mark.parametrize("rank", [1, 2, 5])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_orthogonal_rows_of_one_length_count_one_each(generator, rank, dtype):
    directions = torch.linalg.qr(torch.randn(1031, rank, generator=generator, dtype=dtype)).Q.T
    rows = directions.repeat(7, 1)
    assert effective_rank(rows) == pytest.approx(rank, rel=1e-3)
    assert effective_rank(rows.T) == pytest.approx(rank, rel=1e-3)


def test_by_hand_two_values_of_three_to_one():
    # shares 3/4 and 1/4: exp(3/4 ln 4/3 + 1/4 ln 4)
    assert effective_rank(torch.tensor([[3.0, 0, 0], [0, 0, -1.0]])) == pytest.approx(1.75477, 1e-5)
    assert isnan(effective_rank(torch.zeros(3, 2)))


def test_all_rows_are_taken_where_they_are_few_and_a_sample_where_they_are_many(
    generator, monkeypatch
):
    record = random_record(generator)
    rows = terms.attention(record, range(QUERIES))
    found = sample_effective_rank(record, generator=generator)
    assert found.rows == QUERIES
    assert found.rank == pytest.approx(effective_rank(rows))
    monkeypatch.setattr(spectrum, "SAMPLE", 11)
    fewer = sample_effective_rank(record, generator=generator)
    assert fewer.rows == 11
    assert 1 < fewer.rank < 11


def test_shuffling_raises_the_rank_of_equal_rows_and_leaves_the_record_alone(
    generator, monkeypatch
):
    row = torch.rand(1, KEYS, generator=generator)
    monkeypatch.setattr(terms, "attention", lambda _record, queries: row.expand(len(queries), -1))
    found = sample_effective_rank(random_record(generator), generator=generator)
    assert found.rank == pytest.approx(1)
    assert found.shuffled > 5
    assert (row[0].sort().values != row[0]).any()
