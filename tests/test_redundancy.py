"""Redundant heads: those whose mean row an earlier head has, too."""

from dataclasses import replace
from math import log2

import pytest
import torch
from records import KEYS, PARTS, random_record

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.analysis.redundancy import ALIKE, divergence_bits, mean_row, twin


def record(seed, **options):
    return random_record(torch.Generator().manual_seed(seed), **options)


def row(*values):
    return torch.tensor(values, dtype=torch.float64)


def test_divergences_by_hand():
    others = torch.stack([row(0.5, 0.5, 0), row(0, 0, 1), row(0.25, 0.75, 0)])
    found = divergence_bits(row(0.5, 0.5, 0), others)
    assert found[0] == pytest.approx(0, abs=1e-12)
    assert found[1] == pytest.approx(1)

    def entropy(*shares):
        return -sum(share * log2(share) for share in shares)

    expected = entropy(0.375, 0.625) - (entropy(0.5, 0.5) + entropy(0.25, 0.75)) / 2
    assert found[2] == pytest.approx(expected)


@pytest.mark.parametrize("coupling", ["coupled", "disentangled", "unnormalized"])
@pytest.mark.parametrize("reach", [None, PARTS])
def test_the_mean_row_is_the_mean_of_all_rows(coupling, reach):
    if coupling == "unnormalized" and reach is not None:
        pytest.skip("only softmaxes have a reach")
    one = record(0, coupling=coupling, reach=reach)
    rows = terms.attention(one, range(len(one.query))).abs()
    expected = (rows / rows.sum(dim=1, keepdim=True)).mean(dim=0)
    torch.testing.assert_close(mean_row(one), expected)
    assert mean_row(one).sum().item() == pytest.approx(1)


def test_a_head_is_redundant_if_an_earlier_one_has_its_mean_row():
    first, other = record(0), record(1)
    again = replace(first, head=5, query=first.query.flip(0))  # the same rows for other queries
    earlier = [(other, mean_row(other)), (first, mean_row(first))]
    found = twin(again, mean_row(again), earlier)
    assert found.head == 1
    assert found.bits == pytest.approx(0, abs=1e-12)
    assert twin(other, mean_row(other), earlier[1:]) is None
    assert twin(first, mean_row(first), []) is None


def test_nearly_uniform_heads_are_near_each_other_and_no_twins():
    flat = [
        replace(one, scale=one.scale / 1000, key=one.key - one.key.mean(dim=0))
        for one in (record(2), record(3))
    ]
    rows = [mean_row(one) for one in flat]
    uniform = torch.full((KEYS,), 1 / KEYS, dtype=torch.float64)
    apart = divergence_bits(rows[0], rows[1][None]).item()
    assert apart < 1e-4
    assert apart > ALIKE * divergence_bits(uniform, rows[0][None]).item()
    assert twin(flat[1], rows[1], [(flat[0], rows[0])]) is None


def test_heads_of_other_keys_are_not_compared():
    one = record(0)
    cells = one.key_axis.all_cells
    moved = replace(one, key_axis=Axis(one.key_grid, cells[:-1], ("class",)))
    assert len(moved.key) == len(one.key)
    assert twin(moved, mean_row(moved), [(one, mean_row(one))]) is None
