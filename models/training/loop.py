"""The training loop, whatever the task: deterministic by seed, resumable after any epoch."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from nonlocal_lens.models.atomic_write import appearing, atomic_write
from nonlocal_lens.models.blocks import attention_blocks
from nonlocal_lens.models.training.identity_dropout import drop_identity
from nonlocal_lens.models.training.recipe import Recipe

EPOCHS_BETWEEN_EVALUATIONS = 10

ATTENTION = ("head.block.", "head.clock.")
"""What the names begin with of weights that only a network with a block has."""

Network = TypeVar("Network", bound=nn.Module)


@dataclass(frozen=True, eq=False)
class Course(Generic[Network]):
    """What a task brings to the loop."""

    recipe: Recipe
    network: Network  # to be trained, as its first epoch finds it
    optimizer: torch.optim.Optimizer
    steps_per_epoch: int
    losses: Callable[[int], Iterator[Float[Tensor, ""]]]  # epoch -> the loss of each batch, in turn
    figures: Callable[[Network], dict[str, float]]  # how well a network does, for the log
    starting_point: Callable[[], Network] | None  # trains what the recipe starts from
    afresh: tuple[str, ...] = ATTENTION  # beginnings of names; see `start_from`


def train(name: str, course: Course[Network], runs: Path) -> Network:
    """Go through a course, or take up where an interrupted training left off.

    Writes `<runs>/<name>/last.pt` after every epoch and a line of `log.jsonl` beside it. A resumed
    training gives the same weights as one that was never interrupted.

    Returns:
        The average of the weights along the way, in evaluation mode.
    """
    recipe, network, optimizer = course.recipe, course.network, course.optimizer
    folder = runs / name
    folder.mkdir(parents=True, exist_ok=True)
    schedule = poly_schedule(optimizer, recipe, course.steps_per_epoch)
    average = AveragedModel(
        network, multi_avg_fn=get_ema_multi_avg_fn(recipe.averaging), use_buffers=True
    )
    averaged = cast(Network, average.module)
    for block in attention_blocks(network).values():
        drop_identity(block, recipe.identity_dropout)

    first_epoch = 0
    if (folder / "last.pt").exists():
        state = torch.load(folder / "last.pt", weights_only=True)
        network.load_state_dict(state["network"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        average.load_state_dict(state["average"])
        first_epoch = state["epoch"]
    elif course.starting_point is not None:
        start_from(network, course.starting_point(), course.afresh)
    _cut_log(folder / "log.jsonl", first_epoch)

    for epoch in range(first_epoch, recipe.epochs):
        started = time.perf_counter()
        torch.manual_seed(recipe.seed * 10_000 + epoch)  # dropout: the same whether resumed or not
        network.train()
        losses = []
        bar = tqdm(
            course.losses(epoch),
            total=course.steps_per_epoch,
            desc=f"{name} {epoch + 1}/{recipe.epochs}",
            leave=False,
        )
        for loss in bar:
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            average.update_parameters(network)
            losses.append(loss.item())
            bar.set_postfix(loss=f"{loss.item():.3f}")
        line: dict[str, float] = {"epoch": epoch + 1, "loss": round(float(np.mean(losses)), 4)}
        line["seconds"] = round(time.perf_counter() - started, 1)
        if (epoch + 1) % EPOCHS_BETWEEN_EVALUATIONS == 0 or epoch + 1 == recipe.epochs:
            line |= {key: round(value, 4) for key, value in course.figures(averaged).items()}
        with (folder / "log.jsonl").open("a", encoding="utf-8") as log:  # first: no line is missed
            log.write(json.dumps(line) + "\n")
        save_state(folder / "last.pt", network, average, optimizer, schedule, epoch + 1)
        tqdm.write(f"{name} {json.dumps(line)}")
    return averaged.eval()


def _cut_log(path: Path, epochs: int) -> None:
    """Keep the first lines of a log: those of epochs that are not gone through again."""
    if path.exists():
        lines = path.read_bytes().splitlines(keepends=True)
        atomic_write(path, b"".join(lines[:epochs]))


def parameter_groups(network: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Split the parameters by how they are to be trained.

    Weight decay applies neither to gains and biases nor to what decides where a block looks
    (queries, keys, masks): decay there keeps a block from ever waking up. These have a learning
    rate of their own.
    """
    logit = {
        id(parameter)
        for block in attention_blocks(network).values()
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
        share: float = (
            min(1.0, (step + 1) / recipe.warmup_steps) * max(0.0, 1 - step / total) ** 0.9
        )
        return share

    return torch.optim.lr_scheduler.LambdaLR(optimizer, factor)


def start_from(network: nn.Module, trunk: nn.Module, afresh: tuple[str, ...] = ATTENTION) -> None:
    """Copy every weight that the trunk has of the same name and shape.

    That must be all of them but those whose names begin with one of `afresh`; a block keeps what
    its kind has in common with the trunk's (queries, keys and values, say) and starts afresh with
    the rest.

    Raises:
        ValueError: Another weight is in one of the two alone, or has another shape.
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
        if not name.startswith(afresh)
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
    with appearing(path) as partial:
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
