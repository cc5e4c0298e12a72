"""Every frame of a clip has its own attention: of all frames, of a group of them, of itself."""

import csv

import numpy as np
import pytest
import torch
from networks import tiny_clip_network, tiny_network

from nonlocal_lens.analysis import capture, terms
from nonlocal_lens.analysis.capture import capture_frames
from nonlocal_lens.analysis.clips import read_clip
from nonlocal_lens.analysis.figures.panels import MapPanel, PhotoPanel, frame_rows
from nonlocal_lens.analysis.scene import Place, Records, Scene, middle_frame, records_over
from nonlocal_lens.app.export.options import Options
from nonlocal_lens.app.notebook import explore

FRAMES = np.random.default_rng(0).integers(0, 256, (14, 40, 56, 3), dtype=np.uint8)


def over(network, frames):
    clip = read_clip(frames, stride=1, frames=len(frames))
    return records_over([capture(network, clip)], len(frames), of_clips=True)


def scene_of(network, frames):
    return Scene(frames, np.arange(len(frames)) / 10, {"net": over(network, frames)})


@pytest.mark.parametrize(("step", "group", "frames"), [(1, 3, 7), (2, 3, 14), (1, 5, 5), (2, 2, 6)])
def test_groups_of_frames_tell_which_frames_they_are_of(step, group, frames):
    found = over(tiny_clip_network(step=step, group=group), FRAMES[:frames])
    of = frames // step
    firsts = range(0, of, group)
    if of > group:
        assert [record.query_grid.first_frame for record in found.records] == [
            step * first for first in firsts
        ]
    assert [record.query_grid.frames for record in found.records] == [
        min(group, of - first) for first in firsts
    ]
    for frame in range(frames):
        record, at = found.at(frame)
        assert record.query_grid.first_frame / step + at == frame // step
        assert found.key_frame(record, frame) == at
        others = [one for one in found.records if one is not record]
        assert all(found.key_frame(one, frame) is None for one in others)
        assert middle_frame(record.query_grid, at, frames) // step == frame // step


def test_a_group_s_attention_is_laid_over_its_own_frames_alone():
    network = tiny_clip_network(step=2, group=3)
    seen = scene_of(network, FRAMES)
    records = seen.records["net"].records
    for frame, group in ((1, 0), (7, 1), (13, 2)):
        record = records[group]
        rows = frame_rows(seen, Place(frame, 20, 10), ("whole",))
        cell = record.query_grid.cell_at(x=20, y=10, frame=frame // 2 - 3 * group)
        expected = terms.attention(record, [record.query_grid.position(cell)])[0]
        expected = (expected * record.key_grid.positions).reshape(record.key_grid.shape)
        for at, (panel,) in enumerate(rows):
            if at // 2 // 3 == group:
                assert isinstance(panel, MapPanel)
                np.testing.assert_allclose(panel.values, expected[at // 2 - 3 * group], rtol=1e-6)
                assert (panel.query is not None) == (at == frame)
            else:
                assert isinstance(panel, PhotoPanel), "this query never looks there"


def test_a_group_s_own_pixels_are_all_that_moves_its_maps():
    """Held by perturbation: what the drawing says a query sees is what its map depends on."""
    network = tiny_clip_network(step=2, group=3)
    place = Place(7, 20, 10)
    before = frame_rows(scene_of(network, FRAMES), place, ("whole",))
    drawn = [at for at, (panel,) in enumerate(before) if isinstance(panel, MapPanel)]
    moving = []
    for frame in range(14):
        other = FRAMES.copy()
        other[frame] = 255 - other[frame]
        after = frame_rows(scene_of(network, other), place, ("whole",))
        if any(not np.array_equal(before[at][0].values, after[at][0].values) for at in drawn):
            moving.append(frame)
    assert drawn == moving == [6, 7, 8, 9, 10, 11]


def test_groups_joined_reach_their_own_frames():
    found = over(tiny_clip_network(step=2, group=3), FRAMES)
    joined = found.joined()
    assert joined.query_grid.frames == 7
    start = 0
    for record in found.records:
        stop = start + len(record.query)
        rows = terms.attention(joined, range(start, stop))
        torch.testing.assert_close(
            rows[:, start:stop], terms.attention(record, range(stop - start))
        )
        assert rows[:, :start].abs().max().nan_to_num() == 0 if start else True
        assert rows[:, stop:].abs().sum() == 0
        start = stop
    with pytest.raises(ValueError, match="softmax"):
        over(tiny_clip_network("dot_product", group=3), FRAMES).joined()


@pytest.mark.parametrize(
    ("network", "of_clips"), [(tiny_clip_network(step=2), True), (None, False)]
)
@pytest.mark.parametrize("frames", [1, 2])
def test_the_network_tells_whether_it_looks_at_clips_no_shape_does(network, of_clips, frames):
    """Two frames that a stem makes one of look like a picture's record by their shape."""
    frames = FRAMES[: 2 * frames] if of_clips else FRAMES[:frames]
    clip = read_clip(frames, stride=1, frames=len(frames))
    passes = (
        [capture(network, clip)] if of_clips else capture_frames(tiny_network("non_local"), clip)
    )
    found = records_over(passes, len(frames), of_clips=of_clips)
    seen = Scene(frames, clip.times, {"net": found})
    rows = frame_rows(seen, Place(len(frames) - 1, 20, 10), ("input", "whole"))
    assert len(rows) == len(frames)
    assert all(isinstance(row[1], MapPanel) for row in rows)
    marked = [frame for frame, row in enumerate(rows) if row[1].query]
    assert marked == ([len(frames) - 1] if of_clips else list(range(len(frames))))


@pytest.fixture
def grouped(monkeypatch):
    from batches import know_by_name, loaded

    networks = {
        "groups": loaded("groups", tiny_clip_network(step=2, group=3), "0" * 64),
        "pooled": loaded("pooled", tiny_clip_network(step=2), "1" * 64),
    }
    know_by_name(monkeypatch, networks)
    return networks


@pytest.mark.usefixtures("grouped")
@pytest.mark.parametrize(("network", "frames"), [("groups", 14), ("pooled", 2)])
def test_such_clips_become_files(tmp_path, network, frames):
    from PIL import Image

    from nonlocal_lens.app.export.run import export

    folder = tmp_path / "walk"
    folder.mkdir()
    for number, frame in enumerate(FRAMES[:frames]):
        Image.fromarray(frame).save(folder / f"{number}.png")
    options = Options.build(
        {
            "inputs": [str(folder)],
            "networks": [network],
            "queries": ["1,20,10", "auto:1"],
            "formats": "png,mp4,html,safetensors",
            "frames": frames,
            "arrows": 3,
            "dpi": 100,
            "width_in": 4,
        }
    )
    assert export(options, tmp_path / "out").errors == 0
    names = {path.name for path in (tmp_path / "out").glob("*.safetensors")}
    groups = {f"walk.groups.f{first:03d}.safetensors" for first in (0, 6, 12)}
    assert names == (groups if network == "groups" else {"walk.pooled.safetensors"})


def distance_of_input(network, record):
    """Return the mean of (1 - cos) / 2 over all pairs of what a group's block was given."""
    pixels = network.preprocess(FRAMES)
    start = int(record.query_grid.first_frame)
    with torch.no_grad():
        x = network.stem(pixels)[0, :, start // 2 : start // 2 + record.query_grid.frames]
    unit = torch.nn.functional.normalize(x.flatten(1).T.double(), dim=1)
    return ((1 - unit @ unit.T) / 2).mean().item()


def test_rows_of_groups_are_of_their_own_frames(tmp_path, grouped):
    from PIL import Image

    from nonlocal_lens.app.stats.options import Options as StatsOptions
    from nonlocal_lens.app.stats.run import measure_all

    folder = tmp_path / "walk"
    folder.mkdir()
    for number, frame in enumerate(FRAMES):
        Image.fromarray(frame).save(folder / f"{number}.png")
    options = StatsOptions(inputs=(str(folder),), networks=("groups",), frames=14)
    assert measure_all(options, tmp_path / "a.csv", jobs=1).errors == 0
    with (tmp_path / "a.csv").open() as file:
        rows = list(csv.DictReader(file))
    frames = [int(row["frame"]) for row in rows if row["frame"]]
    assert frames == [1, 3, 5, 7, 9, 11, 13]
    wholes = [row["note"] for row in rows if not row["frame"]]
    assert [words.partition(",")[0] for words in wholes] == [
        f"of the frames {first} to {last} alone" for first, last in ((0, 5), (6, 11), (12, 13))
    ]
    for row, record in zip(
        (row for row in rows if not row["frame"]),
        over(grouped["groups"].module, FRAMES).records,
        strict=True,
    ):
        alone = distance_of_input(grouped["groups"].module, record)
        assert float(row["input_cosine_distance"]) == pytest.approx(alone, rel=1e-4)


def test_a_notebook_shows_each_group_over_its_own_frames():
    film = explore(tiny_clip_network(step=2, group=3), read_clip(FRAMES, stride=1, frames=14))
    film.queries = [(13, 20, 10)]
    (records,) = film.records.values()
    assert [record.query_grid.first_frame for record in records] == [0, 6, 12]
    assert film.over_time()["frame"].tolist() == list(range(7))
    assert film._repr_html_()


def test_frames_that_no_record_has_seen_are_named():
    found = over(tiny_clip_network(group=3), FRAMES[:6])
    half = Records(6, found.records[:1], of_clips=True)
    with pytest.raises(ValueError, match="did not look at frame 4 of 6"):
        half.at(4)
