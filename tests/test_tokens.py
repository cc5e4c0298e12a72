"""Tokens that are no places, among keys and among queries: what every number must hold to."""

from dataclasses import replace
from math import isnan, log, log2, nan

import numpy as np
import pytest
import torch
from records import random_record
from torch.special import entr, xlogy

from nonlocal_lens.analysis import degeneracy, streaming, terms
from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.analysis.depth import rollout
from nonlocal_lens.analysis.grid import Grid
from nonlocal_lens.analysis.query_map import divergence_from_mean_bits, most_different
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.some_keys import on_picture, without_keys
from nonlocal_lens.models.blocks import Reach

GRID = Grid.tiling((40, 56), 5, 7)
CELLS = np.array([0, 3, 4, 8, 9, 11, 17, 20, 29, 30, 34])
NAMES = ("class", "register 1", "register 2")
AXES = {
    "a whole grid and names": Axis(GRID, None, NAMES),
    "some cells and names": Axis(GRID, CELLS, NAMES),
    "some cells": Axis(GRID, CELLS),
    "names alone": Axis(None, None, NAMES),
}
LEARNED = {"unary", "disentangled"}


def record_of(generator, query_axis, key_axis, coupling="coupled", *, reach=None, channels=5):
    """Return a random record over two axes, in double precision."""
    like = random_record(generator, coupling)
    channels = 0 if like.form == "query_independent" else channels

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64) + 0.6

    return AttentionRecord(
        block="head.block",
        form=like.form,
        coupling=coupling,
        scale=0.4,
        query=draw(len(query_axis), channels),
        key=draw(len(key_axis), channels),
        unary=draw(len(key_axis)) if coupling in LEARNED else None,
        query_grid=query_axis.grid,
        key_grid=key_axis.grid,
        query_axis=query_axis,
        key_axis=key_axis,
        reach=reach,
    )


def rows_of(record):
    weights = terms.attention(record, range(record.query_axis.counting)).abs()
    return weights / weights.sum(dim=1, keepdim=True)


def bits(p):
    return entr(p).sum(dim=-1) / log(2)


@pytest.mark.parametrize("query", AXES)
@pytest.mark.parametrize("key", AXES)
def test_terms_are_split_by_the_means_of_queries_that_count_and_of_all_keys(generator, query, key):
    record = record_of(generator, AXES[query], AXES[key])
    every = range(len(record.query))
    logits = record.scale * record.query @ record.key.T
    torch.testing.assert_close(terms.attention(record, every), logits.softmax(dim=1))
    count = AXES[query].placed or len(AXES[query])
    pairwise, unary = terms.pairwise_logits(record, every), terms.unary_logits(record)
    torch.testing.assert_close((pairwise + unary).softmax(dim=1), logits.softmax(dim=1))
    zeros = torch.zeros(len(record.key), dtype=torch.float64)
    torch.testing.assert_close(pairwise[:count].sum(dim=0), zeros, atol=1e-9, rtol=0)
    torch.testing.assert_close(
        pairwise.sum(dim=1), torch.zeros(len(logits), dtype=torch.float64), atol=1e-9, rtol=0
    )
    together = terms.grand_logit(record) + terms.row_logits(record, every)[:, None] + unary
    torch.testing.assert_close(together + pairwise, logits)


@pytest.mark.parametrize("coupling", ["coupled", "disentangled", "pairwise", "unary"])
def test_rows_sum_to_what_the_coupling_says_over_all_keys(generator, coupling):
    axis = AXES["some cells and names"]
    record = record_of(generator, axis, axis, coupling)
    for term in terms.TERMS:
        rows = terms.attention(record, range(len(axis)), term)
        assert rows.shape == (14, 14)
        expected = record.row_sum if term == "whole" else 1.0
        torch.testing.assert_close(rows.sum(dim=1), torch.full((14,), expected).double())


def by_definition(record):
    """Return statistics with tokens straight from their definitions."""
    rows, mean = rows_of(record), rows_of(record).mean(dim=0)
    axis, queries = record.key_axis, len(rows_of(record))
    places = rows[:, : axis.placed]
    kinds = torch.cat([rows[:, axis.placed :], places.sum(dim=1, keepdim=True)], dim=1)
    share = places.sum().item() / queries
    among = places / places.sum(dim=1, keepdim=True)  # of queries as far as they look at places
    weight = places.sum(dim=1) / places.sum()
    of_places = bits((weight[:, None] * among).sum(dim=0)) - (weight * bits(among)).sum()
    found = {
        "selectivity_bits": log2(len(axis)) - bits(rows).mean(),
        "unary_bits": log2(len(axis)) - bits(mean),
        "query_information_bits": xlogy(rows / queries, rows / mean).sum() / log(2),
        "token_share": 1 - share,
        "token_information_bits": bits(kinds.mean(dim=0)) - bits(kinds).mean(),
        "place_information_bits": share * of_places if axis.placed else 0.0,
        "sink_share": mean.max(),
        "attention_distance": nan,
        "self_mass": nan,
    }
    query = record.query_axis
    if axis.placed and query.placed:
        at = [
            torch.tensor([one.center(i) for i in range(one.placed)], dtype=torch.float64)
            for one in (query, axis)
        ]
        found["attention_distance"] = (among * torch.cdist(*at)).sum(dim=1).mean()
        same = torch.tensor(query.all_cells)[:, None] == torch.tensor(axis.all_cells)
        found["self_mass"] = places[same].sum() / queries
    return {name: float(value) for name, value in found.items()}


@pytest.mark.parametrize("query", AXES)
@pytest.mark.parametrize("key", AXES)
@pytest.mark.parametrize("chunk_values", [1, 10**9])
def test_statistics_are_those_of_their_definitions(
    generator, monkeypatch, query, key, chunk_values
):
    monkeypatch.setattr(streaming, "CHUNK_VALUES", chunk_values)
    record = record_of(generator, AXES[query], AXES[key])
    report = degeneracy.measure(record)
    for name, expected in by_definition(record).items():
        found = getattr(report, name)
        assert found == pytest.approx(expected, abs=1e-9, nan_ok=True), name
    assert report.queries == AXES[query].placed or len(AXES[query])
    assert report.keys == len(AXES[key])
    parts = report.token_information_bits + report.place_information_bits
    assert parts == pytest.approx(report.query_information_bits, abs=1e-12)
    mean = rows_of(record).mean(dim=0).tolist()
    assert [*report.token_shares] == [*AXES[key].names]
    named = mean[AXES[key].placed :]
    assert [*report.token_shares.values()] == pytest.approx(named)
    assert report.token_share == pytest.approx(sum(named), abs=1e-12)
    for name in degeneracy.STATISTICS:
        low, high = report.bounds(name)
        for value in (getattr(report, name), *report.baselines.get(name, ())):
            assert isnan(value) or low - 1e-9 <= value <= high + 1e-9 or isnan(high), name
    assert report.verdict.endswith(".")
    assert divergence_from_mean_bits(record).mean().item() == pytest.approx(
        report.query_information_bits
    )


def planted(record, mass):
    """Return a record with one more key, "class", that takes a given share of every row."""
    logits = record.scale * record.query @ record.key.T
    level = logits.logsumexp(dim=1, keepdim=True) + log(mass / (1 - mass))
    zeros = record.key.new_zeros(len(record.key), 1)
    token = torch.cat([record.key.new_zeros(1, record.key.shape[1]), zeros[:1] + 1], dim=1)
    return replace(
        record,
        scale=1.0,
        query=torch.cat([record.scale * record.query, level], dim=1),
        key=torch.cat([torch.cat([record.key, zeros], dim=1), token]),
        key_axis=replace(record.key_axis, names=("class",)),
    )


@pytest.mark.parametrize("mass", [0.03, 0.5, 0.95])
@pytest.mark.parametrize("axis", ["a whole grid", "some cells"])
def test_a_token_of_mass_m_leaves_one_minus_m_of_the_information(generator, mass, axis):
    axis = Axis(GRID, CELLS if axis == "some cells" else None)
    plain = record_of(generator, axis, axis)
    record = planted(plain, mass)
    of_places, found = degeneracy.measure(plain), degeneracy.measure(record)
    assert found.token_shares == {"class": pytest.approx(mass)}
    assert found.query_information_bits == pytest.approx(
        (1 - mass) * of_places.query_information_bits, abs=1e-9
    )
    assert found.place_information_bits == pytest.approx(found.query_information_bits, abs=1e-9)
    assert found.attention_distance == pytest.approx(of_places.attention_distance)
    again = degeneracy.measure(on_picture(record))
    for name in ("query_information_bits", "selectivity_bits", "entropy_bits", "self_mass"):
        assert getattr(again, name) == pytest.approx(getattr(of_places, name), abs=1e-9), name
    if mass > 0.5:
        assert (found.sink, found.sink_cell, found.sink_name) == (len(axis), None, "class")
        sentence = "The token 'class' is a sink: it takes 95% of all attention."
        assert found.sink_sentence == sentence
        assert found.verdict == f"{found.how_degenerate} {sentence}"


def test_the_order_of_tokens_changes_nothing_but_order(generator):
    axis = AXES["a whole grid and names"]
    record = record_of(generator, axis, axis)
    order = torch.cat([torch.arange(35), torch.tensor([37, 35, 36])])
    turned = Axis(GRID, None, tuple(NAMES[i - 35] for i in order[35:].tolist()))
    moved = replace(
        record,
        query=record.query[order],
        key=record.key[order],
        query_axis=turned,
        key_axis=turned,
    )
    for term in terms.TERMS:
        before = terms.attention(record, range(38), term)
        torch.testing.assert_close(terms.attention(moved, range(38), term), before[order][:, order])
    one, other = degeneracy.measure(record, shuffles=False), degeneracy.measure(moved)
    for name in degeneracy.STATISTICS:
        assert getattr(one, name) == pytest.approx(getattr(other, name), nan_ok=True), name
    assert one.token_shares == pytest.approx(other.token_shares)


def test_queries_that_are_no_places_are_what_statistics_are_over(generator):
    names = tuple(f"query {i + 1}" for i in range(7))
    record = record_of(generator, Axis(None, None, names), Axis(GRID))
    report = degeneracy.measure(record)
    assert (report.queries, report.keys) == (7, 35)
    rows = terms.attention(record, range(7))
    assert report.query_information_bits == pytest.approx(
        (xlogy(rows / 7, rows / rows.mean(dim=0)).sum() / log(2)).item()
    )
    assert set(most_different(record, 2)) <= set(range(7))


def test_queries_of_no_place_have_no_part_in_means(generator):
    axis = AXES["a whole grid and names"]
    record = record_of(generator, axis, axis)
    wild = record.query.clone()
    wild[35:] *= -50
    other = replace(record, query=wild)
    torch.testing.assert_close(terms.unary_logits(record), terms.unary_logits(other))
    one, changed = degeneracy.measure(record), degeneracy.measure(other)
    for name in degeneracy.STATISTICS:
        assert getattr(one, name) == pytest.approx(getattr(changed, name), nan_ok=True), name


def test_windows_with_a_token_that_all_share_keep_their_terms(generator):
    axis = AXES["a whole grid and names"]
    labels = torch.arange(38)[:, None] % 3
    record = record_of(generator, axis, axis, reach=Reach("window", labels, labels))
    rows = terms.attention(record, range(38))
    torch.testing.assert_close(rows.sum(dim=1), torch.ones(38).double())
    report = degeneracy.measure(record)
    assert 0 <= report.unary_share <= 1
    assert report.restriction.information_bits == pytest.approx(
        bits(torch.tensor([12.0, 12, 11]) / 35).item(), abs=1e-2
    )


def test_the_view_on_the_picture_is_the_rows_among_places(generator):
    axis = AXES["some cells and names"]
    record = record_of(generator, axis, axis)
    rows = terms.attention(record, range(14))
    view = on_picture(record)
    assert (view.key_axis.names, view.query_axis) == ((), axis)
    expected = rows[:, :11] / rows[:, :11].sum(dim=1, keepdim=True)
    torch.testing.assert_close(terms.attention(view, range(14)), expected)
    assert on_picture(view) is view


def test_a_row_without_one_key_is_the_rest_of_it(generator):
    record = record_of(generator, Axis(GRID), Axis(GRID))
    rows = terms.attention(record, range(35))
    view = without_keys(record, torch.tensor([12]))
    kept = [i for i in range(35) if i != 12]
    expected = rows[:, kept] / rows[:, kept].sum(dim=1, keepdim=True)
    torch.testing.assert_close(terms.attention(view, range(35)), expected)
    laid = view.key_axis.on_grid(terms.attention(view, [3]))
    assert laid.shape == (1, 35)
    assert laid.isnan().nonzero().tolist() == [[0, 12]]


def test_views_that_cannot_be_are_refused(generator):
    names = record_of(generator, AXES["names alone"], AXES["names alone"])
    with pytest.raises(ValueError, match=r"none of the keys of block 'head\.block' is a place"):
        on_picture(names)
    with pytest.raises(ValueError, match=r"no key of block 'head\.block' would be left"):
        without_keys(names, range(3))
    axis = AXES["some cells and names"]
    with pytest.raises(ValueError, match="adds two softmaxes"):
        on_picture(record_of(generator, axis, axis, "disentangled"))


def test_the_class_token_is_rolled_out_through_the_layers(generator):
    axis = AXES["a whole grid and names"]
    layers = [
        replace(record_of(generator, axis, axis), block=f"layer {number}") for number in range(3)
    ]
    matrices = [
        0.5 * torch.eye(38).double() + 0.5 * terms.attention(one, range(38)) for one in layers
    ]
    expected = (matrices[2] @ matrices[1] @ matrices[0])[axis.index("class")]
    torch.testing.assert_close(rollout(layers, axis.index("class")), expected)


@pytest.mark.parametrize(("length", "kind"), [(0.01, "no-operation"), (1.0, "broadcast")])
def test_planted_sinks_are_told_apart_by_what_their_values_add(generator, length, kind):
    record = planted(record_of(generator, Axis(GRID), Axis(GRID)), 0.9)
    value = torch.nn.functional.normalize(torch.randn(36, 11, generator=generator), dim=1)
    value[35] *= length
    lengths = value.norm(dim=1)
    report = degeneracy.measure(replace(record, value=value))
    assert (report.sink_kind, report.sink_name) == (kind, "class")
    assert report.sink_value_ratio == pytest.approx(length / lengths.mean().item())
    words = {"no-operation": "next to nothing to add", "broadcast": "adds the same to every query"}
    assert words[kind] in report.verdict
    assert degeneracy.measure(record).sink_kind == ""


def test_a_key_that_few_look_at_is_no_sink_of_a_kind(generator):
    record = record_of(generator, Axis(GRID), Axis(GRID))
    report = degeneracy.measure(replace(record, value_norm=torch.rand(35)))
    assert 0 <= report.sink_value_ratio <= 35
    assert report.sink_kind == ""
