"""Labeled images for training and evaluation, by the name of their layout."""

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import UInt8

Image = UInt8[
    np.ndarray, "_ _ 3"
]  # (height, width, RGB); sizes may differ within a list of samples
Labels = UInt8[np.ndarray, "_ _"]


class Dataset(StrEnum):
    """Layouts that `read_samples` understands."""

    camvid = "camvid"


def read_samples(dataset: Dataset, root: Path, split: str) -> Iterator[tuple[Image, Labels]]:
    """Yield the (RGB image, label values) pairs of one split, sorted by file name.

    A CamVid root holds `<split>/images/*.jpg|png` and `<split>/labels/*.png`.

    Raises:
        ValueError: The folder is missing or empty, an image has no label, a file cannot be
            decoded, or an image and its label differ in size.
    """
    folder = root / split / "images"
    images = sorted(path for path in folder.glob("*") if path.suffix.lower() in (".jpg", ".png"))
    if not images:
        raise ValueError(
            f"no images in {folder}; a {dataset.value} root holds <split>/images/*.jpg"
        )
    for image_path in images:
        label_path = root / split / "labels" / f"{image_path.stem}.png"
        image = cv2.imread(str(image_path), cv2.IMREAD_COLOR_RGB)
        if image is None:
            raise ValueError(f"{image_path} is not a readable image")
        labels = cv2.imread(str(label_path), cv2.IMREAD_GRAYSCALE)
        if labels is None:
            raise ValueError(f"{label_path} is missing or not a readable image")
        if image.shape[:2] != labels.shape:
            raise ValueError(f"{label_path} must have size {image.shape[:2]}, got {labels.shape}")
        yield image, labels
