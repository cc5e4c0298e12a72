"""Training a backbone to tell what is in the cells of a clip's single frames."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional as F

from nonlocal_lens.models.networks.clip_network import CellScores, ClipNetwork
from nonlocal_lens.models.training.augment import recolored
from nonlocal_lens.models.training.clip_data import Clips
from nonlocal_lens.models.training.recipe import ClipRecipe
from nonlocal_lens.streets.classes import STREET_CLASSES, VOID

CAR, PEDESTRIAN = (list(STREET_CLASSES).index(name) for name in ("car", "pedestrian"))

SOUGHT = {PEDESTRIAN: 0.55, CAR: 0.2}
"""Share of the crops that must show a class where there is one; the others may be anywhere."""

THERE = 1 / 16
"""Share of a cell's pixels from which on a class is there."""

CLASS_WEIGHT = torch.full((len(STREET_CLASSES), 1, 1), 0.3)
CLASS_WEIGHT[[CAR, PEDESTRIAN]] = torch.tensor([1.0, 3.0]).view(2, 1, 1)
"""What a class counts: those that act in clips more."""

PRESENCE_WEIGHT = torch.ones(len(STREET_CLASSES), 1, 1)
PRESENCE_WEIGHT[[CAR, PEDESTRIAN]] = torch.tensor([2.0, 4.0]).view(2, 1, 1)
"""What a cell that shows a class counts against one that does not."""

COLOR_WEIGHT = 0.5


class Cells(NamedTuple):
    """What there is in the cells of images."""

    classes: Float[Tensor, "images street_classes rows cols"]  # 1 where it is there, else 0
    color: Float[Tensor, "images 3 rows cols"]  # mean of the people's pixels, 0 to 1; 0 without any


def cell_losses(
    network: ClipNetwork, clips: Clips, recipe: ClipRecipe, epoch: int
) -> Iterator[Float[Tensor, ""]]:
    """Yield the loss of each batch of one epoch, which sees a crop of every frame."""
    for images, frame_labels in crops(clips, recipe, epoch):
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
        inputs = network.preprocess.frame.normalize(pixels)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=recipe.bfloat16):
            scores = network.in_cells(inputs)
        labels = torch.from_numpy(frame_labels)
        yield cell_loss(scores, cells_of(pixels, labels, network.backbone.stride))


def cell_loss(scores: CellScores, truth: Cells) -> Float[Tensor, ""]:
    """Return cross-entropy of classes in cells, plus how far off the people's colors are."""
    entropy = F.binary_cross_entropy_with_logits(
        scores.classes.float(), truth.classes, CLASS_WEIGHT, pos_weight=PRESENCE_WEIGHT
    )
    people = truth.classes[:, PEDESTRIAN]
    error = (scores.color.float() - truth.color).abs().mean(dim=1)
    return entropy + COLOR_WEIGHT * (people * error).sum() / people.sum().clamp(min=1)


def cells_of(
    images: UInt8[Tensor, "images 3 height width"],
    labels: UInt8[Tensor, "images height width"],
    stride: int,
) -> Cells:
    """Return what there is in the cells of labeled images."""
    masks = torch.stack([labels == value for value in range(len(STREET_CLASSES))], dim=1).float()
    share = F.avg_pool2d(masks, stride)
    people = masks[:, PEDESTRIAN : PEDESTRIAN + 1]
    color = F.avg_pool2d(images.float() / 255 * people, stride)
    smallest = 1 / stride**2
    return Cells((share >= THERE).float(), color / share[:, PEDESTRIAN, None].clamp(min=smallest))


@torch.inference_mode()
def pedestrian_f1(network: ClipNetwork, clips: Clips) -> float:
    """Return the harmonic mean of precision and recall of cells with pedestrians, 0 to 1."""
    network.eval()
    hits = either = 0.0
    for images, frame_labels in zip(clips.images, clips.frame_labels, strict=True):
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2)
        scores = network.in_cells(network.preprocess.frame.normalize(pixels))
        truth = cells_of(pixels, torch.from_numpy(frame_labels), network.backbone.stride)
        found, there = scores.classes[:, PEDESTRIAN] > 0, truth.classes[:, PEDESTRIAN] > 0
        hits += (found & there).sum().item()
        either += found.sum().item() + there.sum().item()
    return 2 * hits / max(1.0, either)


def crops(
    clips: Clips, recipe: ClipRecipe, epoch: int
) -> Iterator[tuple[UInt8[np.ndarray, "batch rows cols 3"], UInt8[np.ndarray, "batch rows cols"]]]:
    """Yield batches of crops of single frames with their labels, all frames in one epoch.

    A last, shorter batch is left out. Every crop depends on (seed, epoch, index) alone, not on
    what was drawn before.
    """
    assert recipe.crop_hw is not None
    images = clips.images.reshape(-1, *clips.images.shape[2:])
    frame_labels = clips.frame_labels.reshape(-1, *clips.frame_labels.shape[2:])
    order = np.random.default_rng([recipe.seed, epoch]).permutation(len(images))
    for start in range(0, len(order) - recipe.batch_size + 1, recipe.batch_size):
        chosen = [
            random_crop(
                images[index],
                frame_labels[index],
                np.random.default_rng([recipe.seed, epoch, index]),
                recipe.crop_hw,
            )
            for index in order[start : start + recipe.batch_size]
        ]
        yield np.stack([image for image, _ in chosen]), np.stack([labels for _, labels in chosen])


def random_crop(
    image: UInt8[np.ndarray, "height width 3"],
    labels: UInt8[np.ndarray, "height width"],
    rng: np.random.Generator,
    crop_hw: tuple[int, int],
) -> tuple[UInt8[np.ndarray, "rows cols 3"], UInt8[np.ndarray, "rows cols"]]:
    """Return part of a frame, recolored and mirrored by chance, more often than not with an actor.

    Walkers are small: in a crop anywhere there would hardly ever be one.
    """
    rows, cols = (min(side, whole) for side, whole in zip(crop_hw, labels.shape, strict=True))
    free = np.array([labels.shape[0] - rows, labels.shape[1] - cols])
    corner = rng.integers(free + 1)
    sought = rng.choice([*SOUGHT, VOID], p=[*SOUGHT.values(), 1 - sum(SOUGHT.values())])
    shown = np.argwhere(labels == sought) if sought in SOUGHT else ()
    if len(shown):
        corner = (rng.choice(shown) - rng.integers((rows, cols))).clip(0, free)
    part = slice(corner[0], corner[0] + rows), slice(corner[1], corner[1] + cols)
    image, labels = recolored(image[part], rng), labels[part]
    return (image[:, ::-1], labels[:, ::-1]) if rng.random() < 0.5 else (image, labels)
