"""Heads that are measured together have the numbers that each has by itself."""

from dataclasses import asdict, replace

import pytest
import torch
from records import KEYS, KINDS, QUERIES, random_record

from nonlocal_lens.analysis import degeneracy, head_rows, streaming
from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.analysis.grid import Grid
from nonlocal_lens.analysis.head_rows import HeadRows, alike
from nonlocal_lens.analysis.vectors import VectorDistances, distances_of, distances_of_all
from nonlocal_lens.models.blocks import Reach

HEADS, VALUE_CHANNELS = 5, 3


def heads_of(generator, kind="non_local", *, dtype=torch.float64, tokens=(), values=True):
    """Return heads of one block that differ in their numbers, the more the later they are."""
    found = []
    for head in range(HEADS):
        record = random_record(
            generator, **KINDS[kind], dtype=dtype, offset=0.2 + head / 3, scale=0.1 + head / 7
        )
        if tokens:
            record = with_tokens(record, generator, tokens)
        value = torch.randn(len(record.key), VALUE_CHANNELS, generator=generator, dtype=dtype)
        found.append(replace(record, head=head, value=value if values else None))
    return found


def with_tokens(record, generator, names):
    """Return a record with tokens that are no places behind its queries and keys."""

    def more(x):
        if x is None:
            return None
        own = torch.randn(len(names), *x.shape[1:], generator=generator, dtype=x.dtype)
        return torch.cat((x, own))

    reach = record.reach
    if reach is not None:
        labels = (torch.cat((x, x[: len(names)])) for x in (reach.query, reach.key))
        reach = Reach(reach.kind, *labels)
    return replace(
        record,
        query=more(record.query),
        key=more(record.key),
        unary=more(record.unary),
        query_axis=Axis(record.query_grid, names=names),
        key_axis=Axis(record.key_grid, names=names),
        reach=reach,
    )


def numbers_of(report):
    """Return everything that a report says, flat, under names."""
    flat = {}
    for name, value in asdict(report).items():
        if isinstance(value, dict):  # of numbers, or of three of them for every baseline
            for key, one in value.items():
                several = one if isinstance(one, tuple) else (one,)
                flat |= {f"{name} {key} {number}": one for number, one in enumerate(several)}
        elif isinstance(value, tuple):
            flat |= {f"{name} {number}": one for number, one in enumerate(value)}
        else:
            flat[name] = value
    return flat


def assert_same(found, expected, tolerance):
    found, expected = numbers_of(found), numbers_of(expected)
    assert set(found) == set(expected)
    for name, value in expected.items():
        if isinstance(value, float):
            value = pytest.approx(value, rel=tolerance, abs=tolerance, nan_ok=True)
        assert found[name] == value, name


@pytest.mark.parametrize("tokens", [(), ("class", "register 1", "register 2")])
@pytest.mark.parametrize("kind", KINDS)
def test_measured_together_is_measured_alone(generator, kind, tokens):
    heads = heads_of(generator, kind, tokens=tokens)
    vectors = [VectorDistances(head / 11, head / 13) for head in range(HEADS)]
    together = degeneracy.measure_heads(heads, vectors=vectors, seed=3)
    for record, own, report in zip(heads, vectors, together, strict=True):
        assert_same(report, degeneracy.measure(record, vectors=own, seed=3), 1e-9)
    assert len({report.attention_distance for report in together}) == HEADS


def test_so_it_is_in_single_precision_without_shuffles_and_of_values_that_are_not_known(generator):
    heads = heads_of(generator, dtype=torch.float32, tokens=("class",), values=False)
    for record, report in zip(heads, degeneracy.measure_heads(heads, shuffles=False), strict=True):
        assert_same(report, degeneracy.measure(record, shuffles=False), 1e-6)


def test_so_it_is_of_more_queries_than_are_sampled_and_more_pairs_than_are_compared(
    generator, monkeypatch
):
    monkeypatch.setattr(streaming, "SAMPLE", 31)
    heads = heads_of(generator)
    for record, report in zip(heads, degeneracy.measure_heads(heads, seed=5), strict=True):
        alone = degeneracy.measure(record, seed=5)
        assert alone.jsd_standard_error > 0
        assert_same(report, alone, 1e-9)


@pytest.mark.parametrize("values", [1, 3 * KEYS, 2 * QUERIES * KEYS, 3 * QUERIES * KEYS])
def test_memory_holds_no_more_weights_than_it_should_and_no_number_changes(
    generator, monkeypatch, values
):
    heads, made = heads_of(generator), []
    expected = degeneracy.measure_heads(heads)
    of = HeadRows.of

    def noted(rows, queries):
        found = of(rows, queries)
        made.append(found.rows.shape)
        return found

    monkeypatch.setattr(HeadRows, "of", noted)
    monkeypatch.setattr(streaming, "CHUNK_VALUES", values)
    for report, other in zip(degeneracy.measure_heads(heads), expected, strict=True):
        assert_same(report, other, 1e-9)
    assert all(shape.numel() <= max(values, KEYS) for shape in made)
    assert sum(shape[0] * shape[1] for shape in made) == HEADS * QUERIES
    at_once = max(1, values // (QUERIES * KEYS))
    assert max(shape[0] for shape in made) == at_once


def test_a_head_with_negative_weights_takes_nothing_from_those_beside_it(generator):
    heads = heads_of(generator, "disentangled")
    heads[2] = replace(heads[2], pairwise_gain=-3.0)
    together = degeneracy.measure_heads(heads)
    for record, report in zip(heads, together, strict=True):
        assert_same(report, degeneracy.measure(record), 1e-9)
    assert [report.jsd_nats != report.jsd_nats for report in together] == [0, 0, 1, 0, 0]


def test_only_heads_of_one_kind_and_run_go_together(generator):
    one, other = heads_of(generator), heads_of(generator, "pairwise")
    placed_otherwise = [replace(head, key_grid=Grid(3, 11, 1, 1, (40, 56))) for head in one]
    of_another_run = [replace(head, call=1) for head in placed_otherwise]
    single = heads_of(generator, dtype=torch.float32)
    records = [*one, *other, *placed_otherwise, *of_another_run, *single]
    assert [list(group) for group in alike(records, 10**9)] == [
        list(range(start, start + HEADS)) for start in range(0, 5 * HEADS, HEADS)
    ]
    for record, report in zip(records, degeneracy.measure_heads(records), strict=True):
        assert_same(report, degeneracy.measure(record), 1e-6)


@pytest.mark.parametrize(
    ("at_once", "sizes"), [(1, [1] * 5), (2, [1, 2, 2]), (4, [2, 3]), (5, [5])]
)
def test_heads_are_parted_evenly(generator, at_once, sizes):
    groups = list(alike(heads_of(generator), at_once * QUERIES * KEYS))
    assert sorted(map(len, groups)) == sizes
    assert [number for group in groups for number in group] == list(range(HEADS))


def test_no_heads_have_no_numbers():
    assert degeneracy.measure_heads([]) == []
    assert list(alike([], 1)) == []


def test_what_is_not_finite_is_refused_by_the_name_of_its_block(generator):
    heads = heads_of(generator)
    heads[3] = replace(heads[3], block="fourth", query=heads[3].query.clone())
    heads[3].query[2, 1] = torch.nan
    with pytest.raises(ValueError, match="'fourth' has NaN or infinite values in its query"):
        degeneracy.measure_heads(heads)


def test_heads_under_one_softmax_are_multiplied_at_once(generator, monkeypatch):
    def refused(*_):
        raise AssertionError("rows were made head by head")

    monkeypatch.setattr(head_rows.terms, "attention", refused)
    assert len(degeneracy.measure_heads(heads_of(generator))) == HEADS


def test_distances_are_those_of_a_records_own_run(generator):
    one, other = (replace(head, head=None) for head in heads_of(generator)[:2])
    again = replace(one, call=1)
    vectors = {"head.block": VectorDistances(0.1, 0.2), "head.block#1": VectorDistances(0.3, 0.4)}
    records = [one, replace(other, block="unwatched"), again]
    assert distances_of_all(records, vectors) == [
        vectors["head.block"],
        None,
        vectors["head.block#1"],
    ]
    assert [distances_of(record, records, vectors) for record in records] == distances_of_all(
        records, vectors
    )
