"""What the viewer is sent of a clip."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from networks import tiny_clip_network, tiny_network
from payloads import unpack
from records import random_record

from nonlocal_lens.analysis import capture, terms
from nonlocal_lens.analysis.capture import capture_frames
from nonlocal_lens.analysis.clips import frames_of, read_clip
from nonlocal_lens.analysis.grid import Grid
from nonlocal_lens.analysis.scene import Records, Scene
from nonlocal_lens.analysis.tracking import cell_flow
from nonlocal_lens.app.batch.inputs import Source
from nonlocal_lens.app.export.page import payload_of
from nonlocal_lens.app.export.scene import Subject
from nonlocal_lens.app.viewer.payload import Shown, pack_all

FRAMES = np.random.default_rng(0).integers(0, 256, (5, 40, 56, 3), dtype=np.uint8)


def whole(records, frames=5):
    """Return the records of a network that looks at clips."""
    return Records(frames, tuple(records), of_clips=True)


def each(records):
    """Return the records of a network that looks at images: one of every frame."""
    return Records(len(records), tuple(records), of_clips=False)


def pack_clip(clip, over, *, title, alt="a", flow=None):
    """Return the payload of one network on a clip, taken apart."""
    config, tensors = unpack(pack_all(clip, [Shown(title, over, flow=flow)], alt=alt))
    return config, config["records"][0], tensors


@pytest.mark.parametrize("block", ["non_local", "disentangled", "dot_product", "concatenation"])
def test_a_record_with_frames_travels_whole(block):
    clip = read_clip(FRAMES)
    records = capture(tiny_clip_network(block), clip)
    config, spec, tensors = pack_clip(clip, whole(records), title="t")
    assert spec["spacetime"]
    assert spec["parts"] == 1
    assert spec["query_frames"] == spec["key_frames"] == [[0, 1, 2, 3, 4]]
    assert [frame["time"] for frame in config["frames"]] == pytest.approx(clip.times)
    assert tensors["0.query"].shape[0] == records[0].query_grid.positions == 175
    assert ("0.row" in tensors) == spec["signed"]
    assert all(tensors[f"frame.{frame}"][:2].tolist() == [0xFF, 0xD8] for frame in range(5))
    if block == "non_local":
        query, key, unary = (
            tensors[f"0.{name}"].astype(float) for name in ("query", "key", "unary")
        )
        logits = spec["scale"] * query @ key.T + unary
        expected = terms.attention(records[0], range(175)).double()
        found = torch.from_numpy(logits).softmax(dim=1)
        assert ((found - expected).abs() / expected).max() < 1e-2


def test_a_record_per_frame_travels_with_the_flow():
    clip = read_clip(FRAMES)
    records = [one for (one,) in capture_frames(tiny_network("non_local"), clip)]
    flow = cell_flow(clip.frames, records[0].query_grid)
    _, spec, tensors = pack_clip(clip, each(records), title="t", flow=flow)
    assert not spec.get("spacetime")
    assert spec["parts"] == 5
    assert tensors["0.4.query"].shape == records[4].query.shape
    assert tensors["0.flow.forward"].shape == (4, *records[0].query_grid.shape[1:], 2)
    assert spec["scale_top"] == max(
        pack_clip(read_clip(FRAMES[:1]), each([one]), title="t")[1]["scale_top"] for one in records
    )
    with pytest.raises(ValueError, match="5 frames need a record each, or one of all of them"):
        Records(5, tuple(records[:2]), of_clips=False)


def test_equal_contents_have_equal_names_and_others_others():
    clip = read_clip(FRAMES)
    records = capture(tiny_clip_network("non_local"), clip)
    one, same = (pack_clip(clip, whole(records), title="t")[0]["id"] for _ in range(2))
    other = pack_clip(clip, whole(records), title="u")[0]["id"]
    assert one == same != other


def test_pooled_frames_are_shown_by_the_one_in_their_middle():
    clip = read_clip(FRAMES)
    assert frames_of(clip, 5) == [0, 1, 2, 3, 4]
    assert frames_of(clip, 2) == [1, 3]


def test_groups_of_frames_are_parts_that_know_their_frames():
    clip = read_clip(FRAMES)
    (record,) = capture(tiny_clip_network("non_local"), clip)
    groups = [
        replace(
            record,
            query_grid=replace(record.query_grid, first_frame=first, frame_step=0.5),
            key_grid=replace(record.key_grid, first_frame=first, frame_step=0.5),
        )
        for first in (0.0, 2.5)
    ]
    _, spec, tensors = pack_clip(clip, whole(groups), title="t")
    assert spec["parts"] == 2
    assert spec["query_frames"] == [[1, 3, None, None, None], [None, None, 0, 2, 4]]
    assert tensors["0.1.query"].shape[0] == 175


def test_records_of_other_frames_are_refused():
    clip = read_clip(FRAMES)
    records = capture(tiny_clip_network("non_local"), clip)
    with pytest.raises(ValueError, match="t must have looked at the 5 frames shown, got 4"):
        pack_clip(clip, whole(records, 4), title="t")
    with pytest.raises(ValueError, match="t must have looked at the 5 frames shown, got 1"):
        pack_clip(clip, records[0], title="t")


def test_a_frame_by_frame_network_brings_its_classes():
    clip = read_clip(FRAMES)
    records = [one for (one,) in capture_frames(tiny_network("non_local"), clip)]
    outputs = [torch.randn(1, 11, 40, 56) for _ in records]
    config, tensors = unpack(pack_all(clip, [Shown("t", each(records), outputs)], alt="a"))
    assert {f"0.{frame}.prediction" for frame in range(5)} <= set(tensors)
    assert sum(one["share"] for one in config["records"][0]["classes"]) == pytest.approx(1)


def test_every_network_of_an_exported_page_has_the_flow_of_its_own_cells(generator):
    clip = read_clip(FRAMES)
    first = random_record(generator)
    second = replace(first, query_grid=Grid.tiling((40, 56), 7, 5))
    records = {
        name: Records(5, (one,) * 5, False) for name, one in [("first", first), ("second", second)]
    }
    flow = cell_flow(clip.frames, first.query_grid)
    scene = Scene(clip.frames, clip.times, records, flow=flow)
    seen = Subject(Source("walk", "walk"), clip, scene, [], {})
    config, tensors = unpack(payload_of(seen, {}, alt="a"))
    assert [one["title"] for one in config["records"]] == ["first", "second"]
    for index, grid in enumerate((first.query_grid, second.query_grid)):
        expected = cell_flow(clip.frames, grid)
        for way in ("forward", "backward"):
            found = tensors[f"{index}.flow.{way}"]
            assert found.shape == (4, grid.height, grid.width, 2)
            assert np.array_equal(found, getattr(expected, way), equal_nan=True)


def test_a_restricted_block_says_what_its_queries_look_at():
    clip = read_clip(FRAMES)
    for block, part in (("non_local", None), ("space_only", "frame"), ("time_only", "place")):
        records = capture(tiny_clip_network(block), clip)
        _, spec, _ = pack_clip(clip, whole(records), title="t")
        assert spec["reach"] == part
