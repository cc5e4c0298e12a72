"""A training that is watched, and the same training alone.

`python -m benchmarks.watching` trains a network on rendered streets three ways, in turns, and
prints the CPU time of a step and how often degeneracy was measured: alone, watched within the
budget of `analysis.watch`, and watched at every multiple of `every` whatever it costs.
"""

import argparse
from itertools import cycle, islice
from time import process_time
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from nonlocal_lens.analysis import watch
from nonlocal_lens.analysis.watch import BUDGET
from nonlocal_lens.models import load_network
from nonlocal_lens.streets import render_scene
from nonlocal_lens.streets.classes import VOID

NETWORK = "streets-dnl"
HW = (240, 320)
BATCH = 4
EVERY = 10
BUDGETS = {"alone": None, "watched": BUDGET, f"at every {EVERY}th step": 1.0}

Batch = tuple[Tensor, Tensor]


class Cost(NamedTuple):
    """What a training took."""

    seconds: float
    measurements: int


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=120, help="steps of a training")
    parser.add_argument("--rounds", type=int, default=2, help="trainings of each kind")
    options = parser.parse_args()
    torch.set_num_threads(1)
    batches = [batch(first) for first in range(0, 4 * BATCH, BATCH)]
    train(batches, None, 2)  # warm-up
    costs: dict[str, list[Cost]] = {name: [] for name in BUDGETS}
    for _ in range(options.rounds):
        for name, budget in BUDGETS.items():
            costs[name].append(train(batches, budget, options.steps))
    best = {name: min(found) for name, found in costs.items()}
    for name, cost in best.items():
        per_step = cost.seconds / options.steps
        more = cost.seconds / best["alone"].seconds - 1
        print(f"{name:<20} {per_step:.3f} s per step  {more:+6.1%}  measured {cost.measurements} x")


def batch(first: int) -> Batch:
    """Return rendered streets as a network takes them, with their labels."""
    network = load_network(NETWORK)
    scenes = [render_scene(seed, HW) for seed in range(first, first + BATCH)]
    x = torch.cat([network.preprocess(scene.image) for scene in scenes])
    return x, torch.stack([torch.from_numpy(scene.labels).long() for scene in scenes])


def train(batches: list[Batch], budget: float | None, steps: int) -> Cost:
    """Return the CPU time of a training, the time to set it up not counted."""
    network = load_network(NETWORK).train().requires_grad_(True)
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-4, momentum=0.9)
    started = process_time()
    watcher = None
    if budget is not None:
        watcher = watch(network, [x for x, _ in batches], every=EVERY, budget=budget)
    for x, labels in islice(cycle(batches), steps):
        optimizer.zero_grad()
        F.cross_entropy(network(x), labels, ignore_index=VOID).backward()
        optimizer.step()
        if watcher is not None:
            watcher()
    return Cost(process_time() - started, 0 if watcher is None else len(watcher.rows))


if __name__ == "__main__":
    main()
