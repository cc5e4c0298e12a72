"""Training to tell what happens in clips: a backbone first, then what is built on it.

The backbone learns from the labels of frames what is where, once, see `models.training.cells`. It
then stays as it is: the features of all clips and of their mirror images are computed once, and
every network, with a block or without, learns from these by the labels of whole clips.
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from nonlocal_lens.models.networks.architecture import build_clip_network
from nonlocal_lens.models.networks.clip_network import ClipNetwork, framewise
from nonlocal_lens.models.networks.description import ClipArchitecture, HybridClipArchitecture
from nonlocal_lens.models.training.cells import cell_losses, pedestrian_f1
from nonlocal_lens.models.training.clip_data import Clips
from nonlocal_lens.models.training.evaluation import accuracy, clip_confusion_matrix
from nonlocal_lens.models.training.loop import ATTENTION, Course, parameter_groups, train
from nonlocal_lens.models.training.recipe import CLIP_RECIPES, ClipRecipe
from nonlocal_lens.models.zoo import NETWORKS
from nonlocal_lens.streets import MIRRORED

CLIPS_AT_ONCE = 8


def train_clips(name: str, train_set: Clips, val_set: Clips, runs: Path) -> ClipNetwork:
    """Train the recipe `name`, see `models.training.loop.train`.

    Args:
        name: A key of `CLIP_RECIPES`.
        train_set: Every epoch sees all of these.
        val_set: Clips to report on; nothing is chosen by them.
        runs: Folder for checkpoints and logs.
    """
    recipe = CLIP_RECIPES[name]
    torch.manual_seed(recipe.seed)
    architecture = NETWORKS[recipe.network].architecture
    assert isinstance(architecture, ClipArchitecture)  # a test holds the recipes to their tasks
    network = build_clip_network(architecture)
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            module.to(memory_format=torch.channels_last)

    if recipe.crop_hw is not None:
        learning = nn.ModuleList([network.backbone, network.cells])
        count = train_set.labels.size * train_set.images.shape[1]

        def losses(epoch: int) -> Iterator[Float[Tensor, ""]]:
            return cell_losses(network, train_set, recipe, epoch)

        def figures(trained: ClipNetwork) -> dict[str, float]:
            return {"val_pedestrian_f1": pedestrian_f1(trained, val_set)}
    else:
        learning = nn.ModuleList([network.head])
        count = train_set.labels.size

        @cache  # the first epoch needs the backbone as the starting point has left it
        def features() -> Float[Tensor, "mirrored clips channels frames rows cols"]:
            return features_of(network, train_set.images, bfloat16=recipe.bfloat16)

        def losses(epoch: int) -> Iterator[Float[Tensor, ""]]:
            return clip_losses(network, features(), train_set.labels, recipe, epoch)

        def figures(trained: ClipNetwork) -> dict[str, float]:
            return {"val_accuracy": accuracy(clip_confusion_matrix(trained, val_set))}

    course = Course(
        recipe=recipe,
        network=network,
        optimizer=torch.optim.AdamW(parameter_groups(learning, recipe), lr=recipe.learning_rate),
        steps_per_epoch=count // recipe.batch_size,
        losses=losses,
        figures=figures,
        starting_point=(
            (lambda: train_clips(recipe.start_from, train_set, val_set, runs))
            if recipe.start_from
            else None
        ),
        # the trunk has the convolutional head, of which it trained nothing
        afresh=("head.",) if isinstance(architecture, HybridClipArchitecture) else ATTENTION,
    )
    return train(name, course, runs)


@torch.no_grad()
def features_of(
    network: ClipNetwork,
    images: UInt8[np.ndarray, "clips frames height width 3"],
    *,
    bfloat16: bool = True,
) -> Float[Tensor, "mirrored clips channels frames rows cols"]:
    """Return what the backbone makes of clips, and of their mirror images, as bfloat16.

    It is computed in that precision, too, unless told otherwise: where a processor has no such
    instructions, single precision takes a fraction of the time.
    """
    network.backbone.eval()
    found = []
    for flip in (1, -1):
        for start in range(0, len(images), CLIPS_AT_ONCE):
            batch = np.ascontiguousarray(images[start : start + CLIPS_AT_ONCE, :, :, ::flip])
            inputs = network.preprocess.normalize(torch.from_numpy(batch).movedim(-1, 1))
            with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
                found.append(framewise(network.features, inputs).bfloat16().contiguous())
    features: Tensor = torch.cat(found).unflatten(0, (2, len(images)))
    return features


def clip_losses(
    network: ClipNetwork,
    features: Float[Tensor, "mirrored clips channels frames rows cols"],
    labels: Int[np.ndarray, " clips"],
    recipe: ClipRecipe,
    epoch: int,
) -> Iterator[Float[Tensor, ""]]:
    """Yield the loss of each batch of one epoch, which sees every clip or its mirror image."""
    for mirrored, chosen, truth in views(labels, recipe, epoch):
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=recipe.bfloat16):
            scores = network.head(features[mirrored, chosen].float())
        yield F.cross_entropy(scores.float(), truth)


def views(
    labels: Int[np.ndarray, " clips"], recipe: ClipRecipe, epoch: int
) -> Iterator[tuple[Int[Tensor, " batch"], Int[Tensor, " batch"], Int[Tensor, " batch"]]]:
    """Yield (whether mirrored, which clips, what is to be seen in them) of each batch of an epoch.

    A last, shorter batch is left out. Who walks left in a clip walks right in its mirror image.
    """
    rng = np.random.default_rng([recipe.seed, epoch])
    order, mirrored = rng.permutation(len(labels)), rng.integers(2, size=len(labels))
    seen = np.where(mirrored, np.take(MIRRORED, labels), labels)
    for start in range(0, len(order) - recipe.batch_size + 1, recipe.batch_size):
        chosen = order[start : start + recipe.batch_size]
        yield (
            torch.from_numpy(mirrored[chosen]),
            torch.from_numpy(chosen),
            torch.from_numpy(seen[chosen]),
        )
