"""Train a bundled network: `python -m models.train streets-dnl --data camvid --root ROOT`."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from models.checkpoint import (
    WEIGHTS,
    ModelCard,
    load_network,
    load_segmentation,
    save_network,
)
from models.checkpoints.layout import Network
from models.file_hash import file_sha256
from models.networks.clip_network import ClipNetwork
from models.training.clip_data import FRAMES, RENDERED_CLIPS, SIZE_HW, rendered_clips
from models.training.clips import train_clips
from models.training.data import RENDERED_SCENES, Dataset, read_samples, rendered_samples
from models.training.evaluation import (
    accuracy,
    clip_confusion_matrix,
    confusion_matrix,
    mean_iou,
)
from models.training.recipe import RECIPES, STREET_RECIPES
from models.training.streets import train_streets
from models.zoo import NETWORKS

cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@cli.command()
def main(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(NETWORKS)}.")],
    data: Annotated[
        Dataset | None,
        typer.Option(
            help="How ROOT is laid out, camvid if not given; clips are always rendered.",
            show_default=False,
        ),
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="Folder with <split>/images and <split>/labels.")
    ] = None,
    runs: Annotated[
        Path, typer.Option(help="Where checkpoints and logs go; a rerun resumes.")
    ] = Path("runs"),
    out: Annotated[
        Path, typer.Option(help="Where the finished weights and their card go.")
    ] = WEIGHTS,
    threads: Annotated[
        int | None, typer.Option(min=1, help="Processor threads; all cores if not given.")
    ] = None,
) -> None:
    """Train NAME (and what it starts from), then write its weights and its model card."""
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        if name not in NETWORKS:
            raise ValueError(f"unknown network {name!r}; available: {', '.join(NETWORKS)}")
        if NETWORKS[name].task == "clips":
            card = _train_on_clips(name, data, runs, out)
        else:
            card = _train_on_streets(name, data or Dataset.camvid, root, runs, out)
    except ValueError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    card.write(out / f"{name}.json")
    typer.echo(f"{out / f'{name}.safetensors'}: {card.figure}, sha256 {card.sha256}")


def _train_on_streets(
    name: str, data: Dataset, root: Path | None, runs: Path, out: Path
) -> ModelCard:
    train_set, val_set = (list(read_samples(data, root, split)) for split in ("train", "val"))
    mixed = STREET_RECIPES[name].rendered_share > 0
    rendered = list(rendered_samples("train")) if mixed else []
    network = train_streets(name, train_set, rendered, val_set, runs)
    path = out / f"{name}.safetensors"
    save_network(path, network, NETWORKS[name].architecture)
    bundled = load_segmentation(path)  # what is reported is what the file holds, in half precision
    return ModelCard(
        **_facts(name, bundled, path),
        data="CamVid train (367 images, 360 x 480, 11 classes; Brostow et al. 2009)"
        + (f" and {RENDERED_SCENES['train']} rendered scenes" if mixed else ""),
        recipe=f"python -m models.train {name} --data {data.value} --root ROOT",
        val_miou=round(mean_iou(confusion_matrix(bundled, val_set)), 4),
        rendered_miou=round(mean_iou(confusion_matrix(bundled, rendered_samples("val"))), 4),
        license="Apache-2.0 (the weights; CamVid itself is not part of this repository)",
    )


def _train_on_clips(name: str, data: Dataset | None, runs: Path, out: Path) -> ModelCard:
    if data not in (None, Dataset.rendered):
        raise ValueError(
            f"{name} is trained on rendered clips: data must be 'rendered', got {data}"
        )
    train_set, val_set = (rendered_clips(split, runs) for split in ("train", "val"))
    network = train_clips(name, train_set, val_set, runs)
    path = out / f"{name}.safetensors"
    save_network(path, network, NETWORKS[name].architecture)
    bundled = load_network(path)
    assert isinstance(bundled, ClipNetwork)  # it was one when it was saved
    height, width = SIZE_HW
    return ModelCard(
        **_facts(name, bundled, path),
        data=f"{RENDERED_CLIPS['train']} rendered clips ({FRAMES} frames, {height} x {width}, "
        f"{len(bundled.classes)} classes)",
        recipe=f"python -m models.train {name}",
        accuracy=round(accuracy(clip_confusion_matrix(bundled, val_set)), 4),
        license="Apache-2.0",
    )


def _facts(name: str, network: Network, path: Path) -> dict[str, Any]:
    """Return what a card says whatever the task."""
    return {
        "title": NETWORKS[name].title,
        "sha256": file_sha256(path),
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "epochs": total_epochs(name),
        "seed": RECIPES[name].seed,
        "trained_on": datetime.now(UTC).date().isoformat(),
    }


def total_epochs(name: str) -> int:
    """Return the epochs of a recipe together with those of everything it starts from."""
    return RECIPES[name].epochs + total_epochs(RECIPES[name].start_from) if name else 0


if __name__ == "__main__":
    cli()
