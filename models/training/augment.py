"""Random views of a labeled image: scale, crop, mirror, color."""

import cv2
import numpy as np

from nonlocal_lens.models.training.data import Image, Labels
from nonlocal_lens.streets.classes import VOID


def random_view(
    image: Image,
    labels: Labels,
    rng: np.random.Generator,
    *,
    crop_hw: tuple[int, int],
    scales: tuple[float, float],
) -> tuple[Image, Labels]:
    """Return a random crop of a randomly scaled, mirrored, recolored copy; padding is void."""
    factor = rng.uniform(*scales)
    size = (
        round(image.shape[1] * factor),
        round(image.shape[0] * factor),
    )  # OpenCV: (width, height)
    interpolation = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    image = cv2.resize(image, size, interpolation=interpolation)
    labels = cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST)

    height, width = crop_hw
    down, right = max(0, height - image.shape[0]), max(0, width - image.shape[1])
    if down or right:
        image = cv2.copyMakeBorder(image, 0, down, 0, right, cv2.BORDER_REFLECT_101)
        labels = cv2.copyMakeBorder(labels, 0, down, 0, right, cv2.BORDER_CONSTANT, value=VOID)
    top = rng.integers(image.shape[0] - height + 1)
    left = rng.integers(image.shape[1] - width + 1)
    image = image[top : top + height, left : left + width]
    labels = labels[top : top + height, left : left + width]

    if rng.random() < 0.5:
        image, labels = image[:, ::-1], labels[:, ::-1]
    return recolored(image, rng), np.ascontiguousarray(labels)


def recolored(image: Image, rng: np.random.Generator) -> Image:
    """Change brightness, contrast and saturation by up to 30 % each, and the tint a little."""
    pixels = image.astype(np.float32)
    gray = pixels.mean(axis=2, keepdims=True)
    pixels = gray + (pixels - gray) * rng.uniform(0.7, 1.3)
    pixels = (pixels - gray.mean()) * rng.uniform(0.7, 1.3) + gray.mean() * rng.uniform(0.7, 1.3)
    pixels *= rng.uniform(0.95, 1.05, size=3).astype(np.float32)
    jittered: np.ndarray = pixels.clip(0, 255).astype(np.uint8)
    return jittered
