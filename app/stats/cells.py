"""The cells of a block's row, from one forward pass of its network."""

from collections.abc import Iterator
from functools import cache
from importlib import metadata
from math import nan
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from nonlocal_lens.analysis.another_image import SEED, prepared_another
from nonlocal_lens.analysis.causes import Part, parts_of
from nonlocal_lens.analysis.changing import Changing
from nonlocal_lens.analysis.clips import Clip
from nonlocal_lens.analysis.early_exit import BlockObservation, observe_blocks
from nonlocal_lens.analysis.effects import effect, scores_under
from nonlocal_lens.analysis.interventions import INTERVENTIONS, Intervention
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.runs import runs
from nonlocal_lens.analysis.tables.rows import BASELINES, WITH_BASELINES, Labels, measure_rows
from nonlocal_lens.analysis.vectors import distances_of_all
from nonlocal_lens.app import PRODUCT
from nonlocal_lens.app.batch.networks import LoadedNetwork
from nonlocal_lens.app.stats.columns import CHANGES
from nonlocal_lens.app.stats.options import Options
from nonlocal_lens.models.training.evaluation import count_pixels, mean_iou
from nonlocal_lens.streets.classes import STREET_CLASSES

AnotherInput = tuple[str, UInt8[np.ndarray, "height width 3"] | Clip]
"""Where another input is from, and what it is."""

Group = tuple[str | None, int | None]
"""A block and a head; None stands for all."""


def measured(
    network: LoadedNetwork,
    image: UInt8[np.ndarray, "height width 3"] | Clip,
    options: Options,
    labels: Labels | None = None,
    another: AnotherInput | None = None,
    observed: BlockObservation | None = None,
) -> Iterator[tuple[AttentionRecord, dict[str, Any]]]:
    """Run a network once; yield the record of every block and head, and the cells of its row.

    Args:
        network: The network.
        image: The input.
        options: What is measured.
        labels: The class of every pixel of the input.
        another: The other input of interventions; a rendered street if None.
        observed: What the network did on the input, where it has run already.
    """
    if observed is None:
        observed = observe_blocks(network.module, image, to_the_end=options.interventions)
    changes: dict[Group, dict[str, Any]] = {}
    if options.interventions:
        pixels = image.frames if isinstance(image, Clip) else image
        changes = _changes(network.module, observed, pixels, another, options.intervene_on, labels)
    of_pass = observed.records
    every = zip(of_pass, runs(of_pass), distances_of_all(of_pass, observed.vectors), strict=True)
    asked = [one for one in every if options.block in (None, one[0].block)]
    rows = measure_rows(
        [record for record, *_ in asked],
        vectors=[distances for *_, distances in asked],
        labels=labels,
        classes=tuple(STREET_CLASSES),
        seed=options.seed,
        shuffles=options.baselines,
    )
    for (record, run, _), found in zip(asked, rows, strict=True):
        if not options.baselines:
            for statistic in WITH_BASELINES:
                for baseline in BASELINES:
                    del found[f"{statistic}_{baseline}"]
        changed = changes.get(_group(record, options.intervene_on), {})
        yield record, {**found, **changed, **about(network, record, run, options)}


def about(
    network: LoadedNetwork, record: AttentionRecord, run: int, options: Options
) -> dict[str, Any]:
    """Return what the rows of one run of a block and head have in common."""
    return {
        "network": network.title,
        "network_sha256": network.sha256,
        "block": record.block,
        "call": run,
        "head": record.head,
        "form": record.form,
        "coupling": record.coupling,
        "seed": options.seed,
        **({"batch": options.batch} if options.batch > 1 else {}),
        "version": PRODUCT,
        "torch_version": _torch_version(),
    }


@cache
def _torch_version() -> str:
    """Return the version that is installed; a parse of its metadata, so that not for every row."""
    return metadata.version("torch")


def _group(record: AttentionRecord, part: Part) -> Group:
    """Return what is changed for a row: its block and head, None for all."""
    block = None if part == "network" else record.block
    return block, record.head if part == "head" else None


@torch.no_grad()
def _changes(
    network: nn.Module,
    observed: BlockObservation,
    pixels: UInt8[np.ndarray, "*frames height width 3"],
    another: AnotherInput | None,
    part: Part,
    labels: Labels | None,
) -> dict[Group, dict[str, Any]]:
    """Return what every intervention does to the output of a network, by what is changed."""
    source, image = ("", None) if another is None else another
    other_x = prepared_another(network, pixels, image)
    changing = Changing(network, observed.x, other_x)
    cells: dict[Group, dict[str, Any]] = {}
    for group, where in parts_of(changing.heads, part):
        cells[group] = {"another_input": source or f"rendered:{SEED}"}
        cells[group] |= _cells_of(scores_under(changing, where), labels)
    return cells


def _cells_of(
    scores: dict[Intervention, Float[Tensor, "1 classes *pixels"]], labels: Labels | None
) -> dict[str, float]:
    cells = {}
    for how in CHANGES:
        change = effect(scores["on"], scores[how]) if how in scores else None
        cells[f"{how}_kl_nats"] = nan if change is None else change.mean_kl_nats
        cells[f"{how}_flipped_share"] = nan if change is None else change.flipped_share
    if labels is not None:
        known = labels.max() < len(STREET_CLASSES)  # else they are another data set's
        scores_streets = known and scores["on"].shape[1] == len(STREET_CLASSES)
        for state in INTERVENTIONS:
            measurable = scores_streets and state in scores
            miou = mean_iou(count_pixels(scores[state], labels)) if measurable else nan
            cells[f"{state}_miou"] = miou
    return cells
