"""Labeled images to measure on, from every layout we can read, in the classes of a network."""

from collections.abc import Iterable, Iterator
from enum import StrEnum
from pathlib import Path

import numpy as np
from jaxtyping import UInt8
from torchvision.datasets import Cityscapes, VisionDataset, VOCSegmentation

from nonlocal_lens.models.training.data import Dataset, Sample, read_samples

# fmt: off
VOC_CLASSES = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat",
    "chair", "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant",
    "sheep", "sofa", "train", "tvmonitor",
)
# fmt: on

SAME_CLASS = {
    "sidewalk": "pavement",
    "wall": "building",
    "traffic light": "sign",
    "traffic sign": "sign",
    "vegetation": "tree",
    "person": "pedestrian",
    "rider": "bicyclist",
    "bicycle": "bicyclist",
    "motorcycle": "bicyclist",
    "motorbike": "bicyclist",
    "truck": "car",
    "bus": "car",
    "train": "car",
}
"""Class of another data set -> the street class that holds such things."""


class Source(StrEnum):
    """Layouts that `read_labeled` understands."""

    camvid = "camvid"
    rendered = "rendered"
    folder = "folder"
    cityscapes = "cityscapes"
    voc = "voc"


def read_labeled(
    source: Source, root: Path | None, split: str, classes: tuple[str, ...]
) -> Iterator[Sample]:
    """Yield the (RGB image, label values) pairs of one split, always in the same order.

    | source     | what `root` holds                            | splits               |
    |------------|----------------------------------------------|----------------------|
    | cityscapes | `leftImg8bit/<split>`, `gtFine/<split>`      | train, val           |
    | voc        | `VOCdevkit/VOC2012`                          | train, val, trainval |
    | others     | see `models.training.data.read_samples`      |                      |

    A label value is the place of the pixel's class in `classes`, and void from `len(classes)` on.
    Those of Cityscapes and VOC are matched by name, and else by `SAME_CLASS`; the others are taken
    to be in the network's order.

    Raises:
        ValueError: The folder is incomplete, there is no such split, a file cannot be decoded, or
            the data set has none of the classes.
    """
    if source not in VISION_READERS:
        yield from read_samples(Dataset(source.value), root, split)
        return
    if root is None:
        raise ValueError(f"data {source.value!r} needs a root folder")
    names, samples = VISION_READERS[source](root, split)
    place = places(names, classes)
    for image, labels in samples:
        yield image, place[labels]


def places(names: dict[int, str], classes: tuple[str, ...]) -> UInt8[np.ndarray, "256"]:
    """Return, for every label value of a data set, the place of its class in `classes`.

    Raises:
        ValueError: No class is among them.
    """
    table = np.full(256, len(classes), np.uint8)
    for value, name in names.items():
        known = name if name in classes else SAME_CLASS.get(name, name)
        if known in classes:
            table[value] = classes.index(known)
    if (table == len(classes)).all():
        raise ValueError(
            f"the network knows none of the labels' classes: it knows {', '.join(classes)}; "
            f"the labels are {', '.join(names.values())}"
        )
    return table


def _cityscapes(root: Path, split: str) -> tuple[dict[int, str], Iterator[Sample]]:
    names = {kind.id: kind.name for kind in Cityscapes.classes if kind.train_id not in (-1, 255)}
    try:
        folder = Cityscapes(root, split, mode="fine", target_type="semantic")
    except (RuntimeError, OSError) as error:
        raise ValueError(
            f"{root} is no Cityscapes folder: it must hold leftImg8bit/{split} and gtFine/{split}"
        ) from error
    order = sorted(range(len(folder)), key=lambda index: folder.images[index])
    return names, _pairs(folder, order)


def _voc(root: Path, split: str) -> tuple[dict[int, str], Iterator[Sample]]:
    try:
        folder = VOCSegmentation(root, image_set=split)
    except (RuntimeError, OSError) as error:
        raise ValueError(
            f"{root} is no VOC folder: it must hold VOCdevkit/VOC2012 with "
            f"ImageSets/Segmentation/{split}.txt"
        ) from error
    return dict(enumerate(VOC_CLASSES)), _pairs(folder, range(len(folder)))


def _pairs(folder: VisionDataset, order: Iterable[int]) -> Iterator[Sample]:
    for index in order:
        image, labels = folder[index]
        yield np.asarray(image.convert("RGB")), np.asarray(labels, np.uint8)


VISION_READERS = {Source.cityscapes: _cityscapes, Source.voc: _voc}
"""Layout -> what reads it by torchvision: class names by label value, and the samples."""
