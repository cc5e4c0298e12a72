from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from networks import tiny_clip_network, tiny_network
from payloads import unpack
from records import random_record

from analysis import capture, terms
from analysis.capture import capture_frames
from analysis.clips import frames_of, read_clip
from analysis.grid import Grid
from analysis.tracking import cell_flow
from app.batch.inputs import Source
from app.export.clip_page import film_payloads
from app.export.clip_seeing import SeenClip
from app.filmstrip import FILM_STRIP
from app.filmstrip.payload import pack_clip
from app.viewer.bundle import joined

FRAMES = np.random.default_rng(0).integers(0, 256, (5, 40, 56, 3), dtype=np.uint8)
FILMSTRIP = Path(__file__).parents[1] / "app" / "filmstrip"


@pytest.mark.parametrize("block", ["non_local", "disentangled", "dot_product", "concatenation"])
def test_a_record_with_frames_travels_whole(block):
    clip = read_clip(FRAMES)
    records = capture(tiny_clip_network(block), clip)
    config, tensors = unpack(pack_clip(clip, records, title="t", alt="a", query=(1, 2.5, 3)))
    assert config["spacetime"]
    assert len(config["records"]) == 1
    assert [frame["time"] for frame in config["frames"]] == pytest.approx(clip.times)
    assert config["query"] == {"frame": 1, "x": 2.5, "y": 3}
    assert tensors["0.query"].shape[0] == records[0].query_grid.positions == 175
    assert ("0.row" in tensors) == config["scale"]["signed"]
    assert all(tensors[f"frame.{frame}"][:2].tolist() == [0xFF, 0xD8] for frame in range(5))
    if block == "non_local":
        query, key, unary = (
            tensors[f"0.{name}"].astype(float) for name in ("query", "key", "unary")
        )
        logits = config["records"][0]["scale"] * query @ key.T + unary
        expected = terms.attention(records[0], range(175)).double()
        found = torch.from_numpy(logits).softmax(dim=1)
        assert ((found - expected).abs() / expected).max() < 1e-2


def test_a_record_per_frame_travels_with_the_flow():
    clip = read_clip(FRAMES)
    records = [one for (one,) in capture_frames(tiny_network("non_local"), clip)]
    flow = cell_flow(clip.frames, records[0].query_grid)
    config, tensors = unpack(pack_clip(clip, records, title="t", alt="a", flow=flow))
    assert not config["spacetime"]
    assert len(config["records"]) == 5
    assert tensors["flow.forward"].shape == (4, *records[0].query_grid.shape[1:], 2)
    assert config["scale"]["scale_top"] == max(
        unpack(pack_clip(read_clip(FRAMES[:1]), [one], title="t", alt=""))[0]["scale"]["scale_top"]
        for one in records
    )
    with pytest.raises(ValueError, match="a clip of 5 frames needs one record with frames or 5"):
        pack_clip(clip, records[:2], title="t", alt="a")


def test_equal_contents_have_equal_names_and_others_others():
    clip = read_clip(FRAMES)
    records = capture(tiny_clip_network("non_local"), clip)
    one, same = (unpack(pack_clip(clip, records, title="t", alt="a"))[0]["id"] for _ in range(2))
    other = unpack(pack_clip(clip, records, title="u", alt="a"))[0]["id"]
    assert one == same != other


def test_pooled_frames_are_shown_by_the_one_in_their_middle():
    clip = read_clip(FRAMES)
    assert frames_of(clip, 5) == [0, 1, 2, 3, 4]
    assert frames_of(clip, 2) == [1, 3]


def test_the_film_strip_is_one_text():
    text = joined((*FILM_STRIP, FILMSTRIP / "page.js"))
    assert "\nimport " not in text
    assert "http" not in text.replace("http://www.w3.org/2000/svg", "")


def test_every_network_of_an_exported_page_has_the_flow_of_its_own_cells(generator):
    clip = read_clip(FRAMES)
    first = random_record(generator)
    second = replace(first, query_grid=Grid.tiling((40, 56), 7, 5))
    records = {"first": (first,) * 5, "second": (second,) * 5}
    flow = cell_flow(clip.frames, first.query_grid)
    seen = SeenClip(Source("walk", "walk"), clip, records, [], flow)
    payloads = film_payloads(seen)
    for title, grid in (("first", first.query_grid), ("second", second.query_grid)):
        _, tensors = unpack(payloads[title])
        expected = cell_flow(clip.frames, grid)
        for way in ("forward", "backward"):
            assert tensors[f"flow.{way}"].shape == (4, grid.height, grid.width, 2)
            assert np.array_equal(tensors[f"flow.{way}"], getattr(expected, way), equal_nan=True)


def test_a_restricted_block_says_what_its_queries_look_at():
    clip = read_clip(FRAMES)
    for block, part in (("non_local", None), ("space_only", "frame"), ("time_only", "place")):
        records = capture(tiny_clip_network(block), clip)
        config, _ = unpack(pack_clip(clip, records, title="t", alt="a"))
        assert config["records"][0]["reach"] == part
