import shutil
from math import prod

import published_files
import pytest
import torch
import video_files
from published_files import drawn, mmsegmentation

from nonlocal_lens.models import checkpoint, load_network
from nonlocal_lens.models.checkpoints.datasets import CLASSES
from nonlocal_lens.models.file_hash import file_sha256
from nonlocal_lens.models.published import PUBLISHED


def test_the_zoos_are_whole():
    heads = [name.partition("_")[0] for name in PUBLISHED]
    assert {head: heads.count(head) for head in heads} == {
        **{"nonlocal": 18, "dnl": 15, "gcnet": 29, "nonlocalnet": 12, "dnlnet": 12},
        **{"i3d": 7, "tsm": 3, "slowonly": 2, "c2d": 2, "I3D": 1},
    }
    assert sum(spec.sha256_prefix is not None for spec in PUBLISHED.values()) == 52


@pytest.mark.parametrize("spec", PUBLISHED.values(), ids=PUBLISHED)
def test_an_entry_agrees_with_itself(spec):
    assert spec.url.startswith("https://")
    assert 0.35 < spec.score < 0.85
    assert spec.metric == ("top-1" if spec.dataset == "Kinetics-400" else "mIoU")
    if spec.metric == "mIoU":
        assert spec.options["align_corners"] == (spec.crop == (769, 769))
        assert spec.options["long_side"] % 8 == 0
    assert len(CLASSES[spec.dataset]) in (19, 21, 150, 400)
    if spec.sha256_prefix is not None:
        assert spec.file_name.endswith(f"-{spec.sha256_prefix}.pth")
        assert len(spec.sha256_prefix) == 8


def test_a_value_worked_by_hand():
    spec = PUBLISHED["dnl_r101-d8_769x769_80k_cityscapes"]
    assert spec.title == ("Disentangled non-local, ResNet-101, Cityscapes, 769x769, 80k iterations")
    assert spec.url == (
        "https://download.openmmlab.com/mmsegmentation/v0.5/dnlnet/"
        "dnl_r101-d8_769x769_80k_cityscapes/"
        "dnl_r101-d8_769x769_80k_cityscapes_20200821_051111-95ff84ab.pth"
    )
    assert spec.crop == (769, 769)
    assert spec.score == pytest.approx(0.7941)


def test_a_network_of_sssegmentation_worked_by_hand():
    spec = PUBLISHED["dnlnet_resnet101os16_cityscapes"]
    assert spec.title == (
        "Disentangled non-local, ResNet-101, Cityscapes, 512x1024, output stride 16"
    )
    assert spec.url == (
        "https://github.com/SegmentationBLWX/modelstore/releases/download/ssseg_dnlnet/"
        "dnlnet_resnet101os16_cityscapes.pth"
    )
    assert (spec.score, spec.options["output_stride"]) == (pytest.approx(0.7867), 16)


def test_a_video_network_worked_by_hand():
    name = "slowonly_r50-in1k-pre-nl-embedded-gaussian_8xb16-4x16x1-steplr-150e_kinetics400-rgb"
    spec = PUBLISHED[name]
    assert spec.url == (
        "https://download.openmmlab.com/mmaction/v1.0/recognition/slowonly/"
        f"{name}/{name}_20220901-cf739c75.pth"
    )
    assert spec.options["frames"] == 4
    names = CLASSES[spec.dataset]
    assert (names[0], names[399]) == ("abseiling", "zumba")
    dot = "tsm_imagenet-pretrained-r50-nl-dot-product_8xb16-1x1x8-50e_kinetics400-rgb"
    assert (PUBLISHED[dot].options["form"], PUBLISHED[dot].options["frames"]) == ("dot_product", 8)
    assert PUBLISHED["c2d_nonlocal_32x2_IN_pretrain_400k"].options["code"] == "paper"


def megabytes(table):
    return 4 * sum(prod(shape) for shape in table.values()) / 1e6


@pytest.mark.parametrize(("head", "block"), [("nonlocal", "nl"), ("dnl", "dnl"), ("gcnet", "gc")])
@pytest.mark.parametrize("depth", ["50", "101"])
def test_a_segmentation_networks_size_is_that_of_its_tensors(monkeypatch, head, block, depth):
    sizes = {"STEM": (32, 32, 64), "WIDTHS": (64, 128, 256, 512), "HEAD": 512}
    sizes |= {"INNER": 256, "BOTTLENECK": 128, "AUXILIARY": 256, "CLASSES": 19}
    for name, value in sizes.items():
        monkeypatch.setattr(published_files, name, value)
    spec = PUBLISHED[f"{head}_r{depth}-d8_512x1024_40k_cityscapes"]
    assert spec.megabytes == pytest.approx(
        megabytes(mmsegmentation(f"{block}_block", f"r{depth}")), abs=1
    )
    assert spec.size == f"about {spec.megabytes} MB"
    monkeypatch.setattr(published_files, "AUXILIARY", 512)
    other = PUBLISHED[f"{head.removesuffix('net')}net_resnet{depth}os8_cityscapes"]
    expected = megabytes(published_files.sssegmentation(f"{block}_block", f"r{depth}"))
    assert other.megabytes == pytest.approx(expected, abs=1)


BY_TURNS = ((3, 3, 3), (3, 1, 3, 1), (3, 1, 3, 1, 3, 1), (1, 3, 1))
LATE = ((1,) * 3, (1,) * 4, (3,) * 6, (3,) * 3)
FLAT = ((1,) * 3, (1,) * 4, (1,) * 6, (1,) * 3)


@pytest.mark.parametrize(
    ("kinds", "stem", "spans"),
    [(("i3d", "I3D"), 5, BY_TURNS), (("slowonly",), 1, LATE), (("c2d", "tsm"), 1, FLAT)],
)
def test_a_video_networks_size_is_that_of_its_tensors(monkeypatch, kinds, stem, spans):
    sizes = {"STEM": 64, "WIDTHS": (64, 128, 256, 512), "CLASSES": 400}
    sizes |= {"SPANS": {"any": (stem, spans)}}
    sizes |= {"PLACES": ("layer2.1", "layer2.3", "layer3.1", "layer3.3", "layer3.5")}
    for name, value in sizes.items():
        monkeypatch.setattr(video_files, name, value)
    expected = megabytes(video_files.video("any"))
    specs = [spec for name, spec in PUBLISHED.items() if name.partition("_")[0] in kinds]
    assert specs
    for spec in specs:
        assert spec.megabytes == pytest.approx(expected, abs=1)
        assert ("or more" in spec.size) == spec.url.endswith(".pkl")  # Caffe2's momenta


def test_a_file_is_known_by_its_name_and_must_be_what_it_was(tmp_path, generator, monkeypatch):
    path = tmp_path / "any.pth"
    torch.save({"state_dict": drawn(mmsegmentation("dnl_block"), generator)}, path)
    spec = PUBLISHED["dnl_r50-d8_769x769_40k_cityscapes"]
    shutil.copy(path, tmp_path / spec.file_name)
    with pytest.raises(ValueError, match=r"is damaged: its sha256 must begin with 0f283785, got"):
        load_network(tmp_path / spec.file_name)

    options = {**spec.options, "classes": None}
    known = type(spec)(**{**vars(spec), "sha256_prefix": file_sha256(path)[:8], "options": options})
    monkeypatch.setattr(checkpoint, "PUBLISHED", {"known": known})
    network = load_network(tmp_path / spec.file_name)
    assert network.align_corners
    assert network.preprocess.long_side == (256, 768)
    assert not load_network(tmp_path / spec.file_name, align_corners=False).align_corners
    assert not load_network(path).align_corners


def test_a_published_name_is_downloaded_into_the_cache(tmp_path, generator, monkeypatch):
    monkeypatch.setenv("NONLOCAL_LENS_CACHE", str(tmp_path))
    spec = PUBLISHED["gcnet_r50-d8_769x769_40k_bdd100k"]
    assert spec.sha256_prefix is None
    tensors = drawn(mmsegmentation("gc_block"), generator)
    torch.save({"state_dict": tensors}, tmp_path / spec.file_name)
    with pytest.raises(ValueError, match="classes must be 13 names, got 19"):
        load_network("gcnet_r50-d8_769x769_40k_bdd100k")
    network = load_network("gcnet_r50-d8_769x769_40k_bdd100k", classes=("any",) * 13)
    assert network.align_corners
