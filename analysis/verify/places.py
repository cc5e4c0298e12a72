"""Places of tokens as pixels tell them: what a patch of new pixels moves most must lie there."""

from collections.abc import Callable, Iterator, Sequence
from math import ceil, floor

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from nonlocal_lens.analysis.grid import Cell, Grid
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.verify.family import Member

Captured = Callable[[Member], Sequence[AttentionRecord]]

SEEDS = range(4)
"""Of new pixels: what they move is summed, so that no chance decides between two neighbors."""


def farthest(member: Member, records: Sequence[AttentionRecord], captured: Captured) -> int | None:
    """Return how far from patches of new pixels lay the queries, and keys, that they moved most.

    That is the one that moved most, or the middle of all that moved at least half as far, whichever
    is nearer: where a convolution makes queries of 7 x 7 features, chance decides which of them
    moves most, and at the border of a picture the middle lies further in. This is asked of the
    first block with tokens that have places: attention has not carried anything from one place to
    another before.

    Args:
        member: What was captured.
        records: What was found.
        captured: Captures it again, given other pixels.

    Returns:
        The largest distance, in cells along a side; None if no block has places.
    """
    for record in records:
        found = list(_distances(member, records, record, captured))
        if found:
            return max(found)
    return None


def _distances(
    member: Member,
    records: Sequence[AttentionRecord],
    first: AttentionRecord,
    captured: Captured,
) -> Iterator[int]:
    """Yield, for patches as large as a cell, how far from one lay what it moved most in a block."""
    heads = _heads(records, first)
    axes = {"query": first.query_axis, "key": first.key_axis}
    placed = {
        side: axis.grid for side, axis in axes.items() if axis.grid and axis.grid.positions > 1
    }
    if not placed:
        return
    painted = next(iter(placed.values()))
    for cell in some_cells(painted):
        given = [repainted(member, painted, cell, seed) for seed in SEEDS]
        others = [_heads(captured(one), first) for one in given if one is not None]
        pairs = [(heads[at], other[at]) for other in others for at in heads if at in other]
        for side, grid in placed.items():
            expected = _under(grid, painted, cell, member)
            if not pairs or expected is None or axes[side].at(grid.position(expected)) is None:
                continue
            moved = torch.stack([_moved(one, other, side) for one, other in pairs]).sum(dim=0)
            moved = moved[: axes[side].placed]
            if moved.any():
                cells = np.array([grid.cell(int(at)) for at in axes[side].all_cells])
                most = cells[int(moved.argmax())]
                middle = np.rint(cells[(moved >= moved.max() / 2).numpy()].mean(axis=0))
                yield min(int(np.abs(one - expected).max()) for one in (most, middle))


def _heads(
    records: Sequence[AttentionRecord], first: AttentionRecord
) -> dict[int | None, AttentionRecord]:
    """Return the heads of one block's run; on other pixels one may be refused for its rounding."""
    at = (first.block, first.call)
    return {record.head: record for record in records if (record.block, record.call) == at}


def _under(grid: Grid, painted: Grid, cell: Cell, member: Member) -> Cell | None:
    """Return the cell of a grid that lies under the middle of another grid's cell."""
    if grid == painted:
        return cell
    x, y = painted.center(cell)
    row, column = int(grid.rows_at(np.array(y))), int(grid.columns_at(np.array(x)))
    frame: int | None = 0
    if member.time_axis is not None:
        frames = member.picture.shape[member.time_axis]
        start, end = painted.clip_span(cell.frame, frames)
        frame = grid.frame_at((start + end) / 2 - 0.5, frames)
    is_there = frame is not None and 0 <= row < grid.height and 0 <= column < grid.width
    return Cell(row, column, frame or 0) if is_there else None


def some_cells(grid: Grid) -> Iterator[Cell]:
    """Yield cells that no symmetry of a grid maps onto each other, where it is large enough."""
    last = grid.frames - 1
    found = {
        (grid.height // 3, grid.width // 4, last // 2),
        (grid.height - 1, grid.width // 2, last),
        (grid.height // 6, (4 * grid.width) // 5, 0),
    }
    for row, column, frame in sorted(found):
        yield Cell(row, column, frame)


def repainted(member: Member, grid: Grid, cell: Cell, seed: int) -> Member | None:
    """Return a network that is given other pixels where a cell lies; None where no pixel is."""
    picture, axis = member.picture.clone(), member.time_axis
    left, top, width, height = grid.box(cell)
    rows = slice(max(floor(top), 0), max(ceil(top + height), 0))
    columns = slice(max(floor(left), 0), max(ceil(left + width), 0))
    part = picture[..., rows, columns]
    if axis is not None:
        start, end = grid.clip_span(cell.frame, picture.shape[axis])
        first, after = max(floor(start), 0), min(ceil(end), picture.shape[axis])
        part = part.narrow(axis, first, max(after - first, 0))
    if not part.numel():
        return None
    part.copy_(3 * torch.randn(part.shape, generator=torch.Generator().manual_seed(seed)))
    return member.showing(picture)


def _moved(record: AttentionRecord, other: AttentionRecord, side: str) -> Float[Tensor, " tokens"]:
    """Return how far every query, or key, of a record is from another record's."""
    moved: Tensor
    if side == "query":
        moved = (other.query - record.query).double().norm(dim=1)
        return moved
    moved = (other.key - record.key).double().norm(dim=1)
    if record.unary is not None and other.unary is not None:
        moved = moved + (other.unary - record.unary).abs()
    return moved
