"""Of what kind a sink is: by the length of its value, and by the stable rank of the update."""

from dataclasses import replace
from math import isnan

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from records import random_record
from torch import Tensor

from nonlocal_lens.analysis import degeneracy, terms
from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.analysis.parts import part_records
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.some_keys import without_keys
from nonlocal_lens.analysis.spectrum import stable_rank
from nonlocal_lens.analysis.statistics.sinks import sink_kind
from nonlocal_lens.models.blocks import Reach


def of_rows(rows: Tensor, value: Tensor | None = None) -> AttentionRecord:
    """Return a record whose rows of attention are these."""
    queries, keys = rows.shape
    names = [tuple(f"token {number}" for number in range(count)) for count in (queries, keys)]
    axes = {"query_axis": Axis(None, names=names[0]), "key_axis": Axis(None, names=names[1])}
    logits, one_hot = rows.double().log(), torch.eye(keys, dtype=torch.float64)
    return AttentionRecord(
        "b", "gaussian", "coupled", 1.0, logits, one_hot, None, None, None, value=value, **axes
    )


def with_a_sink(tokens: int, at: int, share: float, generator: torch.Generator) -> Tensor:
    """Return rows that give one key a share, and the rest to others by lot."""
    rows = torch.rand(tokens, tokens, generator=generator, dtype=torch.float64) + 1e-3
    rows[:, at] = 0
    rows *= (1 - share) / rows.sum(dim=1, keepdim=True)
    rows[:, at] = share
    return rows


def directions(tokens: int, channels: int, generator: torch.Generator) -> Tensor:
    """Return a vector of length 1 for every token, by lot."""
    drawn = torch.randn(tokens, channels, generator=generator, dtype=torch.float64)
    return torch.nn.functional.normalize(drawn, dim=1)


UNHURRIED = settings(deadline=None, max_examples=25)

planted = given(
    seed=st.integers(0, 2**20),
    tokens=st.sampled_from([7, 13, 31]),
    channels=st.sampled_from([5, 11, 37]),
    share=st.floats(0.8, 0.99),
    length=st.floats(0.7, 9.0),
)


@UNHURRIED
@planted
def test_planted_sinks_of_both_kinds_are_told_without_an_error(
    seed, tokens, channels, share, length
):
    generator = torch.Generator().manual_seed(seed)
    at = seed % tokens
    rows = with_a_sink(tokens, at, share, generator)
    value = directions(tokens, channels, generator)
    value[at] *= length
    report = degeneracy.measure(of_rows(rows, value), shuffles=False)
    assert (report.sink, report.sink_kind) == (at, "broadcast")
    assert "adds the same to every query" in report.verdict
    value[at] *= 0.1 / length
    report = degeneracy.measure(of_rows(rows, value), shuffles=False)
    assert (report.sink, report.sink_kind) == (at, "no-operation")
    assert "next to nothing to add" in report.verdict


@UNHURRIED
@given(seed=st.integers(0, 2**20), tokens=st.sampled_from([13, 31]), share=st.floats(0.51, 0.55))
def test_a_sink_beside_which_every_query_is_given_something_of_its_own_is_no_broadcast(
    seed, tokens, share
):
    generator = torch.Generator().manual_seed(seed)
    rows = torch.full((tokens, tokens + 1), 1e-6, dtype=torch.float64)
    rows[:, 0] = share
    rows[:, 1:].fill_diagonal_(1 - share)
    rows /= rows.sum(dim=1, keepdim=True)
    turn = torch.linalg.qr(torch.randn(tokens + 1, tokens + 1, generator=generator).double()).Q
    value = turn.clone()
    value[0] *= 0.6  # over their mean it is still more than one half
    report = degeneracy.measure(of_rows(rows, value), shuffles=False)
    assert (report.sink, report.sink_routed) == (0, 1)
    assert report.sink_value_ratio > 0.5
    assert report.update_stable_rank > 1.5
    assert report.sink_kind == ""


def test_of_lengths_alone_a_broadcast_is_not_known_and_a_no_operation_is(generator):
    record = of_rows(with_a_sink(13, 2, 0.95, generator))
    lengths = torch.ones(13, dtype=torch.float64)
    report = degeneracy.measure(replace(record, value_norm=lengths))
    assert isnan(report.update_stable_rank)
    assert report.sink_kind == ""
    lengths[2] = 0.01
    assert degeneracy.measure(replace(record, value_norm=lengths)).sink_kind == "no-operation"


@pytest.mark.parametrize(
    ("numbers", "kind"),
    [
        ((0.9, 0.2, 9.0), "no-operation"),
        ((0.9, 0.5, 1.5), "broadcast"),
        ((0.9, 0.5, 1.51), ""),
        ((0.9, 0.49, 1.0), ""),
        ((0.89, 0.1, 1.0), ""),
        ((0.89, 3.0, 1.0), ""),
        ((float("nan"), 3.0, 1.0), ""),
    ],
)
def test_thresholds_are_those_of_the_paper(numbers, kind):
    assert sink_kind(*numbers) == kind


@pytest.mark.parametrize("coupling", ["coupled", "disentangled", "pairwise", "unnormalized"])
def test_the_stable_rank_of_the_update_is_that_of_the_values_weighted_by_all_rows(
    generator, coupling
):
    record = random_record(generator, coupling)
    value = torch.randn(len(record.key), 11, generator=generator, dtype=torch.float64)
    report = degeneracy.measure(replace(record, value=value), shuffles=False)
    update = terms.attention(record, range(len(record.query))).double() @ value
    singular = torch.linalg.svdvals(update).square()
    assert report.update_stable_rank == pytest.approx((singular.sum() / singular[0]).item(), 1e-6)
    low, high = report.bounds("update_stable_rank")
    assert low <= report.update_stable_rank <= high
    order = torch.randperm(11, generator=generator)
    turned = degeneracy.measure(replace(record, value=3 * value[:, order]), shuffles=False)
    assert turned.update_stable_rank == pytest.approx(report.update_stable_rank)


def test_queries_that_are_all_given_one_vector_have_an_update_of_rank_one(generator):
    record = random_record(generator)
    value = torch.ones(len(record.key), 5, dtype=torch.float64)
    report = degeneracy.measure(replace(record, value=value), shuffles=False)
    assert report.update_stable_rank == pytest.approx(1, abs=1e-12)
    assert isnan(degeneracy.measure(replace(record, value=0 * value)).update_stable_rank)
    assert isnan(degeneracy.measure(record).update_stable_rank)


@pytest.mark.parametrize(("shape"), [(7, 13), (13, 7)])
def test_a_stable_rank_is_worked_out_from_either_side(generator, shape):
    matrix = torch.randn(shape, generator=generator, dtype=torch.float64)
    singular = torch.linalg.svdvals(matrix).square()
    assert stable_rank(matrix) == pytest.approx((singular.sum() / singular[0]).item(), 1e-12)
    assert stable_rank(torch.diag(torch.tensor([2.0, 2.0, 2.0]))) == pytest.approx(3)


def test_values_go_with_their_keys_and_into_files(generator, tmp_path):
    record = random_record(generator)
    value = torch.randn(len(record.key), 5, generator=generator)
    record = replace(record, value=value)
    torch.testing.assert_close(record.value_norm, value.norm(dim=1))
    record.save(tmp_path / "a.safetensors")
    again = AttentionRecord.load(tmp_path / "a.safetensors")
    assert torch.equal(again.value, value)
    assert torch.equal(again.value_norm, record.value_norm)
    left = without_keys(record, [0, 3])
    assert torch.equal(left.value, value[[1, 2, *range(4, len(value))]])
    with pytest.raises(ValueError, match="value_norm must be the length of each row of value"):
        replace(record, value_norm=record.value_norm + 1)


def test_values_go_with_the_keys_of_parts(generator):
    record = random_record(generator)
    value = torch.randn(len(record.key), 5, generator=generator)
    parts = [torch.arange(len(side))[:, None] % 2 for side in (record.query, record.key)]
    whole = of_rows(torch.rand(len(parts[0]), len(parts[1]), generator=generator) + 0.1, value)
    first, second = part_records(replace(whole, reach=Reach("window", *parts)))
    assert torch.equal(first.value, value[::2])
    assert torch.equal(second.value, value[1::2])
