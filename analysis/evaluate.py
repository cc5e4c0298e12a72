"""What attention is worth to a network.

`python -m nonlocal_lens.analysis.evaluate streets-dnl --root ROOT` prints it.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from itertools import islice
from math import nan
from typing import Annotated, Any

import numpy as np
import torch
import typer
from jaxtyping import Int
from torch import Tensor
from tqdm import tqdm

from nonlocal_lens.analysis import consistency, degeneracy
from nonlocal_lens.analysis.another_image import prepared_another
from nonlocal_lens.analysis.capture import attention_blocks, evaluating, recording
from nonlocal_lens.analysis.causes import with_another
from nonlocal_lens.analysis.changing import Changing
from nonlocal_lens.analysis.dataset_options import Data, Every, Root, Split
from nonlocal_lens.analysis.datasets import Source, read_labeled
from nonlocal_lens.analysis.effects import effect
from nonlocal_lens.analysis.intervals import CONFIDENCE, mean_interval
from nonlocal_lens.analysis.interventions import INTERVENTIONS
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.term_sinks import sinks_by_term
from nonlocal_lens.analysis.terms import TERMS
from nonlocal_lens.analysis.vectors import VectorDistances, vector_distances
from nonlocal_lens.models.checkpoint import load_segmentation
from nonlocal_lens.models.evaluate import AsJson, Name
from nonlocal_lens.models.networks.segmentation import SegmentationNetwork, upsample
from nonlocal_lens.models.training.data import Image, Labels
from nonlocal_lens.models.training.evaluation import count_pixels, mean_iou

cli = typer.Typer(add_completion=False, pretty_exceptions_enable=False)

RESAMPLES = 1000
"""Of images, for the interval of a change in mIoU."""

Figures = dict[str, Any]
"""Numbers in nested dictionaries, as JSON holds them."""


@cli.command()
def main(
    name: Name,
    data: Data = Source.camvid,
    root: Root = None,
    split: Split = "val",
    limit: Annotated[
        int | None, typer.Option(min=1, help="Stop after this many images; all if not given.")
    ] = None,
    every: Every = 1,
    as_json: AsJson = False,
) -> None:
    """Print what interventions change, attention on categories and boundaries, degeneracy."""
    try:
        network = load_segmentation(name)
        if not attention_blocks(network):
            raise ValueError(
                f"{name} has no attention block of this package to evaluate; "
                "`analysis.causes` and `analysis.depth` measure any network"
            )
        samples = islice(read_labeled(data, root, split, network.classes), 0, limit, every)
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
    """Return what `main` prints, from one pass over labeled images.

    The other image of `another_image` is the one half of them away, as in `analysis.causes`.

    Returns:
        `images`: how many.
        `miou`: under every intervention, over all pixels, 0 to 1.
        `miou_change`: what it adds to that of "on", with the ends of its 95 % bootstrap interval
        over images: `mean`, `low` and `high`.
        `effects`: of every intervention, `kl_nats` and `flipped_share` of `analysis.effects`.
        `blocks`: for every attention block `own_category` and `boundary` for every term and
        `by_class` for every class and term, each an `analysis.consistency.Agreement` with its lift,
        `boundary_pixels`, `sinks` of every term (`analysis.term_sinks`), and of
        `analysis.degeneracy` every statistic under `degeneracy` and `baselines`, with the ends of
        its interval over images under `low` and `high`.
        All but `miou` are means over the images where they are defined, NaN if there are none.

    Raises:
        ValueError: There is no image, or one cannot be measured.
    """
    classes = network.classes
    samples = list(samples)
    images = [image for image, _ in samples]
    counts: dict[str, list[Tensor]] = {how: [] for how in INTERVENTIONS}
    figures: list[Figures] = []
    pairs = with_another(images)
    with evaluating(network):
        for (image, labels), (_, another) in tqdm(
            zip(samples, pairs, strict=True), desc="evaluate", unit="image", leave=False
        ):
            x = network.preprocess(image)
            with recording(network, labels.shape) as records, vector_distances(network) as vectors:
                features = _features(network, x)  # what lies before the blocks is run once
            other_x = prepared_another(network, image, another)
            elsewhere = network.backbone(other_x)
            changing = Changing(network, features, elsewhere, part=network.head)
            changes = {}
            before = None
            for how in INTERVENTIONS if records else INTERVENTIONS[:1]:
                after = upsample(changing.output(how), x.shape[2:])
                before = after if before is None else before
                counts[how].append(count_pixels(after, labels))
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
    by_image = {how: torch.stack(found) for how, found in counts.items() if found}
    return {
        "images": len(figures),
        "miou": {how: mean_iou(found.sum(dim=0)) for how, found in by_image.items()},
        "miou_change": {how: miou_change(by_image["on"], found) for how, found in by_image.items()},
        **with_intervals(average(figures), figures),
    }


def _features(network: SegmentationNetwork, x: Tensor) -> tuple[Tensor, ...]:
    """Run a network and return what its head was given."""
    given: list[tuple[Tensor, ...]] = []
    handle = network.head.register_forward_pre_hook(lambda _, args: given.append(args))
    try:
        network(x)
    finally:
        handle.remove()
    return given[0]


def miou_change(
    before: Int[Tensor, "images classes classes"],
    after: Int[Tensor, "images classes classes"],
    *,
    seed: int = 0,
) -> dict[str, float]:
    """Return what a change adds to mIoU over all pixels, with its interval over images.

    Args:
        before: The confusion matrix of every image.
        after: The same when something was changed.
        seed: Of the resamples of images.

    Returns:
        `mean`, and the ends `low` and `high` of the 95 % bootstrap interval, NaN for one image.
    """
    both = torch.stack((before, after)).double()
    images = len(before)
    draws = np.random.default_rng(seed).multinomial(images, [1 / images] * images, RESAMPLES)
    drawn = torch.einsum("ri,bixy->rbxy", torch.from_numpy(draws).double(), both).long()
    changes = [mean_iou(changed) - mean_iou(own) for own, changed in drawn]
    low, high = np.quantile(changes, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    mean = mean_iou(after.sum(dim=0)) - mean_iou(before.sum(dim=0))
    if images < 2:
        low = high = nan
    return {"mean": mean, "low": float(low), "high": float(high)}


def with_intervals(means: Figures, figures: list[Figures]) -> Figures:
    """Return means over images with the intervals of every block's statistics beside them."""
    for block, of_block in means["blocks"].items():
        of_images = [one["blocks"][block] for one in figures]
        values = {
            name: [one["degeneracy"][name] for one in of_images] for name in of_block["degeneracy"]
        }
        for term in of_block["sinks"]:
            values[f"{term}_sink_share"] = [one["sinks"][term]["share"] for one in of_images]
        intervals = {name: mean_interval(some) for name, some in values.items()}
        of_block["low"] = {name: interval.low for name, interval in intervals.items()}
        of_block["high"] = {name: interval.high for name, interval in intervals.items()}
    return means


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
        "sinks": {term: sink._asdict() for term, sink in sinks_by_term(record).items()},
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
    yield row("attention", "mIoU", "change", "low", "high", "KL, nats", "flipped")
    for how, miou in found["miou"].items():
        effect_of, change = found["effects"][how], found["miou_change"][how].values()
        yield row(how, miou, *change, effect_of["kl_nats"], effect_of["flipped_share"])
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
        yield row(f"{block}, sinks", "share", "max/median", "rate")
        for term, sink in figures["sinks"].items():
            yield row(term, *sink.values())
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
