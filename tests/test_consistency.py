from dataclasses import replace

import numpy as np
import pytest
import torch
from records import QUERIES, random_record

from analysis.consistency import class_share, own_category_mass
from analysis.grid import Grid

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


def test_uniform_attention_is_at_chance(generator, labels):
    uniform = torch.full((QUERIES, QUERIES), 1 / QUERIES, dtype=torch.float64)
    mass = own_category_mass(record_attending(generator, uniform), labels, 2)
    expected = (15 * 15 + 20 * 20) / 35 / 35  # each query's class share, averaged over queries
    assert mass.mass == pytest.approx(expected)
    assert mass.chance == pytest.approx(expected)
    assert mass.lift == pytest.approx(1)
    assert mass.queries == 35


def test_attention_to_oneself_stays_in_the_category(generator, labels):
    mass = own_category_mass(
        record_attending(generator, torch.eye(QUERIES, dtype=torch.float64)), labels, 2
    )
    assert mass.mass == pytest.approx(1)
    assert mass.lift > 1.9


def test_attention_elsewhere_has_no_mass(generator, labels):
    mirrored = torch.zeros(QUERIES, QUERIES, dtype=torch.float64)
    for query in range(QUERIES):
        mirrored[query, 6 if query % 7 < 3 else 0] = 1  # the other class's corner
    assert own_category_mass(
        record_attending(generator, mirrored), labels, 2
    ).mass == pytest.approx(0)


def test_void_queries_are_left_out_and_void_keys_belong_to_nobody(generator, labels):
    labels[:8] = VOID
    uniform = torch.full((QUERIES, QUERIES), 1 / QUERIES, dtype=torch.float64)
    mass = own_category_mass(record_attending(generator, uniform), labels, 2)
    assert mass.queries == 28
    assert mass.mass == pytest.approx((12 * 12 + 16 * 16) / 28 / 35)


@pytest.mark.parametrize("coupling", ["coupled", "disentangled"])
@pytest.mark.parametrize("term", ["whole", "pairwise", "unary"])
def test_masses_are_shares_whatever_the_rows_sum_to(generator, coupling, term):
    record = random_record(generator, coupling)
    labels = np.zeros((40, 56), np.uint8)
    assert own_category_mass(record, labels, 1, term=term).mass == pytest.approx(1)


def test_shares_of_cells_that_straddle_pixels_and_classes():
    labels = np.array([[0, 0, 1, 1, 1, 0]] * 3, np.uint8)
    share = class_share(labels, 2, Grid.tiling((3, 6), 1, 2))
    assert share.tolist() == [[2 / 3, 1 / 3], [1 / 3, 2 / 3]]
    pooled = Grid.tiling((3, 6), 3, 3).subsampled(1, 1)
    assert class_share(labels, 2, pooled).tolist() == [[0.5, 0.5]], (
        "pixels beyond the last cell are nobody's"
    )


def test_labels_of_another_size_or_all_void_are_refused(generator):
    record = random_record(generator)
    with pytest.raises(ValueError, match=r"image's size \(40, 56\), got \(9, 9\)"):
        own_category_mass(record, np.zeros((9, 9), np.uint8), 2)
    with pytest.raises(ValueError, match="no query cell is labeled"):
        own_category_mass(record, np.full((40, 56), VOID, np.uint8), 2)
