"""The cells of a block's row, from one forward pass of its network."""

from collections.abc import Iterator
from dataclasses import asdict
from importlib import metadata
from math import nan
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor, nn

from analysis import consistency, degeneracy
from analysis.clips import Clip
from analysis.degeneracy import QUANTILES, DegeneracyReport
from analysis.effects import effect
from analysis.interventions import INTERVENTIONS, intervene
from analysis.record import AttentionRecord
from analysis.terms import TERMS
from analysis.watching import Watched, watch
from app import PRODUCT
from app.batch.networks import LoadedNetwork
from app.stats.columns import (
    BASELINES,
    CHANGES,
    NUMBERS,
    QUANTILED,
    REGIONS,
    WITH_BASELINES,
    prefix,
    quantile_name,
)
from app.stats.options import Options
from models.streets import STREET_CLASSES
from models.training.evaluation import count_pixels, mean_iou

Labels = UInt8[np.ndarray, "height width"]


def measured(
    network: LoadedNetwork,
    image: UInt8[np.ndarray, "height width 3"] | Clip,
    options: Options,
    labels: Labels | None = None,
) -> Iterator[tuple[AttentionRecord, dict[str, Any]]]:
    """Run a network once; yield the record of every block and head, and the cells of its row."""
    watched = watch(network.module, image, to_the_end=options.interventions)
    # the network as a whole is what an intervention changes: the same in the rows of all its blocks
    changes = _changes(network.module, watched, labels) if options.interventions else {}
    for record in watched.records:
        if options.block is not None and record.block != options.block:
            continue
        report = degeneracy.measure(
            record,
            vectors=watched.vectors.get(record.block),
            seed=options.seed,
            shuffles=options.baselines,
        )
        yield (
            record,
            {
                **about(network, record, options),
                **_of_report(report),
                **(_of_baselines(report) if options.baselines else {}),
                **(_of_labels(record, labels) if labels is not None else {}),
                **changes,
            },
        )


def about(network: LoadedNetwork, record: AttentionRecord, options: Options) -> dict[str, Any]:
    """Return what the rows of one block and head have in common."""
    return {
        "network": network.title,
        "network_sha256": network.sha256,
        "block": record.block,
        "head": record.head,
        "form": record.form,
        "coupling": record.coupling,
        "seed": options.seed,
        "version": PRODUCT,
        "torch_version": metadata.version("torch"),
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


def _of_labels(record: AttentionRecord, labels: Labels) -> dict[str, Any]:
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
def _changes(network: nn.Module, watched: Watched, labels: Labels | None) -> dict[str, float]:
    """Return what every intervention does to the output of a network for one input."""
    outputs: dict[str, Tensor] = {}
    for how in INTERVENTIONS:
        if how == "on" and watched.output is not None:
            outputs[how] = watched.output
            continue
        with intervene(network, how):
            outputs[how] = network(watched.x)
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
