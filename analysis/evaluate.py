"""What the attention is worth: `python -m analysis.evaluate streets-dnl --root ROOT`."""

import json
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from tqdm import tqdm

from analysis import degeneracy
from analysis.capture import attention_blocks, capture
from analysis.consistency import own_category_mass
from analysis.interventions import blocks_off
from analysis.terms import TERMS
from models import load_network
from models.networks.segmentation import SegmentationNetwork
from models.training.data import Dataset, Image, Labels, read_samples
from models.training.evaluation import confusion_matrix, mean_iou

cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@cli.command()
def main(
    name: Annotated[str, typer.Argument(help="A network's name, or the path of a weight file.")],
    root: Annotated[Path, typer.Option(help="Folder with <split>/images and <split>/labels.")],
    data: Annotated[Dataset, typer.Option(help="How ROOT is laid out.")] = Dataset.camvid,
    split: Annotated[str, typer.Option(help="Which folder of ROOT to evaluate on.")] = "val",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Print mIoU with the block on and off, attention inside the own category, and degeneracy."""
    try:
        network = load_network(name)
        if not attention_blocks(network):
            raise ValueError(f"{name} has no attention block to evaluate")
        samples = list(read_samples(data, root, split))
    except (ValueError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    result = evaluate(network, samples)
    if as_json:
        typer.echo(json.dumps({"network": name, "split": split, **result}, indent=2))
        return
    typer.echo(f"{name} on {result['images']} images of {split}")
    typer.echo(
        f"  mIoU {result['miou']:.4f}, with the block switched off {result['miou_block_off']:.4f}"
    )
    for term in TERMS:
        row = result["own_category"][term]
        typer.echo(
            f"  {term:<9} own-category mass {row['mass']:.3f}, chance {row['chance']:.3f}, "
            f"lift {row['lift']:.2f}"
        )
    for statistic, value in result["degeneracy"].items():
        typer.echo(f"  {statistic} {value:.4f}")


def evaluate(network: SegmentationNetwork, samples: list[tuple[Image, Labels]]) -> dict:
    """Return what `main` prints; masses and statistics of the first block, averaged over images."""
    miou = mean_iou(confusion_matrix(network, samples))
    with blocks_off(network):
        miou_off = mean_iou(confusion_matrix(network, samples))
    masses: dict[str, list] = {term: [] for term in TERMS}
    reports = []
    for image, labels in tqdm(samples, desc="attention", leave=False):
        record = capture(network, image)[0]
        reports.append(degeneracy.measure(record))
        for term in TERMS:
            masses[term].append(own_category_mass(record, labels, len(network.classes), term=term))
    own_category = {}
    for name, rows in masses.items():
        mass, chance = np.mean([row.mass for row in rows]), np.mean([row.chance for row in rows])
        own_category[name] = {
            "mass": float(mass),
            "chance": float(chance),
            "lift": float(mass / chance),
        }
    return {
        "images": len(samples),
        "miou": miou,
        "miou_block_off": miou_off,
        "own_category": own_category,
        "degeneracy": {
            name: float(np.mean([getattr(report, name) for report in reports]))
            for name in degeneracy.STATISTICS
        },
    }


if __name__ == "__main__":
    cli()
