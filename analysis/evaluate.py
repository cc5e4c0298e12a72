"""What attention is worth to a network: `python -m analysis.evaluate streets-dnl --root ROOT`."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import islice
from math import nan
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
import typer
from tqdm import tqdm

from analysis import consistency, degeneracy
from analysis.capture import attention_blocks, evaluating, recording
from analysis.datasets import Source, read_labeled
from analysis.effects import effect
from analysis.interventions import INTERVENTIONS, intervene
from analysis.record import AttentionRecord
from analysis.terms import TERMS
from analysis.vectors import VectorDistances, vector_distances
from models.checkpoint import load_segmentation
from models.evaluate import AsJson, Name
from models.networks.segmentation import SegmentationNetwork, upsample
from models.training.data import Image, Labels
from models.training.evaluation import count_pixels, mean_iou

cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

Figures = dict[str, Any]
"""Numbers in nested dictionaries, as JSON holds them."""


@cli.command()
def main(
    name: Name,
    data: Annotated[Source, typer.Option(help="How ROOT is laid out.")] = Source.camvid,
    root: Annotated[
        Path | None, typer.Option(help="Folder of the data; 'rendered' needs none.")
    ] = None,
    split: Annotated[str, typer.Option(help="Which part of the data; a folder is one.")] = "val",
    limit: Annotated[
        int | None, typer.Option(min=1, help="Stop after this many images; all if not given.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Print what interventions change, attention on categories and boundaries, degeneracy."""
    try:
        network = load_segmentation(name)
        if not attention_blocks(network):
            raise ValueError(f"{name} has no attention block to evaluate")
        samples = islice(read_labeled(data, root, split, network.classes), limit)
        found = evaluate(network, samples)
    except (ValueError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    if as_json:
        figures = {"network": name, "split": split, **null_for_nan(found)}
        typer.echo(json.dumps(figures, indent=2, allow_nan=False))
        return
    typer.echo(f"{name} on {found['images']} images of {split}")
    for line in tables(found):
        typer.echo(line)


@torch.inference_mode()
def evaluate(network: SegmentationNetwork, samples: Iterable[tuple[Image, Labels]]) -> Figures:
    """Return what `main` prints, from one pass over labeled images of which none is kept.

    Returns:
        `images`: how many.
        `miou`: under every intervention, over all pixels, 0 to 1.
        `effects`: of every intervention, `kl_nats` and `flipped_share` of `analysis.effects`.
        `blocks`: for every attention block `own_category` and `boundary` for every term and
        `by_class` for every class and term, each an `analysis.consistency.Agreement` with its lift,
        `boundary_pixels`, and of `analysis.degeneracy` every statistic under `degeneracy` and
        `baselines`.
        All but `miou` are means over the images where they are defined, NaN if there are none.

    Raises:
        ValueError: There is no image, or one cannot be measured.
    """
    classes = network.classes
    confusion = {
        how: torch.zeros(len(classes), len(classes), dtype=torch.int64) for how in INTERVENTIONS
    }
    figures: list[Figures] = []
    with evaluating(network):
        for image, labels in tqdm(samples, desc="evaluate", unit="image", leave=False):
            x = network.preprocess(image)
            features = network.backbone(x)  # what lies before the blocks is run once
            with recording(network, labels.shape) as records, vector_distances(network) as vectors:
                before = upsample(network.head(*features), x.shape[2:])
            changes = {}
            for how in INTERVENTIONS:
                with intervene(network, how):
                    after = upsample(network.head(*features), x.shape[2:])
                confusion[how] += count_pixels(after, labels)
                change = effect(before, after)
                changes[how] = {
                    "kl_nats": change.mean_kl_nats,
                    "flipped_share": change.flipped_share,
                }
            blocks = {
                record.block: block_figures(
                    record, vectors[record.block], labels, classes, seed=len(figures)
                )
                for record in records
            }
            figures.append({"effects": changes, "blocks": blocks})
    if not figures:
        raise ValueError("there are no images to evaluate on")
    miou = {how: mean_iou(counts) for how, counts in confusion.items()}
    return {"images": len(figures), "miou": miou, **average(figures)}


def block_figures(
    record: AttentionRecord,
    vectors: VectorDistances,
    labels: Labels,
    classes: tuple[str, ...],
    *,
    seed: int = 0,
) -> dict[str, Any]:
    """Return the numbers of one block on one image.

    Images of one size share their positions: with a `seed` for each, the error of what is sampled
    falls with their number.
    """
    by_term = {term: consistency.measure(record, labels, len(classes), term=term) for term in TERMS}
    report = degeneracy.measure(record, vectors=vectors, seed=seed)
    return {
        "own_category": {term: _fields(found.own_category) for term, found in by_term.items()},
        "boundary": {term: _fields(found.boundary) for term, found in by_term.items()},
        "by_class": {
            classes[index]: {
                term: _fields(found.by_class[index]) for term, found in by_term.items()
            }
            for index in by_term["whole"].by_class
        },
        "boundary_pixels": by_term["whole"].boundary_pixels,
        "degeneracy": {name: getattr(report, name) for name in degeneracy.STATISTICS},
        "baselines": {name: row._asdict() for name, row in report.baselines.items()},
    }


def average(rows: list[Any]) -> Any:
    """Return the mean of numbers in nested dictionaries, over those that are there and not NaN.

    A `lift` is added wherever there are a `mass` and a `chance`: the quotient of their means.
    """
    if not isinstance(rows[0], dict):
        known = [row for row in rows if row == row]
        return float(np.mean(known)) if known else nan
    keys = dict.fromkeys(key for row in rows for key in row)
    means = {key: average([row[key] for row in rows if key in row]) for key in keys}
    if {"mass", "chance"} <= means.keys():
        means["lift"] = means["mass"] / means["chance"] if means["chance"] > 0 else nan
    return means


def tables(found: Figures) -> Iterator[str]:
    """Yield what `evaluate` returns as lines of aligned text."""
    yield ""
    yield row("attention", "mIoU", "change", "KL, nats", "flipped")
    for how, miou in found["miou"].items():
        effect_of = found["effects"][how]
        change = miou - found["miou"]["on"]
        yield row(how, miou, change, effect_of["kl_nats"], effect_of["flipped_share"])
    for block, figures in found["blocks"].items():
        for region in ("own_category", "boundary"):
            yield ""
            yield row(f"{block}, {region}", "mass", "chance", "lift", "precision", "chance")
            for term, on in figures[region].items():
                yield row(
                    term,
                    *(
                        on[key]
                        for key in ("mass", "chance", "lift", "precision", "precision_chance")
                    ),
                )
        yield f"  (boundaries reach {figures['boundary_pixels']:.1f} pixels to either side)"
        yield ""
        yield row(f"{block}, lift by class", *TERMS)
        for name, by_term in figures["by_class"].items():
            yield row(name, *(by_term[term]["lift"] for term in TERMS))
        yield ""
        yield row(f"{block}, degeneracy", "value", "uniform", "mean row", "shuffled")
        for name, value in figures["degeneracy"].items():
            unit = degeneracy.STATISTICS[name].unit
            yield row(name, value, *figures["baselines"].get(name, {}).values()) + f"  {unit}"


def row(title: str, *cells: float | str) -> str:
    """Return one line of a table; a number that is undefined is a dash."""
    texts = [
        cell if isinstance(cell, str) else f"{cell:.4f}" if cell == cell else "-" for cell in cells
    ]
    return f"  {title:<28}" + "".join(f"{text:>11}" for text in texts)


def null_for_nan(value: Any) -> Any:
    """Return nested dictionaries as JSON can hold them."""
    if isinstance(value, dict):
        return {key: null_for_nan(item) for key, item in value.items()}
    return None if value != value else value


def _fields(agreement: consistency.Agreement) -> dict[str, float]:
    return {name: value for name, value in asdict(agreement).items() if name != "queries"}


if __name__ == "__main__":
    cli()
