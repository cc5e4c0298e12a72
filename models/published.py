"""Published networks that can be downloaded by name. Data only: another network is another row."""

import re
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class PublishedSpec:
    """What is known about a published checkpoint, as its authors report it."""

    title: str
    dataset: str
    crop: tuple[int, int]  # height and width of the training crops, in pixels
    metric: str  # what `score` is: "mIoU" at a single scale, or "top-1" accuracy over many crops
    score: float  # on the data set's validation split, 0 to 1
    url: str
    sha256_prefix: str | None  # the start of the file's SHA-256, where its name carries it
    megabytes: int  # of the weights in single precision; the file may hold more than these
    license: str
    options: dict[str, Any]  # what no tensor tells: arguments of the layout's `plan`

    @property
    def file_name(self) -> str:
        """Return the last part of the URL."""
        return self.url.rpartition("/")[2]

    @property
    def size(self) -> str:
        """Return in words how much there is to download, as its architecture tells."""
        if self.url.endswith(".pkl"):  # Caffe2's programs save the optimizer's momenta, too
            return f"{self.megabytes} MB or more"
        return f"about {self.megabytes} MB"


_HEADS = {
    "nonlocal": ("nonlocal_net", "Non-local"),
    "dnl": ("dnlnet", "Disentangled non-local"),
    "gcnet": ("gcnet", "Global context"),
}
_DATASETS = {
    "cityscapes": "Cityscapes",
    "ade20k": "ADE20K",
    "voc12aug": "Pascal VOC 2012",
    "bdd100k": "BDD100K",
}

_MEGABYTES = {
    **{"nonlocal 50": 200, "nonlocal 101": 277, "dnl 50": 200, "dnl 101": 277},
    **{"gcnet 50": 199, "gcnet 101": 275, "i3d": 142, "slowonly": 160, "tsm": 127, "c2d": 127},
}
"""Of heads and depths of backbones, and of video networks, all of them ResNet-50; the number of
classes changes them by less than one. `tests/test_published.py` counts them."""
_WIDER_AUXILIARY = 9  # more megabytes in sssegmentation's files: 512 channels instead of 256

_MMSEGMENTATION = """
nonlocal_r50-d8_512x1024_40k_cityscapes 20200605_210748-c75e81e3 78.24
nonlocal_r101-d8_512x1024_40k_cityscapes 20200605_210748-d63729fa 78.66
nonlocal_r50-d8_769x769_40k_cityscapes 20200530_045243-82ef6749 78.33
nonlocal_r101-d8_769x769_40k_cityscapes 20200530_045348-8fe9a9dc 78.57
nonlocal_r50-d8_512x1024_80k_cityscapes 20200607_193518-d6839fae 78.01
nonlocal_r101-d8_512x1024_80k_cityscapes 20200607_183411-32700183 78.93
nonlocal_r50-d8_769x769_80k_cityscapes 20200607_193506-1f9792f6 79.05
nonlocal_r101-d8_769x769_80k_cityscapes 20200607_183428-0e1fa4f9 79.4
nonlocal_r50-d8_512x512_80k_ade20k 20200615_015801-5ae0aa33 40.75
nonlocal_r101-d8_512x512_80k_ade20k 20200615_015758-24105919 42.9
nonlocal_r50-d8_512x512_160k_ade20k 20200616_005410-baef45e3 42.03
nonlocal_r101-d8_512x512_160k_ade20k 20210827_221502-7881aa1a 44.63
nonlocal_r50-d8_512x512_20k_voc12aug 20200617_222613-07f2a57c 76.2
nonlocal_r101-d8_512x512_20k_voc12aug 20200617_222615-948c68ab 78.15
nonlocal_r50-d8_512x512_40k_voc12aug 20200614_000028-0139d4a9 76.65
nonlocal_r101-d8_512x512_40k_voc12aug 20200614_000028-7e5ff470 78.27
dnl_r50-d8_512x1024_40k_cityscapes 20200904_233629-53d4ea93 78.61
dnl_r101-d8_512x1024_40k_cityscapes 20200904_233629-9928ffef 78.31
dnl_r50-d8_769x769_40k_cityscapes 20200820_232206-0f283785 78.44
dnl_r101-d8_769x769_40k_cityscapes 20200820_171256-76c596df 76.39
dnl_r50-d8_512x1024_80k_cityscapes 20200904_233629-58b2f778 79.33
dnl_r101-d8_512x1024_80k_cityscapes 20200904_233629-758e2dd4 80.41
dnl_r50-d8_769x769_80k_cityscapes 20200820_011925-366bc4c7 79.36
dnl_r101-d8_769x769_80k_cityscapes 20200821_051111-95ff84ab 79.41
dnl_r50-d8_512x512_80k_ade20k 20200826_183354-1cf6e0c1 41.76
dnl_r101-d8_512x512_80k_ade20k 20200826_183354-d820d6ea 43.76
dnl_r50-d8_512x512_160k_ade20k 20200826_183350-37837798 41.87
dnl_r101-d8_512x512_160k_ade20k 20200826_183350-ed522c61 44.25
gcnet_r50-d8_512x1024_40k_cityscapes 20200618_074436-4b0fd17b 77.69
gcnet_r101-d8_512x1024_40k_cityscapes 20200618_074436-5e62567f 78.28
gcnet_r50-d8_769x769_40k_cityscapes 20200618_182814-a26f4471 78.12
gcnet_r101-d8_769x769_40k_cityscapes 20200619_092550-ca4f0a84 78.95
gcnet_r50-d8_512x1024_80k_cityscapes 20200618_074450-ef8f069b 78.48
gcnet_r101-d8_512x1024_80k_cityscapes 20200618_074450-778ebf69 79.03
gcnet_r50-d8_769x769_80k_cityscapes 20200619_092516-4839565b 78.68
gcnet_r101-d8_769x769_80k_cityscapes 20200619_092628-8e043423 79.18
gcnet_r50-d8_512x512_80k_ade20k 20200614_185146-91a6da41 41.47
gcnet_r101-d8_512x512_80k_ade20k 20200615_020811-c3fcb6dd 42.82
gcnet_r50-d8_512x512_160k_ade20k 20200615_224122-d95f3e1f 42.37
gcnet_r101-d8_512x512_160k_ade20k 20200615_225406-615528d7 43.69
gcnet_r50-d8_512x512_20k_voc12aug 20200617_165701-3cbfdab1 76.42
gcnet_r101-d8_512x512_20k_voc12aug 20200617_165713-6c720aa9 77.41
gcnet_r50-d8_512x512_40k_voc12aug 20200613_195105-9797336d 76.24
gcnet_r101-d8_512x512_40k_voc12aug 20200613_185806-1e38208d 77.84
"""
"""Name, what its file name adds (date, time, sha256 prefix), mIoU in percent."""

_BDD100K = """
nonlocal_r50-d8_512x1024_40k 61.38
nonlocal_r50-d8_512x1024_80k 60.98
dnl_r50-d8_512x1024_40k 61.93
dnl_r50-d8_512x1024_80k 62.64
dnl_r101-d8_512x1024_80k 59.54
gcnet_r50-d8_769x769_40k 61.20
"""
"""Name without its data set, mIoU in percent; their file names carry no hash."""


_SSSEGMENTATION = """
nonlocalnet_resnet50 voc 77.08 76.17
nonlocalnet_resnet101 voc 78.89 77.48
nonlocalnet_resnet50 ade20k 42.15 41.17
nonlocalnet_resnet101 ade20k 44.49 42.45
nonlocalnet_resnet50 cityscapes 78.34 77.18
nonlocalnet_resnet101 cityscapes 80.42 78.48
dnlnet_resnet50 voc 76.73 76.36
dnlnet_resnet101 voc 78.37 77.25
dnlnet_resnet50 ade20k 43.50 40.68
dnlnet_resnet101 ade20k 44.88 41.80
dnlnet_resnet50 cityscapes 79.75 77.80
dnlnet_resnet101 cityscapes 80.64 78.67
gcnet_resnet50 voc 76.50 76.22
gcnet_resnet101 voc 78.81 77.45
gcnet_resnet50 ade20k 42.53 41.08
gcnet_resnet101 ade20k 44.19 42.55
gcnet_resnet50 cityscapes 78.69 76.78
gcnet_resnet101 cityscapes 79.93 78.84
"""
"""Head and backbone, data set, mIoU in percent at output strides 8 and 16; no hashes."""


def _spec(name: str, miou: str, url: str, prefix: str | None, license: str) -> PublishedSpec:
    head, backbone, crop, iterations, dataset = name.split("_")
    height, width = (int(side) for side in crop.split("x"))
    return PublishedSpec(
        title=f"{_HEADS[head][1]}, ResNet-{backbone[1:-3]}, {_DATASETS[dataset]}, {crop}, "
        f"{iterations} iterations",
        dataset=_DATASETS[dataset],
        crop=(height, width),
        metric="mIoU",
        score=float(miou) / 100,
        url=url,
        sha256_prefix=prefix,
        megabytes=_MEGABYTES[f"{head} {backbone[1:-3]}"],
        license=license,
        options={
            "align_corners": height % 8 == 1,
            "long_side": width - width % 8,
        },
    )


def _mmsegmentation() -> dict[str, PublishedSpec]:
    specs = {}
    for name, stamp, miou in (row.split() for row in _MMSEGMENTATION.strip().splitlines()):
        folder = _HEADS[name.partition("_")[0]][0]
        url = (
            f"https://download.openmmlab.com/mmsegmentation/v0.5/{folder}/{name}/{name}_{stamp}.pth"
        )
        specs[name] = _spec(name, miou, url, stamp.rpartition("-")[2], "Apache-2.0")
    return specs


def _bdd100k() -> dict[str, PublishedSpec]:
    specs = {}
    for start, miou in (row.split() for row in _BDD100K.strip().splitlines()):
        name = f"{start}_bdd100k"
        url = f"https://dl.cv.ethz.ch/bdd100k/sem_seg/models/{start}_sem_seg_bdd100k.pth"
        specs[name] = _spec(name, miou, url, None, "not stated with the file")
    return specs


def _sssegmentation() -> dict[str, PublishedSpec]:
    specs = {}
    heads = {folder.replace("_", ""): title for folder, title in _HEADS.values()}
    short = {folder.replace("_", ""): name for name, (folder, _) in _HEADS.items()}
    datasets = {"voc": "Pascal VOC 2012", "ade20k": "ADE20K", "cityscapes": "Cityscapes"}
    store = "https://github.com/SegmentationBLWX/modelstore/releases/download"
    for start, data, *scores in (row.split() for row in _SSSEGMENTATION.strip().splitlines()):
        head, backbone = start.split("_")
        dataset = datasets[data]
        width = 1024 if data == "cityscapes" else 512
        for stride, miou in zip((8, 16), scores, strict=True):
            name = f"{start}os{stride}_{data}"
            depth = backbone.removeprefix("resnet")
            specs[name] = PublishedSpec(
                title=f"{heads[head]}, ResNet-{depth}, {dataset}, 512x{width}, "
                f"output stride {stride}",
                dataset=dataset,
                crop=(512, width),
                metric="mIoU",
                score=float(miou) / 100,
                url=f"{store}/ssseg_{head}/{name}.pth",
                sha256_prefix=None,
                megabytes=_MEGABYTES[f"{short[head]} {depth}"] + _WIDER_AUXILIARY,
                license="Apache-2.0",
                options={
                    "align_corners": False,
                    "long_side": width,
                    "output_stride": stride,
                },
            )
    return specs


_MMACTION2 = """
i3d imagenet-pretrained-r50-nl-dot-product_8xb8-32x2x1-100e 20220812-8e1f2148 74.80
i3d imagenet-pretrained-r50-nl-embedded-gaussian_8xb8-32x2x1-100e 20220812-afd8f562 74.73
i3d imagenet-pretrained-r50-nl-gaussian_8xb8-32x2x1-100e 20220812-0c5cbf5a 73.97
tsm imagenet-pretrained-r50-nl-dot-product_8xb16-1x1x8-50e 20220831-108bfde5 74.49
tsm imagenet-pretrained-r50-nl-embedded-gaussian_8xb16-1x1x8-50e 20220831-35eddb57 74.34
tsm imagenet-pretrained-r50-nl-gaussian_8xb16-1x1x8-50e 20220831-7e54dacf 73.66
slowonly r50-in1k-pre-nl-embedded-gaussian_8xb16-4x16x1-steplr-150e 20220901-cf739c75 74.84
slowonly r50-in1k-pre-nl-embedded-gaussian_8xb16-8x8x1-steplr-150e 20220901-df42dc84 76.35
"""
"""Model, the rest of its name, what its file name adds, top-1 accuracy in percent."""

_VIDEO_NONLOCAL = """
c2d_nonlocal_32x2_IN_pretrain_400k paper 73.9
i3d_nonlocal_32x2_IN_pretrain_400k paper 74.9
i3d_nonlocal_128x1_I3D_pretrain_400k paper 76.5
c2d_nonlocal_8x8_IN_pretrain_400k sparse 74.4
i3d_nonlocal_8x8_IN_pretrain_400k sparse 74.7
i3d_nonlocal_32x4_I3D_pretrain_400k sparse 76.5
"""
"""Name, code that it is for, top-1 accuracy in percent; their file names carry no hash."""

_KINDS = {"i3d": "I3D", "tsm": "TSM", "slowonly": "SlowOnly", "c2d": "C2D"}


def _video(
    kind: str, title: str, top1: str, url: str, prefix: str | None, license: str, **options: Any
) -> PublishedSpec:
    return PublishedSpec(
        title=f"{_KINDS[kind]} {title}, Kinetics-400",
        dataset="Kinetics-400",
        crop=(224, 224),
        metric="top-1",
        score=float(top1) / 100,
        url=url,
        sha256_prefix=prefix,
        megabytes=_MEGABYTES[kind],
        license=license,
        options=options,
    )


def _mmaction2() -> dict[str, PublishedSpec]:
    specs = {}
    for model, rest, stamp, top1 in (row.split() for row in _MMACTION2.strip().splitlines()):
        name = f"{model}_{rest}_kinetics400-rgb"
        form = re.findall("dot-product|embedded-gaussian|gaussian", rest)[0]
        clip = re.findall(r"(\d+)x(\d+)x(\d+)-", rest)[0]
        frames = int(clip[2]) if model == "tsm" else int(clip[0])
        url = (
            "https://download.openmmlab.com/mmaction/v1.0/recognition/"
            f"{model}/{name}/{name}_{stamp}.pth"
        )
        title = f"with non-local blocks ({form}), ResNet-50, {frames} frames"
        options = {"form": "dot_product"} if form == "dot-product" else {}
        prefix = stamp.rpartition("-")[2]
        specs[name] = _video(
            model, title, top1, url, prefix, "Apache-2.0", frames=frames, **options
        )
    return specs


def _video_nonlocal() -> dict[str, PublishedSpec]:
    specs = {}
    for name, code, top1 in (row.split() for row in _VIDEO_NONLOCAL.strip().splitlines()):
        kind, _, clip = name.split("_")[:3]
        frames, step = clip.split("x")
        title = f"with non-local blocks, ResNet-50, {frames} frames, every {step}"
        url = f"https://dl.fbaipublicfiles.com/video-nonlocal/{name}.pkl"
        options = {"code": code, "frames": int(frames)}
        specs[name] = _video(kind, title, top1, url, None, "CC-BY-NC-4.0", **options)
    return specs


def _slowfast() -> dict[str, PublishedSpec]:
    name = "I3D_NLN_8x8_R50"
    url = f"https://dl.fbaipublicfiles.com/pyslowfast/model_zoo/kinetics400/{name}.pkl"
    title = "with non-local blocks of SlowFast, ResNet-50, 8 frames, every 8"
    spec = _video("i3d", title, "74.0", url, None, "Apache-2.0", code="slowfast", frames=8)
    return {name: spec}


PUBLISHED: dict[str, PublishedSpec] = {
    **_mmsegmentation(),
    **_bdd100k(),
    **_sssegmentation(),
    **_mmaction2(),
    **_video_nonlocal(),
    **_slowfast(),
}
"""Name -> what is published under it, from the zoos of mmsegmentation, BDD100K,
sssegmentation, mmaction2, video-nonlocal-net and SlowFast."""
