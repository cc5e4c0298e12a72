"""Training to segment streets."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional as F

from nonlocal_lens.models.networks.architecture import build_network
from nonlocal_lens.models.networks.description import (
    ClipArchitecture,
    StreetArchitecture,
    TransformerArchitecture,
)
from nonlocal_lens.models.networks.segmentation import SegmentationNetwork
from nonlocal_lens.models.training.augment import random_view
from nonlocal_lens.models.training.data import Sample
from nonlocal_lens.models.training.evaluation import confusion_matrix, mean_iou
from nonlocal_lens.models.training.loop import Course, parameter_groups, train
from nonlocal_lens.models.training.recipe import AS_IT_IS, STREET_RECIPES, StreetRecipe, Variant
from nonlocal_lens.models.zoo import NETWORKS
from nonlocal_lens.streets.classes import VOID

Samples = list[Sample]


def train_streets(
    name: str,
    train_set: Samples,
    rendered: Samples,
    val_set: Samples,
    runs: Path,
    variant: Variant = AS_IT_IS,
) -> SegmentationNetwork:
    """Train the recipe `name`, see `models.training.loop.train`.

    Args:
        name: A key of `STREET_RECIPES`.
        train_set: Real images: every epoch sees all of them.
        rendered: Drawn scenes: an epoch sees the recipe's `rendered_share` of them, in turn.
        val_set: Real images to report on; nothing is chosen by them.
        runs: Folder for checkpoints and logs.
        variant: What is done otherwise, here and in all that the recipe starts from.
    """
    recipe = variant.of(STREET_RECIPES[name])
    torch.manual_seed(recipe.seed)
    network = build_network(architecture_of(recipe))
    network.to(memory_format=torch.channels_last)
    optimizer = optimizer_of(network, recipe)
    weights = class_weights(train_set, len(network.classes), recipe.class_balance)

    def losses(epoch: int) -> Iterator[Float[Tensor, ""]]:
        for images, labels in batches(train_set, rendered, recipe, epoch):
            inputs = network.preprocess.normalize(images)
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=recipe.bfloat16):
                scores = network(inputs.contiguous(memory_format=torch.channels_last))
            yield F.cross_entropy(scores.float(), labels, weights, ignore_index=VOID)

    course = Course(
        recipe=recipe,
        network=network,
        optimizer=optimizer,
        steps_per_epoch=len(epoch_order(train_set, rendered, recipe, 0)) // recipe.batch_size,
        losses=losses,
        figures=lambda trained: {"val_miou": mean_iou(confusion_matrix(trained, val_set))},
        starting_point=(
            (lambda: train_streets(recipe.start_from, train_set, rendered, val_set, runs, variant))
            if recipe.start_from
            else None
        ),
    )
    return train(name, course, runs)


def optimizer_of(network: SegmentationNetwork, recipe: StreetRecipe) -> torch.optim.Optimizer:
    """Return what changes the weights, each group of them at its own rate and decay."""
    groups = parameter_groups(network, recipe)
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=recipe.learning_rate)
    return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=recipe.momentum, nesterov=True)


def architecture_of(recipe: StreetRecipe) -> StreetArchitecture:
    """Return the shape of the network that a recipe trains.

    Raises:
        ValueError: The recipe asks for dilations or another block, and a transformer has neither.
    """
    architecture = NETWORKS[recipe.network].architecture
    assert not isinstance(architecture, ClipArchitecture)  # a test holds the recipes to their tasks
    if isinstance(architecture, TransformerArchitecture):
        if recipe.dilations is not None or recipe.block is not None:
            raise ValueError(f"{recipe.network} is a transformer: it has no dilations and no block")
        return architecture
    if recipe.dilations is not None:
        architecture = replace(architecture, dilations=recipe.dilations)
    if recipe.block is not None and architecture.block is not None:
        architecture = replace(architecture, block=recipe.block)
    return architecture


def class_weights(samples: Samples, classes: int, balance: float) -> Tensor:
    """Return the loss weight of each class: rarer counts more, and the mean over pixels is 1."""
    counts = sum(np.bincount(labels.ravel(), minlength=VOID + 1)[:classes] for _, labels in samples)
    share = np.maximum(counts, 1) / np.sum(counts)
    weights = share**-balance
    return torch.tensor(weights / (share * weights).sum(), dtype=torch.float32)


def epoch_order(
    real: Samples, rendered: Samples, recipe: StreetRecipe, epoch: int
) -> Int[np.ndarray, " views"]:
    """Return the shuffled indices into real + rendered that an epoch goes through."""
    extra = round(recipe.rendered_share * len(real)) if rendered else 0
    turn = len(real) + (epoch * extra + np.arange(extra)) % max(1, len(rendered))
    both = np.concatenate((np.arange(len(real)), turn))
    return np.random.default_rng([recipe.seed, epoch]).permutation(both)


def batches(
    real: Samples, rendered: Samples, recipe: StreetRecipe, epoch: int
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (images uint8 (B, 3, H, W), labels int64 (B, H, W)) of one epoch.

    A last, shorter batch is left out. Every view depends on (seed, epoch, index) alone, not on
    what was drawn before.
    """
    order = epoch_order(real, rendered, recipe, epoch)
    for start in range(0, len(order) - recipe.batch_size + 1, recipe.batch_size):
        views = []
        for index in order[start : start + recipe.batch_size]:
            image, label = real[index] if index < len(real) else rendered[index - len(real)]
            rng = np.random.default_rng([recipe.seed, epoch, index])
            views.append(
                random_view(image, label, rng, crop_hw=recipe.crop_hw, scales=recipe.scales)
            )
        images = torch.from_numpy(np.stack([image for image, _ in views])).permute(0, 3, 1, 2)
        labels = torch.from_numpy(np.stack([label for _, label in views])).long()
        yield images, labels
