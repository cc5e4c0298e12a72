"""How well networks do: `python -m nonlocal_lens.models.evaluate streets-dnl --root ROOT`.

For networks that segment, mean and per-class intersection over union at full resolution and a
single scale; for networks for clips, the share that is named right. Several names make a table.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from jaxtyping import Int
from torch import Tensor
from tqdm import tqdm

from nonlocal_lens.models.checkpoint import load_network, segmentation
from nonlocal_lens.models.checkpoints.layout import Network
from nonlocal_lens.models.networks.clip_network import ClipNetwork
from nonlocal_lens.models.training.clip_data import rendered_clips
from nonlocal_lens.models.training.confusion_figure import save_confusion_figure
from nonlocal_lens.models.training.data import Dataset, read_samples
from nonlocal_lens.models.training.evaluation import (
    accuracy,
    class_accuracy,
    class_iou,
    clip_confusion_matrix,
    confusion_matrix,
    mean_iou,
)

cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

Name = Annotated[str, typer.Argument(help="A network's name, or the path of a weight file.")]
Root = Annotated[
    Path | None,
    typer.Option(help="camvid: holds <split>/images and <split>/labels. folder: images, labels."),
]
Split = Annotated[str, typer.Option(help="train, val or test; a folder is one split.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@dataclass(frozen=True, eq=False)
class Evaluation:
    """How well one network does on one split."""

    name: str
    network: Network
    data: Dataset
    split: str
    count: int  # of images or clips
    confusion: Int[Tensor, "classes classes"]

    @property
    def figures(self) -> dict[str, float]:
        """The numbers for the whole split by name, the most telling first."""
        share = {"accuracy": accuracy(self.confusion)}
        if isinstance(self.network, ClipNetwork):
            return share
        return {"miou": mean_iou(self.confusion)} | share

    @property
    def per_class(self) -> dict[str, float]:
        """The most telling number for every class."""
        measure = class_accuracy if isinstance(self.network, ClipNetwork) else class_iou
        return dict(zip(self.network.classes, measure(self.confusion).tolist(), strict=True))

    def as_dict(self) -> dict[str, Any]:
        """Return all that `main` prints."""
        clips = isinstance(self.network, ClipNetwork)
        return {
            "network": self.name,
            "data": self.data.value,
            "split": self.split,
            "clips" if clips else "images": self.count,
            **self.figures,
            "class_accuracy" if clips else "class_iou": self.per_class,
        }


@cli.command()
def main(
    names: Annotated[
        list[str], typer.Argument(help="Networks' names, or the paths of weight files.")
    ],
    data: Annotated[
        Dataset | None,
        typer.Option(
            help="How ROOT is laid out; 'rendered' needs no ROOT.  [default: camvid for images; "
            "for clips rendered, which is all there is]",
            show_default=False,
        ),
    ] = None,
    root: Root = None,
    split: Split = "val",
    as_json: AsJson = False,
    confusion: Annotated[
        Path | None,
        typer.Option(help="Draw one network's confusion matrix: *.png, *.pdf or *.svg."),
    ] = None,
) -> None:
    """Print how well networks do, for the whole split and by class; several names make a table."""
    try:
        if confusion is not None and len(names) > 1:
            raise ValueError(f"--confusion draws one network's matrix, got {len(names)} networks")
        found = evaluate(names, data, root, split)
        if confusion is not None:
            title = f"{names[0]} on {found[0].data.value} {split}"
            save_confusion_figure(confusion, found[0].confusion, found[0].network.classes, title)
    except (ValueError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    if as_json:
        rows = [one.as_dict() for one in found]
        typer.echo(json.dumps(rows[0] if len(names) == 1 else rows, indent=2))
    elif len(names) > 1:
        typer.echo(table(found))
    else:
        typer.echo(summary(found[0]))


def evaluate(
    names: Sequence[str], data: Dataset | None, root: Path | None, split: str
) -> list[Evaluation]:
    """Run networks of one task over one split.

    Raises:
        ValueError: A network cannot be loaded, the data cannot be read, or they do not go together.
        OSError: A file cannot be read.
    """
    networks = {name: load_network(name) for name in names}
    if any(isinstance(network, ClipNetwork) for network in networks.values()):
        return _on_clips(networks, data or Dataset.rendered, split)
    return _on_images(networks, data or Dataset.camvid, root, split)


def _on_images(
    networks: dict[str, Network], data: Dataset, root: Path | None, split: str
) -> list[Evaluation]:
    samples = list(read_samples(data, root, split))
    found = []
    for name, network in networks.items():
        bar = tqdm(samples, desc=name, leave=False)
        counts = confusion_matrix(segmentation(name, network), bar)
        found.append(Evaluation(name, network, data, split, len(samples), counts))
    return found


def _on_clips(networks: dict[str, Network], data: Dataset, split: str) -> list[Evaluation]:
    for name, network in networks.items():
        if not isinstance(network, ClipNetwork):
            raise ValueError(f"{name} segments images and cannot be compared with others on clips")
    if data is not Dataset.rendered:
        raise ValueError(f"labeled clips are rendered: data must be 'rendered', got {data.value!r}")
    clips = rendered_clips(split)
    return [
        Evaluation(
            name, network, data, split, len(clips.labels), clip_confusion_matrix(network, clips)
        )
        for name, network in networks.items()
        if isinstance(network, ClipNetwork)
    ]


def summary(found: Evaluation) -> str:
    """Return one network's figures, a class per line."""
    kind = "clips" if isinstance(found.network, ClipNetwork) else "images"
    figures = ", ".join(
        f"{FIGURE_NAMES[name]} {value:.4f}" for name, value in found.figures.items()
    )
    width = max(map(len, found.per_class)) + 2
    lines = [f"{found.name} on {found.count} {kind} of {found.data.value} {found.split}: {figures}"]
    lines += [f"  {name:<{width}}{value:.3f}" for name, value in found.per_class.items()]
    return "\n".join(lines)


FIGURE_NAMES = {"miou": "mIoU", "accuracy": "accuracy"}


def table(found: Sequence[Evaluation]) -> str:
    """Return a Markdown table, a network per row."""
    first = found[0]
    figures = (FIGURE_NAMES[name] for name in first.figures)
    header = ["network", "parameters", *figures, *first.per_class]
    rows = [header, ["---"] * len(header)]
    for one in found:
        parameters = sum(parameter.numel() for parameter in one.network.parameters())
        values = [*one.figures.values(), *one.per_class.values()]
        rows.append([f"`{one.name}`", str(parameters), *(f"{value:.3f}" for value in values)])
    return "\n".join(f"| {' | '.join(map(str, row))} |" for row in rows)


if __name__ == "__main__":
    cli()
