"""The numbers of one network on one picture, as rows of tables."""

from math import nan
from typing import NamedTuple

from torch import nn

from nonlocal_lens.analysis.capture import Observation, observe
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.tables.rows import (
    Row,
    agreements,
    class_rows,
    label_cells,
    measure_rows,
)
from nonlocal_lens.analysis.vectors import distances_of_all, vector_distances
from nonlocal_lens.app.pictures import Picture
from nonlocal_lens.models.training.evaluation import count_pixels, mean_iou


class Measured(NamedTuple):
    """The rows of one network on one picture, and the records that they are of."""

    rows: list[Row]  # one per block and head
    class_rows: list[Row]  # one per block, head, term and class, where there are labels
    records: tuple[AttentionRecord, ...]  # in the order of `rows`


def measure(
    name: str, network: nn.Module, picture: Picture, label_classes: tuple[str, ...]
) -> Measured:
    """Run a network on a picture once and measure every block and head of it.

    Rows are those of `analysis.tables.rows.measure_row`, numbers without a meaning NaN. Where the
    picture has labels there is also the mIoU, where the network knows just the classes of these.

    Raises:
        ValueError: The picture cannot be measured, or the network has no attention to measure.
    """
    with vector_distances(network) as vectors:
        seen = observe(network, picture.image)
    if not seen.records:
        raise ValueError(f"{name} has no attention block to measure")
    measured = Measured([], [], seen.records)
    rows = measure_rows(seen.records, vectors=distances_of_all(seen.records, vectors))
    for record, found in zip(seen.records, rows, strict=True):
        about = {"input": picture.name, "network": name}
        if picture.labels is not None:
            agreed = agreements(record, picture.labels, label_classes)
            found |= label_cells(agreed)
            found["miou"] = _miou(network, seen, picture, label_classes)
            of_classes = class_rows(record, agreed, picture.labels, label_classes)
            measured.class_rows.extend({**about, **row} for row in of_classes)
        measured.rows.append({**about, **found})
    return measured


def _miou(
    network: nn.Module, seen: Observation, picture: Picture, label_classes: tuple[str, ...]
) -> float:
    assert picture.labels is not None
    if getattr(network, "classes", None) != label_classes or seen.output.ndim != 4:
        return nan
    if picture.labels.dtype.kind == "i" and picture.labels.max() >= len(label_classes):
        return nan  # they are another data set's
    return mean_iou(count_pixels(seen.output, picture.labels))
