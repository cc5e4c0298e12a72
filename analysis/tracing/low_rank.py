"""A matrix as the product of two narrow ones, where it is one: how a bias travels as channels."""

import torch
from jaxtyping import Float
from torch import Tensor

MAX_RANK = 256
TOLERANCE = 1e-6
CHECKS = 4  # random directions that a residual must vanish along


class FullRankError(ValueError):
    """A matrix is no product of two that are at most `MAX_RANK` wide."""


def factors(
    matrix: Float[Tensor, "batch rows columns"],
) -> tuple[Float[Tensor, "batch rows rank"], Float[Tensor, "batch rank columns"]]:
    """Return two matrices whose product is the given one, to `TOLERANCE` of its largest entry.

    Small matrices are taken whole, with an identity beside them. Of large ones crosses of a row and
    a column are taken out until nothing is left (adaptive cross approximation: Bebendorf, Numer.
    Math. 86, 2000), which costs rank^2 * (rows + columns); random directions then tell whether any
    row was missed.

    Raises:
        FullRankError: There are no such matrices.
    """
    _, rows, columns = matrix.shape
    if min(rows, columns) <= MAX_RANK // 4:
        return _whole(matrix)
    found = _crosses(matrix)
    if found is None:
        if min(rows, columns) <= MAX_RANK:
            return _whole(matrix)
        raise FullRankError(
            f"a bias of {rows} queries x {columns} keys has a rank above {MAX_RANK}: it is no sum "
            "of few channels"
        )
    left, right = found
    return left.to(matrix.dtype), right.to(matrix.dtype)


def _whole(matrix: Tensor) -> tuple[Tensor, Tensor]:
    """Return a matrix beside the identity of its shorter side."""
    batch, rows, columns = matrix.shape
    unit = torch.eye(min(rows, columns)).to(matrix).expand(batch, -1, -1)
    return (unit, matrix) if rows < columns else (matrix, unit)


def _crosses(matrix: Tensor) -> tuple[Tensor, Tensor] | None:
    """Take crosses out of every matrix of a batch; None if something is left then.

    All in double precision but the matrix, of which single rows and columns are taken.
    """
    batch, rows, columns = matrix.shape
    each = torch.arange(batch, device=matrix.device)
    largest = matrix.abs().amax(dim=(1, 2)).clamp_min(1e-30)
    left = matrix.new_zeros(batch, MAX_RANK, rows, dtype=torch.double)
    right = matrix.new_zeros(batch, MAX_RANK, columns, dtype=torch.double)
    generator = torch.Generator().manual_seed(0)
    direction = torch.randn(columns, CHECKS, generator=generator).double().to(matrix.device)
    # what is left of it along random directions, in every row
    rest = torch.cat([chunk.double() @ direction for chunk in matrix.split(256, dim=1)], dim=1)
    scale = largest[:, None, None] * columns**0.5
    for rank in range(MAX_RANK + 1):
        if bool((rest.abs() <= TOLERANCE * scale).all()):
            return left[:, :rank].mT, right[:, :rank]
        if rank == MAX_RANK:
            break
        row = rest.abs().amax(dim=2).argmax(dim=1)
        taken = left[each, :rank, row][:, None] @ right[:, :rank]
        across = matrix[each, row] - taken[:, 0]
        column = across.abs().argmax(dim=1)
        pivot = across[each, column]
        pivot = torch.where(pivot.abs() > 1e-12 * largest, pivot, torch.inf)  # done: nothing taken
        taken = right[each, :rank, column][:, None] @ left[:, :rank]
        left[:, rank] = (matrix[each, :, column] - taken[:, 0]) / pivot[:, None]
        right[:, rank] = across
        rest -= left[:, rank, :, None] * (across @ direction)[:, None]
    return None
