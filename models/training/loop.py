"""The training loop: deterministic by seed, resumable after any epoch."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from models.blocks import AttentionBlock
from models.networks.architecture import build_network
from models.networks.segmentation import SegmentationNetwork
from models.streets import VOID
from models.training.augment import random_view
from models.training.data import Sample
from models.training.evaluation import confusion_matrix, mean_iou
from models.training.identity_dropout import drop_identity
from models.training.recipe import RECIPES, Recipe
from models.zoo import NETWORKS

Samples = list[Sample]

EPOCHS_BETWEEN_EVALUATIONS = 10


def train(
    name: str, train_set: Samples, rendered: Samples, val_set: Samples, runs: Path
) -> SegmentationNetwork:
    """Train the recipe `name`, or take up where an interrupted training left off.

    Writes `<runs>/<name>/last.pt` after every epoch and a line of `log.jsonl` beside it. A resumed
    training gives the same weights as one that was never interrupted.

    Args:
        name: A key of `RECIPES`.
        train_set: Real images: every epoch sees all of them.
        rendered: Drawn scenes: an epoch sees the recipe's `rendered_share` of them, in turn.
        val_set: Real images to report on; nothing is chosen by them.
        runs: Folder for checkpoints and logs.
    """
    recipe = RECIPES[name]
    folder = runs / name
    folder.mkdir(parents=True, exist_ok=True)

    torch.manual_seed(recipe.seed)
    architecture = NETWORKS[recipe.network].architecture
    if recipe.dilations is not None:
        architecture = replace(architecture, dilations=recipe.dilations)
    network = build_network(architecture)
    network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(
        parameter_groups(network, recipe),
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=True,
    )
    steps_per_epoch = len(epoch_order(train_set, rendered, recipe, 0)) // recipe.batch_size
    schedule = poly_schedule(optimizer, recipe, steps_per_epoch)
    weights = class_weights(train_set, len(network.classes), recipe.class_balance)

    average = AveragedModel(
        network, multi_avg_fn=get_ema_multi_avg_fn(recipe.averaging), use_buffers=True
    )

    averaged = cast(SegmentationNetwork, average.module)
    for block in attention_blocks_of(network):
        drop_identity(block, recipe.identity_dropout)

    first_epoch = 0
    if (folder / "last.pt").exists():
        state = torch.load(folder / "last.pt", weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        average.load_state_dict(state["average"])
        first_epoch = state["epoch"]
    elif recipe.start_from:
        start_from(network, train(recipe.start_from, train_set, rendered, val_set, runs))

    for epoch in range(first_epoch, recipe.epochs):
        started = time.perf_counter()
        torch.manual_seed(recipe.seed * 10_000 + epoch)  # dropout: the same whether resumed or not
        network.train()
        losses = []
        bar = tqdm(
            batches(train_set, rendered, recipe, epoch),
            total=steps_per_epoch,
            desc=f"{name} {epoch + 1}/{recipe.epochs}",
            leave=False,
        )
        for images, labels in bar:
            inputs = network.preprocess.normalize(images)
            with torch.autocast("cpu", dtype=torch.bfloat16):
                scores = network(inputs.contiguous(memory_format=torch.channels_last))
            loss = F.cross_entropy(scores.float(), labels, weights, ignore_index=VOID)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            average.update_parameters(network)
            losses.append(loss.item())
            bar.set_postfix(loss=f"{loss.item():.3f}")
        line = {"epoch": epoch + 1, "loss": round(float(np.mean(losses)), 4)}
        line["seconds"] = round(time.perf_counter() - started, 1)
        if (epoch + 1) % EPOCHS_BETWEEN_EVALUATIONS == 0 or epoch + 1 == recipe.epochs:
            line["val_miou"] = round(mean_iou(confusion_matrix(averaged, val_set)), 4)
        save_state(folder / "last.pt", network, average, optimizer, schedule, epoch + 1)
        with (folder / "log.jsonl").open("a", encoding="utf-8") as log:
            log.write(json.dumps(line) + "\n")
        tqdm.write(f"{name} {json.dumps(line)}")
    return averaged.eval()


def attention_blocks_of(network: nn.Module) -> list[AttentionBlock]:
    """Return every attention block in a network."""
    return [module for module in network.modules() if isinstance(module, AttentionBlock)]


def parameter_groups(network: nn.Module, recipe: Recipe) -> list[dict]:
    """Split the parameters by how they are to be trained.

    Weight decay applies neither to gains and biases nor to what decides where a block looks
    (queries, keys, masks): decay there keeps a block from ever waking up. These have a learning
    rate of their own.
    """
    logit = {
        id(parameter)
        for block in attention_blocks_of(network)
        for parameter in block.logit_parameters()
    }
    decayed: list[nn.Parameter] = []
    undecayed: list[nn.Parameter] = []
    looking: list[nn.Parameter] = []
    for parameter in network.parameters():
        if id(parameter) in logit:
            looking.append(parameter)
        else:
            (undecayed if parameter.ndim == 1 else decayed).append(parameter)
    return [
        {"params": decayed, "weight_decay": recipe.weight_decay},
        {"params": undecayed, "weight_decay": 0.0},
        {
            "params": looking,
            "weight_decay": 0.0,
            "lr": recipe.learning_rate * recipe.looking_rate,
        },
    ]


def poly_schedule(
    optimizer: torch.optim.Optimizer, recipe: Recipe, steps_per_epoch: int
) -> torch.optim.lr_scheduler.LambdaLR:
    """Return a linear warm-up into a polynomial decay to 0."""
    total = recipe.epochs * steps_per_epoch

    def factor(step: int) -> float:
        return min(1.0, (step + 1) / recipe.warmup_steps) * max(0.0, 1 - step / total) ** 0.9

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def class_weights(samples: Samples, classes: int, balance: float) -> Tensor:
    """Return the loss weight of each class: rarer counts more, and the mean over pixels is 1."""
    counts = sum(np.bincount(labels.ravel(), minlength=VOID + 1)[:classes] for _, labels in samples)
    share = np.maximum(counts, 1) / np.sum(counts)
    weights = share**-balance
    return torch.tensor(weights / (share * weights).sum(), dtype=torch.float32)


def epoch_order(
    real: Samples, rendered: Samples, recipe: Recipe, epoch: int
) -> Int[np.ndarray, " views"]:
    """Return the shuffled indices into real + rendered that an epoch goes through."""
    extra = round(recipe.rendered_share * len(real)) if rendered else 0
    turn = len(real) + (epoch * extra + np.arange(extra)) % max(1, len(rendered))
    both = np.concatenate((np.arange(len(real)), turn))
    return np.random.default_rng([recipe.seed, epoch]).permutation(both)


def batches(
    real: Samples, rendered: Samples, recipe: Recipe, epoch: int
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


def start_from(network: nn.Module, trunk: nn.Module) -> None:
    """Copy every weight that the trunk has of the same name and shape.

    Outside the attention block that must be all of them; a block keeps what its kind has in common
    with the trunk's (queries, keys and values, say) and starts afresh with the rest.
    """
    own, given = network.state_dict(), trunk.state_dict()
    shared = {
        name: tensor
        for name, tensor in given.items()
        if name in own and own[name].shape == tensor.shape
    }
    strangers = [
        name
        for name in sorted((own.keys() | given.keys()) - shared.keys())
        if not name.startswith("head.block.")
    ]
    if strangers:
        raise ValueError(f"the trunk does not fit this network: {', '.join(strangers)}")
    network.load_state_dict(shared, strict=False)


def save_state(
    path: Path,
    network: nn.Module,
    average: AveragedModel,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    epoch: int,
) -> None:
    """Write everything that the next epoch needs; never leaves a half-written file."""
    partial = path.with_suffix(".partial")
    torch.save(
        {
            "network": network.state_dict(),
            "average": average.state_dict(),
            "optimizer": optimizer.state_dict(),
            "schedule": schedule.state_dict(),
            "epoch": epoch,
        },
        partial,
    )
    partial.replace(path)
