"""The geometry of rendered streets: what is labeled is what is drawn, where it should be."""

from dataclasses import replace

import numpy as np
import pytest

from nonlocal_lens.streets import crowns
from nonlocal_lens.streets.camera import FAR, NEAR, Camera
from nonlocal_lens.streets.canvas import Canvas
from nonlocal_lens.streets.classes import CAR, ROAD, TREE
from nonlocal_lens.streets.crowns import crown
from nonlocal_lens.streets.dice import Dice
from nonlocal_lens.streets.drawing import draw
from nonlocal_lens.streets.layout import Street, apart, random_street
from nonlocal_lens.streets.lens import random_lens
from nonlocal_lens.streets.light import random_light
from nonlocal_lens.streets.nature import Hedge
from nonlocal_lens.streets.people import Person
from nonlocal_lens.streets.plan import random_plan
from nonlocal_lens.streets.road import rounded_union
from nonlocal_lens.streets.thing import box_outline, cast
from nonlocal_lens.streets.vehicles import BODIES, Vehicle

CAMERA = Camera((61, 83), focal=71.0, horizon=29.3, height=1.3, x=-1.7)
BENT = replace(CAMERA, s=5.0, yaw=0.06, bend=0.004, rise=0.0003)


@pytest.mark.parametrize("camera", [CAMERA, BENT, replace(BENT, rise=-0.0001)])
def test_the_ground_under_a_pixel_is_seen_in_that_pixel(camera):
    top, x, depth = camera.ground()
    assert len(depth) == camera.size_hw[0] - top
    s = np.broadcast_to(depth, x.shape) + camera.s
    pixels = camera.project(np.stack([x, np.zeros_like(x), s], axis=-1).astype(float))
    rows, columns = np.mgrid[top : camera.size_hw[0], 0 : camera.size_hw[1]] + 0.5
    np.testing.assert_allclose(pixels[..., 0], columns, atol=0.01)
    np.testing.assert_allclose(pixels[..., 1], rows, atol=0.01)
    assert depth.max() < FAR
    assert (np.diff(depth[:, 0]) < 0).all()


def test_a_point_is_projected_as_worked_by_hand():
    # 10 m ahead, 2 m right of the camera and 1 m above the road: 0.3 m below the camera.
    pixel = CAMERA.project(np.array([[0.3, 1.0, 10.0]]))[0]
    np.testing.assert_allclose(pixel, (41.5 + 71 * 0.2, 29.3 + 71 * 0.03))


def test_what_is_too_near_is_cut_off_along_the_street():
    far, cut = CAMERA.project(np.array([[2.0, 0.5, NEAR], [2.0, 0.5, -3.0]]))
    np.testing.assert_allclose(cut, far)


def test_a_pixel_has_the_class_of_what_fills_most_of_it():
    rng = np.random.default_rng(0)
    canvas = Canvas((37, 53))
    for _ in range(9):
        triangle = rng.uniform((0, 0), (53, 37), (1, 3, 2))
        canvas.polygons(triangle, (200, 200, 200, 1))
    image, labels = canvas.finish()
    red = image[..., 0].astype(int)
    assert set(np.unique(red)) <= {0, 50, 100, 150, 200}
    assert (labels[red > 100] == 1).all()
    assert (labels[red < 100] == 0).all()
    assert 0.2 < labels.mean() < 0.98


def test_a_gap_gets_a_class_and_keeps_its_color():
    canvas = Canvas((37, 53))
    canvas.label_polygon(np.array([(11.0, 7.0), (31.0, 7.0), (31.0, 19.0), (11.0, 19.0)]), 7)
    image, labels = canvas.finish()
    assert not image.any()
    assert (labels[8:18, 12:30] == 7).all()
    assert labels[:6].max() == labels[20:].max() == 0


def test_a_shadow_falls_away_from_the_sun_as_far_as_worked_by_hand():
    # The sun stands 45 degrees high on the left: what is 2 m high throws 2 m to the right.
    shadow = cast(box_outline(1.0, 10.0, 0.4, 0.4), 2.0, (-np.sqrt(0.5), np.sqrt(0.5), 0.0))
    np.testing.assert_allclose(shadow.min(axis=0), (0.8, 9.8), atol=1e-6)
    np.testing.assert_allclose(shadow.max(axis=0), (3.2, 10.2), atol=1e-6)


def test_roads_join_in_an_arc_and_are_as_they_were_elsewhere():
    a, b = np.array([[0.0, -2.0, 9.0]]), np.array([[0.0, 9.0, -3.0]])
    joined = rounded_union(a, b, radius=2.0)
    np.testing.assert_allclose(joined, [[2 - np.hypot(2, 2), -2.0, -3.0]])


def drawn(*things, camera=CAMERA):
    """Return the labels of a street in which only these things stand."""
    dice = Dice(np.random.default_rng(3))
    plan = replace(random_plan(dice), side_roads=(), forecourts=(0.0, 0.0), verge=0.0)
    return draw(Street(plan, things), camera, random_light(dice), random_lens(dice))[1]


def test_the_nearer_hides_the_farther_whatever_comes_first():
    red = Vehicle(-1.7, 12.0, 0.0, "saloon", (150.0, 20.0, 20.0))
    hedge = Hedge(-2.0, 7.0, 8.0, 2.5, (70.0, 90.0, 50.0))
    both, other = drawn(red, hedge), drawn(hedge, red)
    np.testing.assert_array_equal(both, other)
    alone = drawn(hedge)
    np.testing.assert_array_equal(both[alone == TREE], TREE)
    assert (both == CAR).sum() < (drawn(red) == CAR).sum()


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("heading", [0.0, np.pi, np.pi / 2])
def test_a_vehicle_is_as_large_as_it_should_be(body, heading):
    distance = 20.0
    labels = drawn(Vehicle(-1.7, distance, heading, body, (90.0, 90.0, 90.0))) == CAR
    rows, columns = np.flatnonzero(labels.any(axis=1)), np.flatnonzero(labels.any(axis=0))
    shape = BODIES[body]
    along = abs(np.cos(heading)) * shape.length + abs(np.sin(heading)) * shape.width
    across = abs(np.sin(heading)) * shape.length + abs(np.cos(heading)) * shape.width
    scale = CAMERA.focal / (distance - along / 2)
    height = max(up for _, up in (*shape.cabin, *shape.lower))
    assert len(columns) == pytest.approx(across * scale, abs=1.6)
    assert len(rows) == pytest.approx(height * scale, abs=2.1)


def test_what_is_behind_the_camera_is_not_drawn():
    behind = Vehicle(-1.7, -4.0, 0.0, "estate", (90.0, 90.0, 90.0))
    np.testing.assert_array_equal(drawn(behind), drawn())
    assert set(np.unique(drawn())) >= {ROAD}


def test_only_what_cannot_be_seen_is_left_out(monkeypatch):
    street = random_street(Dice(np.random.default_rng(8)))
    hidden = [
        thing for thing in street.things if not CAMERA.may_show(thing.x, thing.far, thing.reach)
    ]
    assert len(hidden) > 5
    nothing = drawn()
    monkeypatch.setattr(Camera, "may_show", lambda *_: True)
    np.testing.assert_array_equal(drawn(*hidden), nothing)


def test_nobody_stands_in_a_car():
    car = Vehicle(1.0, 10.0, 0.0, "estate", (90.0, 90.0, 90.0))
    person = next(
        t for t in random_street(Dice(np.random.default_rng(2))).things if isinstance(t, Person)
    )
    inside, beside = replace(person, x=1.2, s=11.0), replace(person, x=4.0, s=11.0)
    assert list(apart([car, inside, beside])) == [car, beside]


@pytest.mark.parametrize("kind", ["leafy", "bare"])
def test_crowns_fill_their_square_and_their_outline_holds_all_wood(kind):
    _, solid, outline = np.moveaxis(crown(kind, 1, 0), 2, 0)
    for axis in (0, 1):
        assert solid.any(axis=axis).mean() > 0.95
    assert (outline[solid > 127] > 127).all()


def test_a_clump_of_leaves_lies_within_the_texels_that_are_drawn():
    rows, columns = np.mgrid[0 : crowns.SIDE, 0 : crowns.SIDE].astype(np.float32) / crowns.SIDE
    for x, y, radius in np.random.default_rng(0).uniform(
        (-0.1, -0.1, 0.02), (1.1, 1.1, 0.2), (99, 3)
    ):
        left_out = np.ones_like(rows, bool)
        left_out[crowns.around(x, y, radius)] = False
        assert (np.hypot(columns - x, rows - y) >= radius)[left_out].all()
