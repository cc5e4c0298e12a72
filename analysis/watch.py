"""Degeneracy while a network learns: a callback for the training loop."""

import csv
from collections.abc import Iterable
from math import isnan, nan
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from nonlocal_lens.analysis.capture import evaluating, recording
from nonlocal_lens.analysis.runs import runs
from nonlocal_lens.analysis.vectors import distances_of_all, vector_distances
from nonlocal_lens.models.placement import placed
from nonlocal_lens.models.wrappers import unwrapped

if TYPE_CHECKING:
    import pandas as pd

BUDGET = 0.019
"""Share of the time that watching may take: under 2 % of what the training takes alone."""


class Watch:
    """What `watch` returns: call it after every training step.

    Attributes:
        step: How many steps were made.
        rows: What was measured, in the order of the steps.
        spent: Seconds spent on measuring.
    """

    def __init__(
        self,
        model: nn.Module,
        images: Float[Tensor, "images 3 height width"],
        every: int,
        budget: float,
        csv_path: Path | None,
        writer: Any,
    ) -> None:
        self.step = 0
        self.rows: list[dict[str, Any]] = []
        self.spent = self._last = 0.0
        self._model, self._images, self._every, self._budget = model, images, every, budget
        self._csv, self._writer = csv_path, writer
        self._began = perf_counter()
        self.measure()

    def __call__(self) -> None:
        """Count a step, and measure if it is time and time allows."""
        self.step += 1
        if self.step % self._every == 0 and self._fits():
            self.measure()

    def _fits(self) -> bool:
        """Return whether measuring once more, as long as last time, keeps to the budget."""
        elapsed = perf_counter() - self._began
        return self.spent + self._last <= self._budget * (elapsed + self._last)

    def measure(self) -> None:
        """Measure every block now, whatever it costs, and log a row for each."""
        before = perf_counter()
        rows = [{"step": self.step, **row} for row in _measured(self._model, self._images)]
        self.rows += rows
        if self._csv is not None:
            _append(self._csv, rows)
        if self._writer is not None:
            _log(self._writer, rows)
        self._last = perf_counter() - before
        self.spent += self._last

    @property
    def frame(self) -> "pd.DataFrame":
        """All rows: `step`, `block`, `call` (which run), `head`, and the statistics by name."""
        import pandas as pd

        return pd.DataFrame(self.rows).astype({"head": "Int64"})


def watch(
    model: nn.Module,
    loader: Iterable[Any],
    *,
    every: int = 100,
    images: int = 1,
    budget: float = BUDGET,
    csv: str | Path | None = None,
    tensorboard: Any = None,
) -> Watch:
    """Log how degenerate a network's attention is while it is being trained.

    >>> watcher = watch(model, validation_loader, every=100, csv="degeneracy.csv")
    >>> for batch in training_loader:
    ...     train_on(batch)
    ...     watcher()
    >>> axes = plot_watch(watcher.frame, "unary_share")

    Measuring leaves the training as it is: modes, gradients, batch statistics and random numbers
    are untouched. The first measurement is made at once; a later one that would make all of them
    take more than `budget` of the time is put off to the next multiple of `every`.

    Args:
        model: The network in training, with attention blocks that `analysis.capture` can read.
        loader: Batches as the network takes them, or tuples that begin with one; the first images
            are kept and measured each time.
        every: Steps from one measurement to the next.
        images: How many images to measure; their numbers are averaged.
        budget: Share of the time that measuring may take; 1 measures at every multiple of `every`.
        csv: A file to write rows to, anew, as they are measured.
        tensorboard: A `SummaryWriter`, or a folder to open one in.

    Raises:
        ValueError: `every` or `images` is below 1, `budget` is not in (0, 1], the loader has too
            few images, or the network has no block to measure.
        ImportError: `tensorboard` is a folder, and the package is not installed.
    """
    if every < 1 or images < 1:
        raise ValueError(f"every and images must be at least 1, got {every} and {images}")
    if not 0 < budget <= 1:
        raise ValueError(f"budget must be in (0, 1], got {budget}")
    batch = _first(loader, images)
    writer = _writer(tensorboard) if isinstance(tensorboard, str | Path) else tensorboard
    path = None if csv is None else Path(csv)
    if path is not None:
        path.write_text("", encoding="utf-8")
    return Watch(model, batch, every, budget, path, writer)


def _first(loader: Iterable[Any], images: int) -> Tensor:
    batches: list[Tensor] = []
    for item in loader:
        batches.append(item[0] if isinstance(item, tuple | list) else item)
        if sum(map(len, batches)) >= images:
            return torch.cat(batches)[:images].detach().clone()
    raise ValueError(f"the loader must give at least {images} images, got {sum(map(len, batches))}")


def _measured(model: nn.Module, images: Tensor) -> list[dict[str, Any]]:
    """Return a row for every block, run and head, averaged over images."""
    # the catalog loads the statistics of other packages, which import this one
    from nonlocal_lens.analysis.catalog import STATISTICS
    from nonlocal_lens.analysis.tables.rows import measure_rows

    model = unwrapped(model)
    by_part: dict[tuple[str, int, int | None], list[dict[str, float]]] = {}
    for x in placed(model, images).split(1):
        with (
            evaluating(model),
            torch.no_grad(),
            vector_distances(model) as vectors,
            recording(model, (x.shape[-2], x.shape[-1])) as records,
        ):
            model(x)
        rows = measure_rows(records, vectors=distances_of_all(records, vectors))
        for record, run, row in zip(records, runs(records), rows, strict=True):
            values = {name: row[name] for name in STATISTICS}
            by_part.setdefault((record.block, run, record.head), []).append(values)
    if not by_part:
        raise ValueError(f"{type(model).__name__} has no attention block that capture can read")
    return [
        {"block": block, "call": run, "head": head, **_mean(found)}
        for (block, run, head), found in by_part.items()
    ]


def _mean(found: list[dict[str, float]]) -> dict[str, float]:
    means = {}
    for name in found[0]:
        known = [values[name] for values in found if not isnan(values[name])]
        means[name] = float(np.mean(known)) if known else nan
    return means


def _append(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        if file.tell() == 0:
            writer.writeheader()
        writer.writerows(rows)


def _log(writer: Any, rows: list[dict[str, Any]]) -> None:
    from nonlocal_lens.analysis.catalog import STATISTICS

    for row in rows:
        head = "" if row["head"] is None else f"/head {row['head']}"
        for name in STATISTICS:
            writer.add_scalar(f"{row['block']}{head}/{name}", row[name], row["step"])


def _writer(folder: str | Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError(
            "tensorboard is not installed: pip install tensorboard, or give no folder for it"
        ) from error
    return SummaryWriter(str(folder))
