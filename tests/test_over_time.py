from dataclasses import replace
from math import log, log2

import cv2
import numpy as np
import pytest
import torch
from records import KINDS, random_record

from nonlocal_lens.analysis import degeneracy, terms
from nonlocal_lens.analysis.grid import Cell, Grid
from nonlocal_lens.analysis.over_time import (
    degeneracy_over_time,
    frame_degeneracy,
    row_over_time,
    strongest_arrows,
    temporal_mass,
    unary_drift,
    unary_maps,
)
from nonlocal_lens.analysis.record import ROW_SUM, AttentionRecord
from nonlocal_lens.analysis.tracking import cell_flow

FRAMES, ROWS, COLS, KEY_FRAMES = 5, 3, 7, 11


def moving_record(generator, **kind):
    """Return a random record whose queries have 5 frames and whose keys have 11."""
    flat = random_record(generator, **kind)
    query_grid = Grid.tiling((30, 70), 1, 7, frames=5)
    return replace(
        flat, query_grid=query_grid, key_grid=Grid.tiling((30, 70), 3, 1, frames=KEY_FRAMES)
    )


@pytest.mark.parametrize("kind", KINDS)
def test_masses_over_frames_add_up_to_the_row(generator, kind):
    record = moving_record(generator, **KINDS[kind])
    for term in terms.TERMS:
        mass = temporal_mass(record, range(35), term)
        assert mass.shape == (35, KEY_FRAMES)
        rows = terms.attention(record, range(35), term).sum(dim=1)
        torch.testing.assert_close(mass.sum(dim=1), rows, atol=1e-6, rtol=0)
    if record.coupling != "unnormalized":
        whole = temporal_mass(record, [4]).sum().item()
        assert whole == pytest.approx(ROW_SUM[record.coupling], abs=1e-6)


def planted_record(query, peak):
    """Return a record in which one query looks at one key in space and time, and no other does."""
    grid = Grid.tiling((30, 70), ROWS, COLS, frames=FRAMES)
    queries = torch.zeros(grid.positions, 2)
    keys = torch.zeros(grid.positions, 2)
    queries[query, 0] = keys[peak, 0] = 1
    return AttentionRecord(
        "block", "embedded_gaussian", "coupled", 12.0, queries, keys, None, grid, grid
    )


def test_a_planted_peak_is_found_in_its_frame_and_cell():
    grid = Grid.tiling((30, 70), ROWS, COLS, frames=FRAMES)
    cell = Cell(row=2, col=5, frame=3)
    peak, query = grid.position(cell), grid.position(Cell(0, 1, 1))
    record = planted_record(query, peak)
    mass = temporal_mass(record, [query])[0]
    assert mass.argmax().item() == 3
    assert mass[3] > 0.99
    first, second, *_ = arrows = strongest_arrows(record, query)
    assert len(arrows) == 20
    assert (first.key, first.cell) == (peak, cell)
    assert (first.x, first.y) == (55, 25)
    assert first.weight > 100 * second.weight
    assert first.weight == pytest.approx(terms.attention(record, [query]).max().item() * 105)
    assert strongest_arrows(record, 0)[0].weight == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize("kind", KINDS)
def test_degeneracy_over_time_is_that_of_the_whole_record(generator, kind):
    record = moving_record(generator, **KINDS[kind])
    over_time, report = degeneracy_over_time(record), degeneracy.measure(record)
    for name in ("unary_share", "query_information_bits", "cosine_distance"):
        whole = getattr(over_time.whole, name)
        assert whole == pytest.approx(getattr(report, name), rel=1e-6, abs=1e-9, nan_ok=True)
        assert getattr(frame_degeneracy(record), name) == pytest.approx(whole, nan_ok=True)
    assert len(over_time.frames) == 5
    assert over_time.frame_to_frame.shape == (5, KEY_FRAMES)
    torch.testing.assert_close(
        over_time.frame_to_frame.sum(dim=1), torch.ones(5, dtype=torch.float64)
    )
    if record.coupling == "unnormalized":
        assert (
            np.isnan(over_time.frame_information_bits) == np.isnan(report.query_information_bits)
            or kind == "concatenation"
        )
        assert over_time.drift_nats.isnan().all()
        return
    within = sum(frame.query_information_bits for frame in over_time.frames) / 5
    assert within + over_time.frame_information_bits == pytest.approx(
        over_time.whole.query_information_bits, abs=1e-9
    )
    assert over_time.drift_nats.shape == (KEY_FRAMES - 1,)
    assert (over_time.drift_nats >= 0).all()
    assert (over_time.drift_nats <= log(2)).all()


def test_information_of_the_frame_alone_by_hand():
    """All queries of frame t look at frame t evenly: the frame says all, the place nothing."""
    grid = Grid.tiling((30, 70), ROWS, COLS, frames=4)
    one_hot = torch.eye(4, dtype=torch.float64).repeat_interleave(ROWS * COLS, dim=0)
    record = AttentionRecord(
        "block", "embedded_gaussian", "coupled", 100.0, one_hot, one_hot, None, grid, grid
    )
    found = degeneracy_over_time(record)
    assert found.frame_information_bits == pytest.approx(log2(4))
    assert [frame.query_information_bits for frame in found.frames] == pytest.approx([0] * 4)
    torch.testing.assert_close(found.frame_to_frame, torch.eye(4, dtype=torch.float64))
    assert all(frame.cosine_distance == pytest.approx(0) for frame in found.frames)
    torch.testing.assert_close(found.drift_nats, torch.zeros(3, dtype=torch.float64))


def test_drift_is_zero_where_nothing_moves_and_ln_2_where_nothing_stays():
    maps = torch.tensor([[1, 0, 0], [1, 0, 0], [0, 0.5, 0.5]], dtype=torch.float64)
    assert unary_drift(maps).tolist() == pytest.approx([0, log(2)])


def test_unary_maps_are_distributions_per_frame(generator):
    maps = unary_maps(moving_record(generator, coupling="disentangled"))
    assert maps.shape == (KEY_FRAMES, 3)
    torch.testing.assert_close(maps.sum(dim=1), torch.ones(KEY_FRAMES, dtype=torch.float64))


def test_a_row_over_time(generator):
    records = [random_record(generator, "disentangled") for _ in range(3)]
    records.insert(1, records[0])
    grid = records[0].query_grid
    point = grid.center(Cell(2, 3))
    rows = row_over_time(records, [point] * 4)
    assert np.isnan(rows[0].change_nats)
    assert rows[1].change_nats == pytest.approx(0)
    assert rows[2].change_nats > 0
    weights = terms.attention(records[0], [grid.position(Cell(2, 3))])[0] / 2
    assert rows[0].entropy_bits == pytest.approx(-(weights * weights.log2()).sum().item())
    assert 0 < rows[0].pairwise_share < 1
    lost = row_over_time(records, [point, None, point, point])
    assert np.isnan(lost[1].entropy_bits)
    assert np.isnan(lost[2].change_nats)
    with pytest.raises(ValueError, match="4 frames need as many points, got 1"):
        row_over_time(records, [point])
    signed = row_over_time([random_record(generator, "unnormalized")], [point])[0]
    assert np.isnan(signed.entropy_bits)
    assert 0 < signed.pairwise_share < 1


def shifted_noise(steps, dx, dy):
    """Return frames of blurred noise that moves by (dx, dy) pixels a frame."""
    noise = np.random.default_rng(0).integers(0, 256, (160, 200), dtype=np.uint8)
    noise = cv2.GaussianBlur(noise, (0, 0), 2)
    noise = cv2.normalize(noise, None, 0, 255, cv2.NORM_MINMAX)
    crops = [noise[60 - dy * t : 140 - dy * t, 50 - dx * t : 162 - dx * t] for t in range(steps)]
    return np.repeat(np.stack(crops)[..., None], 3, axis=3)


def test_a_tracked_query_follows_what_moves():
    frames = shifted_noise(5, 4, 3)
    grid = Grid.tiling((80, 112), 5, 7)
    flow = cell_flow(frames, grid)
    assert flow.forward.shape == (4, 5, 7, 2)
    path = flow.follow(50.0, 40.0, 2)
    expected = [(50 + 4 * (t - 2), 40 + 3 * (t - 2)) for t in range(5)]
    np.testing.assert_allclose(path, expected, atol=0.5)
    leaving = flow.follow(108.0, 40.0, 0)
    assert leaving[0] == (108.0, 40.0)
    assert leaving[-1] is None
    with pytest.raises(ValueError, match=r"frame must be in \[0, 5\), got 5"):
        flow.follow(1.0, 1.0, 5)
    with pytest.raises(ValueError, match="outside the image"):
        flow.follow(112.0, 1.0, 0)


def test_a_query_on_what_vanishes_is_lost():
    frames = shifted_noise(3, 0, 0).copy()
    frames[2] = np.random.default_rng(1).integers(0, 256, frames[2].shape, dtype=np.uint8)
    flow = cell_flow(frames, Grid.tiling((80, 112), 5, 7))
    assert np.isnan(flow.forward[1]).mean() > 0.5
    np.testing.assert_allclose(flow.forward[0], 0, atol=0.05)
