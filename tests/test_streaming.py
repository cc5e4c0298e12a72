from dataclasses import replace

import pytest
import torch
from records import KEYS, QUERIES, random_record

from nonlocal_lens.analysis import streaming, terms
from nonlocal_lens.analysis.distance import Distances
from nonlocal_lens.analysis.grid import Grid
from nonlocal_lens.analysis.streaming import entropy_nats, query_chunks, shares, sum_rows


@pytest.mark.parametrize(("values", "sizes"), [(1, [1] * 35), (11 * KEYS + 5, [11, 11, 11, 2])])
def test_chunks_list_every_query_once_in_order(generator, monkeypatch, values, sizes):
    monkeypatch.setattr(streaming, "CHUNK_VALUES", values)
    chunks = list(query_chunks(random_record(generator)))
    assert [len(chunk) for chunk in chunks] == sizes
    assert torch.cat(chunks).tolist() == list(range(QUERIES))


def test_shares_drop_signs_and_scale():
    rows = torch.tensor([[1.0, -3.0, 0.0], [0.0, 0.0, 0.0]])
    assert shares(rows)[0].tolist() == [0.25, 0.75, 0.0]
    assert shares(rows)[1].isnan().all()


def test_entropy_of_a_fair_choice_among_four_is_log_4():
    p = torch.tensor([[0.25, 0, 0.25, 0.25, 0.25], [0, 0, 1, 0, 0]])
    assert entropy_nats(p).tolist() == pytest.approx([torch.tensor(4.0).log().item(), 0])


def test_sums_are_means_over_all_rows(generator):
    record = random_record(generator, "disentangled")
    rows = terms.attention(record, range(QUERIES))
    distances = Distances.between(record.query_axis, record.key_axis, torch.float64)
    apart = torch.cat([distances.from_row(row) for row in range(record.query_grid.height)])
    sums = sum_rows([record], generator=generator).of(0)
    assert not sums.signed
    torch.testing.assert_close(sums.mean_share, rows.mean(dim=0) / 2)
    torch.testing.assert_close(sums.entropy_nats, entropy_nats(rows / 2))
    torch.testing.assert_close(sums.distance, (rows * apart).sum(dim=1) / 2)
    torch.testing.assert_close(sums.sample_rows, rows[sums.sample])
    torch.testing.assert_close(sums.mean_unit, torch.nn.functional.normalize(rows).mean(dim=0))
    torch.testing.assert_close(sums.unit_sum, 2 / rows.norm(dim=1))


def test_the_shuffled_mean_has_the_spread_of_literal_shuffles(generator):
    record = random_record(generator)
    rows = terms.attention(record, range(QUERIES))
    literal = torch.stack(
        [row[torch.randperm(KEYS, generator=generator)] for row in rows.repeat(50, 1)]
    )
    literal = literal.unflatten(0, (50, QUERIES)).mean(dim=1)
    drawn = sum_rows([record], generator=generator).of(0).shuffled_mean_share
    assert drawn.mean().item() == pytest.approx(1 / KEYS, rel=0.02)
    assert drawn.std().item() == pytest.approx(literal.std().item(), rel=0.1)


def test_frames_share_out_the_attention(generator):
    record = random_record(generator)
    grid = Grid.tiling((40, 56), 5, 7, frames=2)
    key = torch.zeros(70, 13, dtype=torch.float64)
    key[35:, 0] = 3.0
    query = torch.zeros(70, 13, dtype=torch.float64)
    query[35:, 0] = 1.0
    clip = replace(record, query=query, key=key, query_grid=grid, key_grid=grid, scale=1.0)
    share = sum_rows([clip], generator=generator).of(0).frame_share
    odds = torch.tensor(3.0).exp().item()
    expected = [[0.25, 0.25], [0.5 / (1 + odds), 0.5 * odds / (1 + odds)]]
    torch.testing.assert_close(share, torch.tensor(expected, dtype=torch.float64))


def test_the_sample_is_of_random_queries_none_of_them_twice(generator, monkeypatch):
    monkeypatch.setattr(streaming, "SAMPLE", 11)
    monkeypatch.setattr(streaming, "CHUNK_VALUES", 4 * KEYS)
    record = random_record(generator)
    sums = sum_rows([record], generator=generator).of(0)
    assert len(set(sums.sample.tolist())) == 11
    assert sums.sample.tolist() == sorted(sums.sample.tolist()) != list(range(11))
    torch.testing.assert_close(sums.sample_rows, terms.attention(record, sums.sample))
