"""Rendered streets: same seed, same bytes; labels that fit; every class in a good share."""

from contextlib import contextmanager
from functools import cache

import numpy as np
import pytest
from jaxtyping import config

from nonlocal_lens.streets import (
    CLIP_LABELS,
    MIRRORED,
    render_clip,
    render_scene,
    split_seeds,
)
from nonlocal_lens.streets.classes import STREET_CLASSES, VOID
from nonlocal_lens.streets.dice import Dice
from nonlocal_lens.streets.plan import random_plan
from nonlocal_lens.streets.story import CLOCK, random_story
from nonlocal_lens.streets.vehicles import Vehicle

pytestmark = pytest.mark.slow

SIZE_HW = (131, 173)


@contextmanager
def unchecked():
    """Switch the shape checks off: they make a scene's thousand strokes ten times slower."""
    config.update("jaxtyping_disable", True)
    try:
        yield
    finally:
        config.update("jaxtyping_disable", False)


@pytest.fixture(scope="module")
def scenes():
    with unchecked():
        return [render_scene(seed, SIZE_HW) for seed in range(50)]


def test_the_same_seed_gives_the_same_bytes(scenes):
    again = render_scene(7, SIZE_HW)
    np.testing.assert_array_equal(again.image, scenes[7].image)
    np.testing.assert_array_equal(again.labels, scenes[7].labels)


def test_different_seeds_give_different_scenes(scenes):
    assert len({scene.image.tobytes() for scene in scenes}) == len(scenes)
    assert len({scene.labels.tobytes() for scene in scenes}) == len(scenes)


def test_labels_are_classes_or_void(scenes):
    values = np.unique([scene.labels for scene in scenes])
    assert set(values) == {*range(len(STREET_CLASSES)), VOID}


@pytest.mark.parametrize("size_hw", [(131, 173), (37, 53), (360, 480), (173, 61)])
def test_any_size_can_be_rendered(size_hw):
    scene = render_scene(3, size_hw)
    assert scene.image.shape == (*size_hw, 3)
    assert scene.labels.shape == size_hw
    assert scene.image.dtype == scene.labels.dtype == np.uint8


# Share of all pixels, and of the scenes in which a class covers more than 0.05 % of the picture.
FLOORS = {
    "sky": (0.10, 0.9),
    "building": (0.15, 0.9),
    "pole": (0.006, 0.8),
    "road": (0.2, 1.0),
    "pavement": (0.03, 0.9),
    "tree": (0.05, 0.8),
    "sign": (0.005, 0.7),
    "fence": (0.005, 0.35),
    "car": (0.03, 0.8),
    "pedestrian": (0.004, 0.6),
    "bicyclist": (0.002, 0.35),
}


@pytest.mark.parametrize("name", STREET_CLASSES)
def test_every_class_appears_in_a_good_share(scenes, name):
    share, presence = FLOORS[name]
    value = list(STREET_CLASSES).index(name)
    shares = np.array([np.mean(scene.labels == value) for scene in scenes])
    assert shares.mean() > share
    assert np.mean(shares > 0.0005) >= presence


def test_splits_share_no_seed():
    splits = [set(split_seeds(split, 1000)) for split in ("train", "val", "test")]
    assert len(set.union(*splits)) == 3000


def test_the_largest_split_stays_below_the_next():
    assert split_seeds("train", 1_000_000)[-1] < split_seeds("val", 1)[0]


@pytest.mark.parametrize(
    ("split", "count", "sentence"),
    [
        ("dev", 1, "unknown split 'dev'; available: train, val, test"),
        ("val", -1, "count must be from 0 to 1000000, got -1"),
        ("val", 1_000_001, "count must be from 0 to 1000000, got 1000001"),
    ],
)
def test_impossible_splits_are_refused(split, count, sentence):
    with pytest.raises(ValueError, match=sentence):
        split_seeds(split, count)


@pytest.mark.parametrize("size_hw", [(31, 480), (360, 2049), (360, 480, 3), (360.0, 480)])
def test_sizes_out_of_range_are_refused(size_hw, as_users_run):
    with pytest.raises(ValueError, match="each from 32 to 2048 pixels, got"):
        render_scene(0, size_hw)


def test_a_negative_seed_is_refused():
    with pytest.raises(ValueError, match="seed must be 0 or more, got -1"):
        render_scene(-1)


FRAMES, CLIP_HW = 5, (61, 83)


@pytest.fixture(scope="module")
def clips():
    """A clip for each label."""
    found = {}
    for seed in range(100):
        with unchecked():
            clip = render_clip(seed, FRAMES, CLIP_HW)
        found.setdefault(clip.label, (seed, clip))
        if len(found) == len(CLIP_LABELS):
            return found
    raise AssertionError(f"only labels {sorted(found)} within 100 seeds")


def test_the_same_clip_comes_from_the_same_seed(clips):
    seed, clip = clips[0]
    again = render_clip(seed, FRAMES, CLIP_HW)
    np.testing.assert_array_equal(again.images, clip.images)
    np.testing.assert_array_equal(again.labels, clip.labels)


def test_frames_have_the_size_asked_for(clips):
    for _, clip in clips.values():
        assert clip.images.shape == (FRAMES, *CLIP_HW, 3)
        assert clip.labels.shape == (FRAMES, *CLIP_HW)
        assert clip.label_names == CLIP_LABELS
        assert set(np.unique(clip.labels)) <= {*range(len(STREET_CLASSES)), VOID}


def test_something_moves_in_every_clip_and_most_stands_still(clips):
    for _, clip in clips.values():
        changed = (clip.labels[1:] != clip.labels[:-1]).mean(axis=(1, 2))
        assert (changed > 0.002).all()
        assert (changed < 0.35).all()


def test_fewer_frames_show_the_same_event(clips):
    seed, clip = clips[0]
    ends = render_clip(seed, 2, CLIP_HW)
    np.testing.assert_array_equal(ends.labels, clip.labels[[0, -1]])


@cache
def stories():
    dice = Dice(np.random.default_rng(5))
    plan = random_plan(dice)
    return [random_story(dice, plan, zebra=10.0) for _ in range(120)]


def actors(label):
    """Return the tracks of every story with that label."""
    return [story.tracks for story in stories() if story.label == label]


@pytest.mark.parametrize(("label", "sign"), [(0, -1), (1, 1)])
def test_walkers_walk_where_the_label_says(label, sign):
    for (walker,) in actors(label):
        assert (np.sign(np.diff(walker.x)) == sign).all()


@pytest.mark.parametrize("label", [2, 3])
def test_followers_are_behind_in_the_direction_of_their_walk(label):
    for red, blue in actors(label):
        follower, leader = (red, blue) if label == 2 else (blue, red)
        direction = np.sign(np.diff(leader.x))
        assert (direction * (leader.x - follower.x)[1:] > 1).all()
        np.testing.assert_allclose(np.diff(leader.x), np.diff(follower.x))


def standing_seconds(track):
    return np.sum(track.speed() < 0.01) * (CLOCK[1] - CLOCK[0])


@pytest.mark.parametrize("label", [4, 5])
def test_who_stops_is_who_the_label_says(label):
    for person, first, second in actors(label):
        waiting, going = (second, person) if label == 4 else (person, second)
        assert standing_seconds(waiting) > 0.9
        assert standing_seconds(going) == 0
        assert standing_seconds(first) == 0


@pytest.mark.parametrize("label", [4, 5])
def test_nobody_is_run_over(label):
    for person, *cars in actors(label):
        for car in cars:
            assert isinstance(car.thing, Vehicle)
            beside = np.abs(person.x - car.x) < 1.0
            assert (np.abs(person.s - car.s)[beside] > 2.2).all()


@pytest.mark.parametrize("twins", [(2, 3), (4, 5)])
def test_the_first_frame_does_not_tell_twins_apart(twins):
    first, second = (
        np.array([[(track.x[0], track.s[0]) for track in tracks] for tracks in actors(label)])
        for label in twins
    )
    apart = np.abs(first.mean(axis=0) - second.mean(axis=0))
    assert (apart < np.concatenate([first, second]).std(axis=0) + 1e-9).all()


def test_a_mirrored_label_mirrors_back():
    assert [MIRRORED[MIRRORED[label]] for label in range(len(CLIP_LABELS))] == list(range(6))
    assert CLIP_LABELS[MIRRORED[CLIP_LABELS.index("walks left")]] == "walks right"


@pytest.mark.parametrize(("label", "sign"), [(0, -1), (1, 1)])
def test_a_walker_is_seen_where_the_label_says(clips, label, sign):
    labels = clips[label][1].labels == list(STREET_CLASSES).index("pedestrian")
    appeared, gone = labels[2] & ~labels[1], labels[1] & ~labels[2]
    columns = [np.flatnonzero(mask.any(axis=0)).mean() for mask in (gone, appeared)]
    assert np.sign(columns[1] - columns[0]) == sign


@pytest.mark.parametrize("frames", [0, 513])
def test_impossible_numbers_of_frames_are_refused(frames):
    with pytest.raises(ValueError, match=f"frames must be from 1 to 512, got {frames}"):
        render_clip(0, frames)
