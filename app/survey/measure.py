"""The numbers of one network on one picture, as rows of tables."""

from math import nan
from typing import Any, NamedTuple

from torch import nn

from analysis import consistency, degeneracy
from analysis.capture import Observation, observe
from analysis.record import AttentionRecord
from analysis.terms import TERMS
from analysis.vectors import vector_distances
from app.pictures import Picture
from models.training.evaluation import count_pixels, mean_iou

Row = dict[str, Any]

REGIONS = ("own_category", "boundary")
"""Where the labels say that attention may lie; see `analysis.consistency`."""


class Measured(NamedTuple):
    """The rows of one network on one picture."""

    rows: list[Row]  # one per block and head
    class_rows: list[Row]  # one per block, head, term and class, where there are labels


def measure(
    name: str, network: nn.Module, picture: Picture, label_classes: tuple[str, ...]
) -> Measured:
    """Run a network on a picture once and measure every block and head of it.

    Rows have every statistic of `analysis.degeneracy` and its baselines (`..._uniform`,
    `..._mean_row`, `..._shuffled`), numbers without a meaning as NaN. Where the picture has labels
    there are also, for every term, mass, chance and lift of every region, and the mIoU where the
    network knows just the classes of the labels.

    Raises:
        ValueError: The picture cannot be measured, or the network has no attention to measure.
    """
    with vector_distances(network) as vectors:
        seen = observe(network, picture.image)
    if not seen.records:
        raise ValueError(f"{name} has no attention block to measure")
    measured = Measured([], [])
    for record in seen.records:
        report = degeneracy.measure(record, vectors=vectors.get(record.block))
        about = {
            "input": picture.name,
            "network": name,
            "block": record.block,
            "head": record.head,
        }
        row = {
            **about,
            "queries": report.queries,
            "keys": report.keys,
            **{field: getattr(report, field) for field in degeneracy.STATISTICS},
            "verdict": report.verdict,
        }
        for field, baselines in report.baselines.items():
            row |= {f"{field}_{which}": value for which, value in baselines._asdict().items()}
        if picture.labels is not None:
            row["miou"] = _miou(network, seen, picture, label_classes)
            by_region, by_class = _against_labels(record, picture, label_classes)
            row |= by_region
            measured.class_rows.extend({**about, **one} for one in by_class)
        measured.rows.append(row)
    return measured


def _against_labels(
    record: AttentionRecord, picture: Picture, label_classes: tuple[str, ...]
) -> tuple[Row, list[Row]]:
    assert picture.labels is not None
    by_region: Row = {}
    by_class = []
    for term in TERMS:
        found = consistency.measure(record, picture.labels, len(label_classes), term=term)
        for region in REGIONS:
            agreement = getattr(found, region)
            for field in ("mass", "chance", "lift"):
                by_region[f"{term}_{region}_{field}"] = getattr(agreement, field)
        by_class += [
            {
                "class": label_classes[index],
                "term": term,
                "queries": agreement.queries,
                "mass": agreement.mass,
                "chance": agreement.chance,
                "lift": agreement.lift,
            }
            for index, agreement in found.by_class.items()
        ]
    return by_region, by_class


def _miou(
    network: nn.Module, seen: Observation, picture: Picture, label_classes: tuple[str, ...]
) -> float:
    if getattr(network, "classes", None) != label_classes or seen.output.ndim != 4:
        return nan
    assert picture.labels is not None
    return mean_iou(count_pixels(seen.output, picture.labels))
