"""Labeled street images for training and evaluation, by the name of their layout."""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

from nonlocal_lens.models.label_files import read_label_file
from nonlocal_lens.streets import render_scene, split_seeds
from nonlocal_lens.streets.classes import VOID

Image = UInt8[
    np.ndarray, "_ _ 3"
]  # (height, width, RGB); sizes may differ within a list of samples
Labels = UInt8[np.ndarray, "_ _"]
Sample = tuple[Image, Labels]

IMAGES = (".jpg", ".jpeg", ".png")

SPLITS = ("train", "val", "test")

RENDERED_SCENES = {"train": 400, "val": 100, "test": 100}
"""How many rendered scenes a split holds; the renderer would make any number."""


class Dataset(StrEnum):
    """Where labeled images come from; `read_samples` says what each one needs."""

    camvid = "camvid"
    rendered = "rendered"
    folder = "folder"


def read_samples(dataset: Dataset, root: Path | None, split: str) -> Iterator[Sample]:
    """Yield the (RGB image, label values) pairs of one split, always in the same order.

    | dataset  | what `root` holds                                          |
    |----------|------------------------------------------------------------|
    | camvid   | `<split>/images/*.jpg|png` and `<split>/labels/*.png`      |
    | folder   | `images/*.jpg|png` and `labels/*.png`; all of it is the split |
    | rendered | nothing: the scenes are drawn, the splits by different seeds |

    Label values are those of `streets.classes`, 0 to 10; anything above is void and read as 11.

    Raises:
        ValueError: The split is unknown, a folder is missing or empty, an image has no label, a
            file cannot be decoded, or an image and its label differ in size.
    """
    if dataset is Dataset.rendered:
        yield from rendered_samples(split)
        return
    if root is None:
        raise ValueError(f"data {dataset.value!r} needs a root folder; only 'rendered' needs none")
    yield from folder_samples(root / split if dataset is Dataset.camvid else root)


def rendered_samples(split: str) -> Iterator[Sample]:
    """Draw the scenes of one split; ValueError if there is no such split."""
    if split not in RENDERED_SCENES:
        raise ValueError(f"unknown split {split!r}; available: {', '.join(RENDERED_SCENES)}")
    for seed in split_seeds(split, RENDERED_SCENES[split]):
        scene = render_scene(seed)
        yield scene.image, scene.labels


def folder_samples(folder: Path) -> Iterator[Sample]:
    """Read `<folder>/images` with `<folder>/labels`, sorted by name; for errors see above."""
    images = sorted(
        path
        for path in (folder / "images").glob("*")
        if path.suffix.lower() in IMAGES and not path.name.startswith(".")
    )
    if not images:
        raise ValueError(f"no images in {folder / 'images'}; *.jpg or *.png are expected there")
    for image_path in images:
        label_path = folder / "labels" / f"{image_path.stem}.png"
        image = cv2.imread(str(image_path), cv2.IMREAD_COLOR_RGB)
        if image is None:
            raise ValueError(f"{image_path} is not a readable image")
        try:
            labels = read_label_file(label_path)
        except (FileNotFoundError, ValueError) as error:
            raise ValueError(f"{label_path} is missing or not a readable image: {error}") from error
        if labels.colored:
            raise ValueError(
                f"{label_path} holds colors; classes are needed, of the values 0 to 10"
            )
        if image.shape[:2] != labels.values.shape:
            raise ValueError(
                f"{label_path} must have size {image.shape[:2]}, got {labels.values.shape}"
            )
        void = (labels.values < 0) | (labels.values > VOID)
        yield image, np.where(void, VOID, labels.values).astype(np.uint8)
