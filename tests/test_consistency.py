from dataclasses import astuple, replace
from math import isnan

import numpy as np
import pytest
import torch
from records import KEYS, QUERIES, random_record

from nonlocal_lens.analysis import consistency, terms
from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.analysis.consistency import Region, boundaries, class_share, overlap
from nonlocal_lens.analysis.grid import Grid

VOID = 11


def record_attending(generator, attention):
    """Return a record on a 5 x 7 grid over 40 x 56 pixels with (nearly) these attention rows."""
    record = random_record(generator)
    return replace(
        record,
        scale=1.0,
        query=(attention + 1e-30).log(),
        key=torch.eye(QUERIES, dtype=torch.float64),
        key_grid=record.query_grid,
    )


@pytest.fixture
def labels():
    """Return two classes: the left 3 columns of cells are 0, the right 4 are 1."""
    labels = np.ones((40, 56), np.uint8)
    labels[:, :24] = 0
    return labels


def own_category_mass(record, labels, classes):
    return consistency.measure(record, labels, classes).own_category


def test_uniform_attention_is_at_chance(generator, labels):
    uniform = torch.full((QUERIES, QUERIES), 1 / QUERIES, dtype=torch.float64)
    found = consistency.measure(record_attending(generator, uniform), labels, 2)
    mass = found.own_category
    expected = (15 * 15 + 20 * 20) / 35 / 35  # each query's class share, averaged over queries
    assert mass.mass == pytest.approx(expected)
    assert mass.chance == pytest.approx(expected)
    assert mass.lift == pytest.approx(1)
    assert mass.queries == 35
    # columns 20 to 27 are at most 4 pixels (half a cell) from 23 or 24: 19 and 28 on either side
    assert found.boundary_pixels == 4
    assert found.boundary.mass == pytest.approx(10 / 56)
    assert found.boundary.chance == pytest.approx(10 / 56)


def test_attention_to_oneself_stays_in_the_category(generator, labels):
    record = record_attending(generator, torch.eye(QUERIES, dtype=torch.float64))
    mass = own_category_mass(record, labels, 2)
    assert mass.mass == pytest.approx(1)
    assert mass.lift > 1.9


def test_attention_elsewhere_has_no_mass(generator, labels):
    mirrored = torch.zeros(QUERIES, QUERIES, dtype=torch.float64)
    for query in range(QUERIES):
        mirrored[query, 6 if query % 7 < 3 else 0] = 1  # the other class's corner
    found = consistency.measure(record_attending(generator, mirrored), labels, 2)
    assert found.own_category.mass == pytest.approx(0)
    assert found.boundary.mass == pytest.approx(0)


def test_attention_to_a_boundary_has_its_cells_share_of_boundary(generator, labels):
    to_boundary = torch.zeros(QUERIES, QUERIES, dtype=torch.float64)
    to_boundary[:, 2] = 1  # columns 16 to 23, of which 19 to 23 are near the change
    record = record_attending(generator, to_boundary)
    mass = consistency.measure(record, labels, 2).boundary
    assert mass.mass == pytest.approx(5 / 8)
    assert mass.lift == pytest.approx(5 / 8 / (10 / 56))
    wide = consistency.measure(record, labels, 2, boundary_width=1)
    assert wide.boundary.mass == pytest.approx(1)
    assert wide.boundary_pixels == 8


def test_boundaries_are_disks_around_the_pixels_on_both_sides_of_a_change():
    labels = np.zeros((7, 11), np.uint8)
    assert not boundaries(labels, 3).any()
    labels[:, 5:] = VOID
    for width in (0, 1, 2):
        columns = np.flatnonzero(boundaries(labels, width).all(axis=0))
        assert columns.tolist() == list(range(4 - width, 6 + width))
    labels = np.zeros((7, 11), np.uint8)
    labels[3, 5] = 1
    near = boundaries(labels, 1)  # a plus of 5 pixels touches; its neighbors are near
    assert near.sum() == 13
    assert near[1, 5]
    assert not near[1, 4]


def test_void_queries_are_left_out_and_void_keys_belong_to_nobody(generator, labels):
    labels[:8] = VOID
    uniform = torch.full((QUERIES, QUERIES), 1 / QUERIES, dtype=torch.float64)
    mass = own_category_mass(record_attending(generator, uniform), labels, 2)
    assert mass.queries == 28
    assert mass.mass == pytest.approx((12 * 12 + 16 * 16) / 28 / 35)


def test_weights_count_without_sign_and_queries_without_attention_do_not(
    generator, labels, monkeypatch
):
    record = random_record(generator)
    rows = torch.randn(QUERIES, KEYS, generator=generator, dtype=torch.float64)
    rows[3] = 0
    monkeypatch.setattr(terms, "attention", lambda _record, queries, _term: rows[queries])
    found = consistency.measure(record, labels, 2)
    assert found.own_category.queries == found.boundary.queries == QUERIES - 1
    share = class_share(labels, 2, record.key_axis)[:, 0]
    absolute = rows.abs()[torch.arange(QUERIES) != 3]
    weighed = (absolute @ share) / absolute.sum(dim=1)
    left = torch.arange(QUERIES)[torch.arange(QUERIES) != 3] % 7 < 3
    own = torch.where(left, weighed, 1 - weighed)
    assert found.own_category.mass == pytest.approx(own.mean().item())
    rows[:] = 0
    nothing = consistency.measure(record, labels, 2)
    assert nothing.own_category.queries == nothing.boundary.queries == 0
    assert isnan(nothing.own_category.mass)
    assert isnan(nothing.own_category.lift)
    assert isnan(nothing.by_class[1].precision)


@pytest.mark.parametrize("coupling", ["coupled", "disentangled"])
@pytest.mark.parametrize("term", ["whole", "pairwise", "unary"])
def test_masses_are_shares_whatever_the_rows_sum_to(generator, coupling, term):
    record = random_record(generator, coupling)
    labels = np.zeros((40, 56), np.uint8)
    assert consistency.measure(record, labels, 1, term=term).own_category.mass == pytest.approx(1)


def test_shares_of_cells_that_straddle_pixels_and_classes():
    labels = np.array([[0, 0, 1, 1, 1, 0]] * 3, np.uint8)
    share = class_share(labels, 2, Axis(Grid.tiling((3, 6), 1, 2)))
    assert share.tolist() == [[2 / 3, 1 / 3], [1 / 3, 2 / 3]]
    pooled = Grid.tiling((3, 6), 3, 3).subsampled(1, 1)
    assert class_share(labels, 2, Axis(pooled)).tolist() == [[0.5, 0.5]], (
        "pixels beyond the last cell are nobody's"
    )


def test_labels_of_another_size_or_all_void_are_refused(generator):
    record = random_record(generator)
    with pytest.raises(ValueError, match=r"image's size \(40, 56\), got \(9, 9\)"):
        own_category_mass(record, np.zeros((9, 9), np.uint8), 2)
    with pytest.raises(ValueError, match="no query cell is labeled"):
        own_category_mass(record, np.full((40, 56), VOID, np.uint8), 2)


def test_precision_counts_the_strongest_keys_that_are_in_the_region():
    region = Region(
        torch.tensor([1.0, 0.5, 0, 0, 1]), torch.tensor([True, True, False, False, True])
    )
    rows = torch.tensor(
        [
            [0.4, 0.3, 0.2, 0.1, 0.0],  # the strongest three hold two of the region's
            [0.0, -4.0, 2.0, 1.0, 3.0],  # weights count without sign
            [1.0, 1.0, 1.0, 1.0, 1.0],  # ties share: any three of five
            [2.0, 1.0, 1.0, 0.0, 0.0],  # all three
            [0.0, 0.0, 5.0, 0.0, 0.0],  # two places for four zeros, three of them in the region
            [0.0, 0.0, 0.0, 0.0, 0.0],
        ]
    )
    mass, chance, precision, precision_chance = overlap(rows, region).T.tolist()
    assert mass[:5] == pytest.approx([0.55, 0.5, 0.5, 0.625, 0])
    assert chance == pytest.approx([0.5] * 6)
    assert precision[:5] == pytest.approx([2 / 3, 2 / 3, 3 / 5, 2 / 3, 2 * (3 / 4) / 3])
    assert isnan(mass[5])
    assert isnan(precision[5])
    assert precision_chance == pytest.approx([3 / 5] * 6)


def test_a_region_without_a_cell_has_mass_but_no_precision():
    region = Region(torch.tensor([0.2, 0.4]), torch.tensor([False, False]))
    mass, chance, precision, precision_chance = overlap(torch.tensor([[1.0, 3.0]]), region)[0]
    assert mass.item() == pytest.approx(0.35)
    assert chance.item() == pytest.approx(0.3)
    assert precision.isnan()
    assert precision_chance.isnan()


def test_chance_is_what_shuffled_keys_have_on_average(generator, labels):
    record = random_record(generator)
    rows = terms.attention(record, range(QUERIES)).repeat(200, 1)
    shuffled = torch.stack([row[torch.randperm(KEYS, generator=generator)] for row in rows])
    share = class_share(labels, 2, record.key_axis)[:, 0]
    mass, chance, precision, precision_chance = overlap(shuffled, Region(share, share >= 0.5)).mean(
        dim=0
    )
    assert mass.item() == pytest.approx(chance.item(), rel=0.01)
    assert precision.item() == pytest.approx(precision_chance.item(), rel=0.01)


def test_classes_are_averaged_on_their_own_and_together(generator, labels):
    labels[:, 40:48] = VOID
    record = random_record(generator, "disentangled")
    found = consistency.measure(record, labels, 3)
    assert list(found.by_class) == [0, 1]
    assert [one.queries for one in found.by_class.values()] == [15, 15]
    assert found.own_category.queries == 30
    for field in ("mass", "chance", "precision", "precision_chance"):
        together = np.mean([getattr(one, field) for one in found.by_class.values()])
        assert getattr(found.own_category, field) == pytest.approx(together), field
    assert found.boundary.queries == QUERIES


def test_one_row_stands_for_all_of_the_unary_term(generator, labels, monkeypatch):
    record = random_record(generator)
    found = consistency.measure(record, labels, 2, term="unary")
    everyone = terms.attention(record, range(QUERIES), "unary")
    monkeypatch.setattr(terms, "attention", lambda _record, queries, _term: everyone[queries])
    expected = consistency.measure(record, labels, 2)
    assert astuple(found.boundary) == pytest.approx(astuple(expected.boundary))
    assert astuple(found.own_category) == pytest.approx(astuple(expected.own_category))


def test_labels_of_an_image_do_not_fit_a_clip(generator, labels):
    record = random_record(generator)
    grid = Grid.tiling((40, 56), 1, 7, frames=5)
    with pytest.raises(ValueError, match="labels are of one image, but the record is of 5 frames"):
        consistency.measure(replace(record, query_grid=grid), labels, 2)
