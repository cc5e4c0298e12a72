"""Sinks of each term."""

from dataclasses import replace

import pytest
import torch
from records import KEYS, QUERIES, random_record

from nonlocal_lens.analysis import degeneracy, terms
from nonlocal_lens.analysis.term_sinks import mean_row, sinks_by_term


@pytest.mark.parametrize("coupling", ["coupled", "disentangled", "pairwise", "unary"])
def test_the_sink_of_the_whole_is_the_statistic(generator, coupling):
    record = random_record(generator, coupling)
    report, sinks = degeneracy.measure(record), sinks_by_term(record)
    assert sinks["whole"].share == pytest.approx(report.sink_share, abs=1e-12)
    assert sinks["whole"].concentration == pytest.approx(report.sink_concentration, rel=1e-9)
    assert sinks["whole"].rate == report.sink_rate
    assert sinks["whole"].routed == pytest.approx(report.sink_routed)
    for term in terms.TERMS:
        row = terms.attention(record, range(QUERIES), term).double().mean(dim=0)
        torch.testing.assert_close(mean_row(record, term), row / row.sum())


def test_a_sink_is_told_in_the_term_that_has_it(generator):
    record = random_record(generator, "disentangled", scale=0.01)
    planted = torch.zeros(KEYS, dtype=torch.float64)
    planted[11] = 14.0
    sinks = sinks_by_term(replace(record, unary=planted))
    assert sinks["unary"].rate == 1
    assert sinks["unary"].share > 0.99
    assert (sinks["unary"].routed, sinks["pairwise"].routed) == (1, 0)
    assert sinks["pairwise"].rate == 0
    assert sinks["whole"].share == pytest.approx(0.5, abs=0.05), "of two softmaxes"


def test_weights_with_signs_have_no_sink(generator):
    sinks = sinks_by_term(random_record(generator, "unnormalized"))
    assert all(value != value for value in sinks["whole"])
