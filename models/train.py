"""Train a bundled network: `python -m models.train streets-dnl --data camvid --root ROOT`."""

import json
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import torch
import typer

from models.checkpoint import WEIGHTS, ModelCard, file_sha256, load_network, save_network
from models.training.data import RENDERED_SCENES, Dataset, read_samples, rendered_samples
from models.training.evaluation import confusion_matrix, mean_iou
from models.training.loop import train
from models.training.recipe import RECIPES
from models.zoo import NETWORKS

cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@cli.command()
def main(
    name: Annotated[str, typer.Argument(help=f"One of {', '.join(NETWORKS)}.")],
    data: Annotated[Dataset, typer.Option(help="How ROOT is laid out.")] = Dataset.camvid,
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
    try:
        if name not in NETWORKS:
            raise ValueError(f"unknown network {name!r}; available: {', '.join(NETWORKS)}")
        train_set, val_set = (list(read_samples(data, root, split)) for split in ("train", "val"))
    except ValueError as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    if threads is not None:
        torch.set_num_threads(threads)

    mixed = RECIPES[name].rendered_share > 0
    rendered = list(rendered_samples("train")) if mixed else []
    network = train(name, train_set, rendered, val_set, runs)
    path = out / f"{name}.safetensors"
    save_network(path, network, NETWORKS[name].architecture)
    bundled = load_network(path)  # what is reported is what the file holds, in half precision
    card = ModelCard(
        title=NETWORKS[name].title,
        sha256=file_sha256(path),
        parameters=sum(parameter.numel() for parameter in network.parameters()),
        data="CamVid train (367 images, 360 x 480, 11 classes; Brostow et al. 2009)"
        + (f" and {RENDERED_SCENES['train']} rendered scenes" if mixed else ""),
        recipe=f"python -m models.train {name} --data {data.value} --root ROOT",
        epochs=total_epochs(name),
        seed=RECIPES[name].seed,
        val_miou=round(mean_iou(confusion_matrix(bundled, val_set)), 4),
        rendered_miou=round(mean_iou(confusion_matrix(bundled, rendered_samples("val"))), 4),
        trained_on=datetime.now(UTC).date().isoformat(),
        license="Apache-2.0 (the weights; CamVid itself is not part of this repository)",
    )
    path.with_suffix(".json").write_text(
        json.dumps(asdict(card), indent=2) + "\n", encoding="utf-8"
    )
    typer.echo(f"{path}: val mIoU {card.val_miou:.4f}, sha256 {card.sha256}")


def total_epochs(name: str) -> int:
    """Return the epochs of a recipe together with those of everything it starts from."""
    return RECIPES[name].epochs + total_epochs(RECIPES[name].start_from) if name else 0


if __name__ == "__main__":
    cli()
