"""What every look at a network gives it: one input, of its own type, device, channels and size."""

import warnings

import numpy as np
import pytest
import torch
from networks import tiny_clip_network, tiny_network
from torch import nn

from nonlocal_lens.analysis import capture
from nonlocal_lens.analysis.another_image import prepared_another
from nonlocal_lens.analysis.attribution import attributions
from nonlocal_lens.analysis.capture import observe
from nonlocal_lens.analysis.early_exit import observe_blocks
from nonlocal_lens.analysis.effects import effects
from nonlocal_lens.analysis.prepared import decisions_of, prepared
from nonlocal_lens.analysis.watch import watch as watch_training
from nonlocal_lens.app.changes import changes
from nonlocal_lens.app.pictures import Picture
from nonlocal_lens.models.blocks import NonLocalBlock
from nonlocal_lens.models.preprocess import Preprocess, resized

IMAGE = np.random.default_rng(0).integers(0, 256, (41, 59, 3), dtype=np.uint8)


class Cells(nn.Module):
    """Cells of 8 x 8 pixels, a block and scores; keeps the inputs that it was given."""

    def __init__(self, channels=3):
        super().__init__()
        torch.manual_seed(0)
        self.seen = []
        self.cells = nn.Conv2d(channels, 7, 8, stride=8)
        self.block = NonLocalBlock(7, init="awake")
        self.scores = nn.Conv2d(7, 11, 1)

    def forward(self, x):
        self.seen.append(x.detach().clone())
        return self.scores(self.block(self.cells(x)))


def by_hand(image, mean, std):
    """Normalize an image of the network's size, in double precision."""
    values = (image.astype(np.float64) / 255 - np.array(mean)) / np.array(std)
    return torch.from_numpy(values).permute(2, 0, 1)[None]


def test_capture_attribution_interventions_and_early_exit_look_at_one_input():
    network = Cells()
    network.pretrained_cfg = {"mean": (0.2, 0.5, 0.7), "std": (0.5, 0.25, 0.75)}
    network.image_size = 40, 56
    image = IMAGE[:40, :56]
    observe(network, image)
    observe_blocks(network, image, to_the_end=False)
    effects(network, image)
    attributions(network, image, 3, methods=("saliency",))
    changes(network, Picture("noise", image, "noise", "noise.png"), (40, 56))
    expected = by_hand(image, (0.2, 0.5, 0.7), (0.5, 0.25, 0.75)).float()
    another = prepared_another(network, image)
    assert len(network.seen) > 10
    others = [x for x in network.seen if not torch.allclose(x, expected, atol=1e-4)]
    assert 0 < len(others) <= 4, "another image is looked at by interventions alone"
    for x in others:
        torch.testing.assert_close(x, another)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_input_has_the_type_of_the_networks_numbers(dtype):
    network = tiny_network("non_local").to(dtype)
    assert prepared(network, IMAGE)[1].dtype == dtype
    (record,) = capture(network, IMAGE)
    assert record.query.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
    (single,) = capture(tiny_network("non_local"), IMAGE)
    closeness = {torch.float16: 1e-2, torch.bfloat16: 8e-2, torch.float64: 1e-5}[dtype]
    difference = (record.query.double() - single.query.double()).norm()
    assert difference <= closeness * single.query.double().norm()
    effects(network, IMAGE)
    observe_blocks(network, IMAGE)


def test_the_input_is_where_the_network_is():
    network = tiny_network("non_local").to("meta")
    assert prepared(network, IMAGE)[1].is_meta
    with pytest.raises(ValueError, match="on the meta device, where weights have shapes"):
        capture(network, IMAGE)


def test_a_network_built_on_a_gpu_gets_its_input_there():
    from torch._subclasses.fake_tensor import FakeTensorMode

    with FakeTensorMode(allow_non_fake_inputs=True), torch.device("cuda"):
        network = Cells()
        assert prepared(network, IMAGE)[1].device.type == "cuda"


def test_training_is_watched_in_the_networks_type():
    network = Cells().double()
    watcher = watch_training(network, [torch.rand(1, 3, 40, 56)])
    assert len(watcher.rows) == 1
    assert network.seen[-1].dtype == torch.float64


@pytest.mark.parametrize("gray", [IMAGE[..., 0], IMAGE[..., :1], np.repeat(IMAGE[..., :1], 3, 2)])
def test_a_gray_picture_reaches_a_network_for_gray_ones_as_its_values_are(gray):
    network = Cells(1)
    network.image_size = IMAGE.shape[:2]
    x = prepared(network, gray)[1]
    assert torch.equal(x[0, 0], torch.from_numpy(IMAGE[..., 0]) / 255)
    assert torch.equal(prepared(network, torch.from_numpy(IMAGE[..., 0])[None] / 255)[1], x)
    capture(network, gray)


def test_colors_become_gray_and_that_is_said():
    network = Cells(1)
    network.image_size = IMAGE.shape[:2]
    network.pretrained_cfg = {"mean": (0.3, 0.5, 0.7), "std": (0.25, 0.25, 0.25)}
    x = prepared(network, IMAGE)[1]
    luma = IMAGE.astype(np.float64) @ [0.299, 0.587, 0.114] / 255
    torch.testing.assert_close(x[0, 0], torch.from_numpy((luma - 0.5) / 0.25).float())
    assert any("colors become gray" in decision for decision in decisions_of(network))


def test_a_network_of_other_channels_gets_arrays_of_its_own():
    network = Cells(5)
    network.image_size = IMAGE.shape[:2]
    values = np.concatenate((IMAGE, IMAGE[..., 1:] // 2), axis=2)
    pixels, x = prepared(network, values)
    assert np.array_equal(pixels, IMAGE)
    assert torch.equal(x[0], torch.from_numpy(values).permute(2, 0, 1) / 255)
    assert torch.equal(prepared(network, x[0])[1], x)
    assert len(capture(network, values)) == 1
    with pytest.raises(ValueError, match=r"takes 5 channels: it must be given .*\(41, 59, 3\)"):
        capture(network, IMAGE)
    assert any("5 channels in [0, 1]" in decision for decision in decisions_of(network))


@pytest.mark.parametrize(
    "wrap", ["DataParallel", "AveragedModel", "compile", "ModelEmaV2", "twice"]
)
def test_a_wrapper_changes_nothing(wrap):
    network = Cells().eval()
    network.image_size = 40, 56
    wrapped = {
        "DataParallel": nn.DataParallel,
        "AveragedModel": torch.optim.swa_utils.AveragedModel,
        "compile": torch.compile,
        "ModelEmaV2": pytest.importorskip("timm").utils.ModelEmaV2,
        "twice": lambda inner: nn.DataParallel(torch.compile(inner)),
    }[wrap](network)
    (expected,) = capture(network, IMAGE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (record,) = capture(wrapped, IMAGE)
    assert (record.block, record.query_grid) == ("block", expected.query_grid)
    assert torch.equal(record.query, expected.query)
    plain = effects(network, IMAGE)
    for how, found in effects(wrapped, IMAGE).items():
        assert torch.equal(found.kl_nats, plain[how].kl_nats)
    assert plain["off"].mean_kl_nats > 0


def test_timms_first_average_is_a_wrapper_too_and_other_things_are_refused(as_users_run):
    network = Cells().eval()
    average = pytest.importorskip("timm").utils.ModelEma(network)
    assert torch.equal(capture(average, IMAGE)[0].query, capture(network, IMAGE)[0].query)
    with pytest.raises(ValueError, match=r"must be a torch\.nn\.Module, .* got dict"):
        capture({"state_dict": 3}, IMAGE)


@pytest.mark.parametrize(
    "batch",
    [IMAGE[None], torch.from_numpy(IMAGE).permute(2, 0, 1)[None], torch.rand(1, 3, 41, 59)],
    ids=["array", "bytes", "floats"],
)
def test_a_batch_of_one_is_its_picture(batch):
    for network in (Cells(), tiny_clip_network("non_local")):
        pixels, x = prepared(network, batch)
        alone, expected = prepared(network, batch[0])
        assert np.array_equal(pixels, alone)
        assert torch.equal(x, expected)


def test_a_batch_of_one_clip_is_its_clip():
    clip = np.random.default_rng(1).integers(0, 256, (1, 3, 40, 56, 3), dtype=np.uint8)
    network = tiny_clip_network("non_local")
    assert torch.equal(prepared(network, clip)[1], prepared(network, clip[0])[1])


def test_training_mode_comes_back_and_has_no_part_in_what_is_read():
    network = tiny_network("non_local")
    before = capture(network, IMAGE)[0]
    network.train()
    assert torch.equal(capture(network, IMAGE)[0].query, before.query)
    assert network.training


def eight_bits():
    network = Cells()
    network.scores.register_parameter(
        "scale", nn.Parameter(torch.zeros(3, dtype=torch.int8), requires_grad=False)
    )
    return network


def dynamically_quantized():
    from torch.ao.nn.quantized.dynamic import Linear

    return nn.Sequential(Cells(), Linear(3, 3))


@pytest.mark.filterwarnings("ignore:torch.quantize_per_tensor")
@pytest.mark.parametrize("make", [eight_bits, dynamically_quantized])
def test_quantized_weights_are_refused_in_a_sentence(make):
    with pytest.raises(ValueError, match=r"is quantized .* load it in one of these"):
        capture(make(), IMAGE)


def test_what_nothing_tells_is_said_and_logged_once(caplog):
    network = Cells()
    said = "ImageNet's mean and deviation, as nothing tells its own"
    assert any(said in decision for decision in decisions_of(network))
    prepared(network, IMAGE)
    assert [said in record.getMessage() for record in caplog.records] == [True]
    caplog.clear()
    network = Cells()
    network.preprocess = Preprocess()
    assert decisions_of(network) == ()
    assert not caplog.records


@pytest.mark.parametrize("how", ["nearest-exact", "bilinear", "bicubic"])
@pytest.mark.parametrize("hw", [(16, 23), (224, 224), (7, 401)])
def test_pictures_are_resized_as_torchvision_does_it_to_the_last_bit(how, hw):
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2 import functional as TF

    draws = np.random.default_rng(0)
    picture = draws.integers(0, 256, (37, 53, 3), dtype=np.uint8)
    images = torch.from_numpy(picture).permute(2, 0, 1)[None]
    mode = InterpolationMode(how)
    expected = TF.resize(images, list(hw), interpolation=mode, antialias=True)
    assert torch.equal(resized(images, hw, how), expected)
    preprocess = Preprocess()
    normalized = TF.normalize(images / 255, list(preprocess.mean), list(preprocess.std))
    assert torch.equal(preprocess.normalize(images), normalized)
