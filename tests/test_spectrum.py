from math import isnan

import pytest
import torch

from nonlocal_lens.analysis import spectrum
from nonlocal_lens.analysis.spectrum import effective_rank, sampled_ranks


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


def test_all_rows_are_taken_where_they_are_few_and_some_where_they_are_many(generator, monkeypatch):
    rows = torch.rand(37, 41, generator=generator)
    (found,) = sampled_ranks(rows[None], generator=generator)
    assert found.rows == 37
    assert found.rank == pytest.approx(effective_rank(rows))
    monkeypatch.setattr(spectrum, "RANKED", 11)
    (fewer,) = sampled_ranks(rows[None], generator=generator)
    assert fewer.rows == 11
    assert 1 < fewer.rank < 11


def test_shuffling_raises_the_rank_of_equal_rows_and_leaves_them_alone(generator):
    rows = torch.rand(1, 31, generator=generator).repeat(29, 1)
    before = rows.clone()
    (found,) = sampled_ranks(rows[None], generator=generator)
    assert found.rank == pytest.approx(1)
    assert found.shuffled > 5
    assert torch.equal(rows, before)
