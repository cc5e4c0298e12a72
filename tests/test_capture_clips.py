import numpy as np
import pytest
import torch
from networks import tiny_clip_network, tiny_network
from test_capture import hooks_of
from torch import nn

from nonlocal_lens.analysis import capture, terms
from nonlocal_lens.analysis.capture import capture_frames, observe, observe_frames, takes_clips
from nonlocal_lens.analysis.clips import read_clip
from nonlocal_lens.models.blocks import NonLocalBlock

CLIP = np.random.default_rng(0).integers(0, 256, (5, 40, 56, 3), dtype=np.uint8)


@pytest.mark.parametrize("block", ["non_local", "disentangled"])
def test_a_network_for_clips_gives_a_record_with_frames(block):
    network = tiny_clip_network(block)
    (record,) = capture(network, CLIP)
    assert record.query_grid.shape == (5, 5, 7)
    assert record.query_grid.image_hw == (40, 56)
    assert record.key_grid.shape == (5, 5, 7)
    rows = terms.attention(record, [3]).sum(dim=1)
    assert rows.item() == pytest.approx(2 if block == "disentangled" else 1)
    with torch.no_grad():
        plain = network(network.preprocess(CLIP))
    seen = observe(network, CLIP)
    assert torch.equal(seen.output, plain)
    assert seen.image.shape == CLIP.shape
    assert not hooks_of(network)


def test_clips_tensors_and_paths_give_the_same_record(tmp_path):
    from PIL import Image

    network = tiny_clip_network("non_local")
    for number, frame in enumerate(CLIP):
        Image.fromarray(frame).save(tmp_path / f"{number}.png")
    sources = [read_clip(CLIP), torch.from_numpy(CLIP).permute(0, 3, 1, 2), tmp_path]
    (record,) = capture(network, CLIP)
    for source in sources:
        (other,) = capture(network, source)
        assert torch.equal(record.query, other.query)
    (still,) = capture(network, CLIP[0])
    assert still.query_grid.frames == 1


def test_keys_may_be_pooled_in_time():
    class Pooled(NonLocalBlock):
        def project(self, x):
            whole = super().project(x)
            pooled = super().project(nn.functional.max_pool3d(x, (2, 1, 1)))
            return whole._replace(key=pooled.key, value=pooled.value, key_shape=pooled.query_shape)

    network = tiny_clip_network("non_local")
    network.block = Pooled(6, dimension=3)
    (record,) = capture(network, CLIP)
    assert record.query_grid.shape == (5, 5, 7)
    assert record.key_grid.shape == (2, 5, 7)


def test_a_network_for_images_runs_frame_by_frame():
    network = tiny_network("disentangled")
    frames = capture_frames(network, CLIP)
    assert len(frames) == 5
    for frame, (record,) in zip(CLIP, frames, strict=True):
        (alone,) = capture(network, frame)
        assert torch.equal(record.query, alone.query)
    outputs = [seen.output for seen in observe_frames(network, read_clip(CLIP, stride=2))]
    assert len(outputs) == 3
    assert torch.equal(outputs[1], observe(network, CLIP[2]).output)


def test_networks_and_clips_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"looks at single images .*capture_frames"):
        capture(tiny_network("non_local"), CLIP)
    with pytest.raises(ValueError, match="looks at whole clips"):
        capture_frames(tiny_clip_network("non_local"), CLIP)


def test_what_a_network_looks_at_is_told_by_its_preprocessing_or_its_layers():
    assert takes_clips(tiny_clip_network("non_local"))
    assert not takes_clips(tiny_network("non_local"))
    assert takes_clips(nn.Sequential(nn.Conv3d(3, 4, 1), NonLocalBlock(4, dimension=3)))
    (record,) = capture(
        nn.Sequential(nn.Conv3d(3, 4, (1, 8, 8), (1, 8, 8)), NonLocalBlock(4, dimension=3)), CLIP
    )
    assert record.query_grid.frames == 5
