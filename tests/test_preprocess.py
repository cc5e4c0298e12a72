import numpy as np
import pytest
import torch

from nonlocal_lens.models.preprocess import ClipPreprocess, Preprocess


@pytest.mark.parametrize(
    ("original_hw", "input_hw"),
    [
        ((360, 480), (360, 480)),  # CamVid as it is
        ((512, 512), (512, 512)),
        ((3000, 4000), (384, 512)),
        ((97, 1511), (32, 512)),
        ((64, 48), (256, 192)),
        ((8, 512), (8, 512)),
    ],
    ids=str,
)
def test_the_network_sees_multiples_of_its_stride(original_hw, input_hw):
    assert Preprocess().input_hw(original_hw) == input_hw
    pixels = Preprocess()(np.zeros((*original_hw, 3), np.uint8))
    assert pixels.shape == (1, 3, *input_hw)


def test_pixels_are_scaled_and_normalized_per_channel():
    image = np.full((256, 256, 3), (255, 0, 51), np.uint8)
    expected = [(1 - 0.485) / 0.229, (0 - 0.456) / 0.224, (0.2 - 0.406) / 0.225]
    torch.testing.assert_close(Preprocess()(image)[0, :, 5, 7], torch.tensor(expected))


def test_a_clip_is_its_frames_stacked_over_time():
    clip = np.random.default_rng(0).integers(0, 256, (5, 256, 264, 3), np.uint8)
    made = ClipPreprocess(Preprocess(), frames=5)(clip)
    assert made.shape == (1, 3, 5, 256, 264)
    torch.testing.assert_close(made[:, :, 3], Preprocess()(clip[3]))
