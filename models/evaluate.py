"""How well a network segments: `python -m models.evaluate streets-dnl --root ROOT`."""

import json
from pathlib import Path
from typing import Annotated

import typer
from tqdm import tqdm

from models.checkpoint import load_network
from models.training.confusion_figure import save_confusion_figure
from models.training.data import Dataset, read_samples
from models.training.evaluation import class_iou, confusion_matrix, mean_iou, pixel_accuracy

cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

Name = Annotated[str, typer.Argument(help="A network's name, or the path of a weight file.")]
Data = Annotated[Dataset, typer.Option(help="How ROOT is laid out; 'rendered' needs no ROOT.")]
Root = Annotated[
    Path | None,
    typer.Option(help="camvid: holds <split>/images and <split>/labels. folder: images, labels."),
]
Split = Annotated[str, typer.Option(help="train, val or test; a folder is one split.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@cli.command()
def main(
    name: Name,
    data: Data = Dataset.camvid,
    root: Root = None,
    split: Split = "val",
    as_json: AsJson = False,
    confusion: Annotated[
        Path | None, typer.Option(help="Draw the confusion matrix: *.png, *.pdf or *.svg.")
    ] = None,
) -> None:
    """Print mean and per-class intersection over union at full resolution and a single scale."""
    try:
        network = load_network(name)
        samples = list(read_samples(data, root, split))
        counts = confusion_matrix(network, tqdm(samples, desc=name, leave=False))
        if confusion is not None:
            title = f"{name} on {data.value} {split}"
            save_confusion_figure(confusion, counts, network.classes, title)
    except (ValueError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    per_class = dict(zip(network.classes, class_iou(counts).tolist(), strict=True))
    result = {
        "network": name,
        "data": data.value,
        "split": split,
        "images": len(samples),
        "miou": mean_iou(counts),
        "accuracy": pixel_accuracy(counts),
        "class_iou": per_class,
    }
    if as_json:
        typer.echo(json.dumps(result, indent=2))
        return
    typer.echo(
        f"{name} on {len(samples)} images of {data.value} {split}: mIoU {result['miou']:.4f}, "
        f"accuracy {result['accuracy']:.4f}"
    )
    for class_name, iou in per_class.items():
        typer.echo(f"  {class_name:<12}{iou:.3f}")


if __name__ == "__main__":
    cli()
