"""The score of a class that a query of a record has part in: of a pixel, or of the picture."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.capture import evaluating, recording
from nonlocal_lens.analysis.effects import scores_of
from nonlocal_lens.analysis.images import ImageSource
from nonlocal_lens.analysis.prepared import prepared
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.running import run
from nonlocal_lens.models.wrappers import unwrapped

Score = Callable[[Tensor], Tensor]
"""Class scores: (images, 3, height, width) -> (images, classes); at one point, of many pixels."""


@dataclass(frozen=True, eq=False)
class ClassScore:
    """What explanations are asked of: one class, of one network's output for one image."""

    record: AttentionRecord  # of the block and head
    x: Float[Tensor, "1 channels height width"]  # the network's input
    score: Score
    target: int  # the class


def class_score(
    network: nn.Module,
    image: ImageSource,
    query: int,
    *,
    block: str | None = None,
    head: int | None = None,
    target: int | None = None,
) -> ClassScore:
    """Return the score at a query of a network's output, or of all of a picture.

    Args:
        network: A module whose attention is read and whose output is class scores.
        image: As for `analysis.capture.capture`.
        query: The number of a query of the record: flat cells first, tokens that lie nowhere after.
        block: Name of the attention block; the first if not given.
        head: Which of the block's heads; the first if not given.
        target: The class; the one with the highest score if not given.

    Raises:
        ValueError: There is no such block, head, query or class, the image cannot be used, the
            output is no class scores, or no key is a place.
    """
    network = unwrapped(network)
    pixels, x = prepared(network, image)
    with evaluating(network), torch.no_grad(), recording(network, pixels.shape[:2]) as records:
        scores = scores_of(run(network, x))
    record = _chosen(records, block, head)
    point = _output_point(record, query, scores)
    at_point = _at(scores, point)[0]
    target = int(at_point.argmax()) if target is None else target
    if not 0 <= target < len(at_point):
        raise ValueError(f"target must be a class in [0, {len(at_point)}), got {target}")

    def score(batch: Tensor) -> Tensor:
        return _at(scores_of(run(network, batch)), point)

    return ClassScore(record, x, score, target)


def _at(scores: Tensor, point: tuple[int, ...]) -> Float[Tensor, "images classes"]:
    if not point:
        return scores
    row, column = point
    return scores[:, :, row, column]


def _chosen(records: list[AttentionRecord], block: str | None, head: int | None) -> AttentionRecord:
    """Return the record of a block and a head; ValueError if there is none, or none of places."""
    blocks = list(dict.fromkeys(record.block for record in records))
    block = next(iter(blocks), "") if block is None else block
    if block not in blocks:
        raise ValueError(f"unknown block {block!r}; available: {', '.join(blocks) or 'none'}")
    of_block = {record.head: record for record in reversed(records) if record.block == block}
    head = min(of_block, key=lambda number: number or 0) if head is None else head
    if head not in of_block:
        available = ", ".join(map(str, sorted(number or 0 for number in of_block)))
        raise ValueError(f"block {block!r} has no head {head!r}; available: {available}")
    record = of_block[head]
    if not record.key_axis.placed:
        raise ValueError(f"no key of block {block!r} is a place, which attributions are of")
    return record


def _output_point(record: AttentionRecord, query: int, scores: Tensor) -> tuple[int, ...]:
    """Return the row and column of the score at a query; nothing where a picture has one score.

    Raises:
        ValueError: There is no such query, or it is no place while scores are.
    """
    terms.positions(record, [query])
    if scores.ndim == 2:
        return ()
    if scores.ndim != 4:
        raise ValueError(
            "attributions are of scores (1, classes) or (1, classes, height, width), got "
            f"{tuple(scores.shape)}"
        )
    axis = record.query_axis
    if query >= axis.placed or axis.grid is None:
        raise ValueError(
            f"query {query} is no place, and the network scores pixels: choose one below "
            f"{axis.placed}"
        )
    x, y = axis.grid.center(axis.grid.cell(int(axis.all_cells[query])))
    height, width = axis.grid.image_hw
    rows, columns = scores.shape[2:]
    row, column = int(y / height * rows), int(x / width * columns)
    return min(max(row, 0), rows - 1), min(max(column, 0), columns - 1)
