"""One input of a table, start to end: a function of plain values, so that any engine can map it."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from importlib import metadata
from math import isfinite, nan
from typing import Any

import torch
from torch import Tensor

from analysis import consistency, degeneracy
from analysis.degeneracy import QUANTILES, DegeneracyReport
from analysis.effects import effect
from analysis.interventions import INTERVENTIONS, intervene
from analysis.record import AttentionRecord
from analysis.terms import TERMS
from analysis.watching import Watched, watch
from app import PRODUCT
from app.batch.errors import UNUSABLE, in_words
from app.batch.inputs import Picture, Source, read_source
from app.batch.networks import LoadedNetwork, load, one_thread
from app.stats.columns import (
    BASELINES,
    CHANGES,
    NUMBERS,
    QUANTILED,
    REGIONS,
    WITH_BASELINES,
    Cell,
    prefix,
    quantile_name,
)
from app.stats.options import Options
from models.streets import STREET_CLASSES
from models.training.evaluation import count_pixels, mean_iou

Row = dict[str, Cell]


@dataclass
class Done:
    """What came of an input; plain values, as they are kept in the journal."""

    rows: list[Row] = field(default_factory=list)
    errors: list[dict[str, str]] = field(default_factory=list)


def measure_input(source: Source, options: Options) -> Done:
    """Run every network on an input once, and measure its blocks.

    An input or a network that cannot be used becomes an entry of `errors`; the others go on.
    """
    done = Done()
    with one_thread():
        try:
            picture = read_source(source.location, options.label_folder)
        except UNUSABLE as error:
            return Done(errors=[_failure(source, "", error)])
        for name in options.networks:
            network = load(name)
            try:
                found = [known(row) for row in rows_of(network, picture, options)]
            except UNUSABLE as error:
                done.errors.append(_failure(source, network.title, error))
            else:
                done.rows += [{"input": source.location, **row} for row in found]
    return done


def rows_of(network: LoadedNetwork, picture: Picture, options: Options) -> Iterator[dict[str, Any]]:
    """Yield a row for every block and head of a network on one image."""
    watched = watch(network.module, picture.image, to_the_end=options.interventions)
    labels = picture.labels if options.labels is not None else None
    # the network as a whole is what an intervention changes: the same in the rows of all its blocks
    changes = _changes(network, picture, watched, labels) if options.interventions else {}
    height, width = picture.image.shape[:2]
    for record in watched.records:
        if options.block is not None and record.block != options.block:
            continue
        report = degeneracy.measure(
            record,
            vectors=watched.vectors.get(record.block),
            seed=options.seed,
            shuffles=options.baselines,
        )
        yield {
            "input_sha256": picture.sha256,
            "width": width,
            "height": height,
            "network": network.title,
            "network_sha256": network.sha256,
            "block": record.block,
            "head": record.head,
            "form": record.form,
            "coupling": record.coupling,
            **_of_report(report),
            **(_of_baselines(report) if options.baselines else {}),
            **(_of_labels(record, labels) if labels is not None else {}),
            **changes,
            "seed": options.seed,
            "version": PRODUCT,
            "torch_version": metadata.version("torch"),
        }


def known(row: dict[str, Any]) -> Row:
    """Return a row as every format can hold it: what is undefined is None."""
    return {
        name: None if isinstance(cell, float) and not isfinite(cell) else cell
        for name, cell in row.items()
    }


def _of_report(report: DegeneracyReport) -> dict[str, Any]:
    cells = {column.name: getattr(report, column.name) for column in NUMBERS}
    for statistic in QUANTILED:
        values = getattr(report, f"{statistic}_quantiles")
        for at, value in zip(QUANTILES, values, strict=True):
            cells[quantile_name(statistic, at)] = value
    return {**cells, "verdict": report.verdict}


def _of_baselines(report: DegeneracyReport) -> dict[str, float]:
    return {
        f"{statistic}_{baseline}": getattr(report.baselines[statistic], baseline)
        for statistic in WITH_BASELINES
        for baseline in BASELINES
    }


def _of_labels(record: AttentionRecord, labels: Any) -> dict[str, Any]:
    cells: dict[str, Any] = {}
    for term in TERMS:
        found = consistency.measure(record, labels, len(STREET_CLASSES), term=term)
        for region in REGIONS:
            agreement = getattr(found, region)
            for name, value in {**asdict(agreement), "lift": agreement.lift}.items():
                cells[f"{prefix(term)}{region}_{name}"] = value
        cells["boundary_pixels"] = found.boundary_pixels
    return cells


@torch.no_grad()
def _changes(
    network: LoadedNetwork, picture: Picture, watched: Watched, labels: Any
) -> dict[str, float]:
    """Return what every intervention does to the output of a network for one image."""
    module = network.module
    preprocess: Any = module.preprocess
    outputs: dict[str, Tensor] = {}
    for how in INTERVENTIONS:
        if how == "on" and watched.output is not None:
            outputs[how] = watched.output
            continue
        with intervene(module, how):
            outputs[how] = module(preprocess(picture.image))
    cells = {}
    for how in CHANGES:
        change = effect(outputs["on"], outputs[how])
        cells[f"{how}_kl_nats"] = change.mean_kl_nats
        cells[f"{how}_flipped_share"] = change.flipped_share
    if labels is not None:
        scores_streets = outputs["on"].shape[1] == len(STREET_CLASSES)
        for state, output in outputs.items():
            miou = mean_iou(count_pixels(output, labels)) if scores_streets else nan
            cells[f"{state}_miou"] = miou
    return cells


def _failure(source: Source, network: str, error: BaseException) -> dict[str, str]:
    return {"input": source.location, "network": network, "error": in_words(error)}
