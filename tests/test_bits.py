"""How much the query matters, in bits and in one sentence."""

import re

import pytest
import torch
from records import KEYS, QUERIES, random_record

from nonlocal_lens.analysis import degeneracy, terms
from nonlocal_lens.app.components.bits_bar import Bits, bits_bars, bits_of
from nonlocal_lens.app.components.sentence import cell_classes, looks_of, sentence


@pytest.mark.parametrize("coupling", ["coupled", "disentangled"])
def test_the_two_parts_are_divergences_and_their_sum_is_the_selectivity(generator, coupling):
    record = random_record(generator, coupling)
    bits = bits_of(degeneracy.measure(record))
    rows = terms.attention(record, range(QUERIES))
    rows = rows / rows.sum(dim=1, keepdim=True)
    mean = rows.mean(dim=0)
    uniform = torch.full_like(mean, 1 / KEYS)

    def divergence(p, q):
        return torch.special.xlogy(p, p / q).sum(dim=-1) / torch.log(torch.tensor(2.0))

    assert bits.unary == pytest.approx(divergence(mean, uniform).item(), rel=1e-5)
    assert bits.query == pytest.approx(divergence(rows, mean).mean().item(), rel=1e-5)
    assert bits.selectivity == pytest.approx(divergence(rows, uniform).mean().item(), rel=1e-5)


def test_bars_stand_on_one_scale_and_say_their_share():
    html = bits_bars({"a<b": Bits(0.1, 0.3, 5.0), "b": Bits(0.05, 0.05, 5.0)})
    widths = list(map(float, re.findall(r"width:([\d.]+)%", html)))
    assert widths == [20, 60, 10, 10], "of 0.5 bits"
    assert "0.40 bits, 75% depends on the query" in html
    assert "0.10 bits, 50% depends on the query" in html
    assert "a<b" not in html
    nan = float("nan")
    assert "no softmax" in bits_bars({"c": Bits(nan, nan, 5.0)})
    assert "the same everywhere" in bits_bars({"d": Bits(0.0, 0.0, 5.0)})


def test_what_all_of_a_class_looks_at_is_the_mean_of_its_rows(generator):
    record = random_record(generator)
    output = torch.zeros(1, 3, 40, 56)
    output[:, 0], output[:, 1, :, 28:] = 1, 2
    queries = [3, 5, 11]
    looks = looks_of(record, queries, output, ("a", "b", "c"))
    on_it = cell_classes(output, record.key_axis) == ("a", "b", "c").index(looks.at)
    shares = terms.attention(record, queries)[:, on_it].sum(dim=1)
    assert looks.share == pytest.approx(shares.mean().item(), rel=1e-5)
    assert looks.share != pytest.approx(shares[0].item(), rel=1e-3)


def test_the_sentence_names_the_class_that_is_looked_at_more_than_its_share(generator):
    record = random_record(generator)
    output = torch.zeros(1, 3, 40, 56)
    output[:, 0], output[:, 1, :, 28:] = 1, 2  # left half a, right half b
    row = terms.attention(record, [3])[0]
    right = torch.arange(KEYS) % record.key_grid.width >= record.key_grid.width / 2
    looks = looks_of(record, [3], output, ("a", "b", "c"))
    mass = row[right].sum().item()
    chance = right.double().mean().item()
    expected = ("b", mass, chance) if mass > chance else ("a", 1 - mass, 1 - chance)
    assert looks.at == expected[0]
    assert looks.share == pytest.approx(expected[1], abs=0.05)
    said = sentence(looks, 1, "x 1, y 2", Bits(0.1, 0.3, 5.0), unary_only=False)
    assert "②" in said
    assert "<b>75%</b> of what it prefers depends on where you point" in said
    assert "No query takes part" in sentence(None, None, "", Bits(0.1, 0.0, 5.0), unary_only=True)
