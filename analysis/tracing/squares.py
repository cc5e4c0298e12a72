"""What a layer makes of lengths, kept from one run of a network to the next."""

from functools import cache
from weakref import WeakKeyDictionary

import torch
from jaxtyping import Float
from torch import Tensor, nn


class Squares:
    """Roots R of layers M: lengths and angles of x @ R are those of x @ M, for any x.

    They depend on weights alone, so that a network's next run finds them here. Whether weights are
    what they were is asked of the weights: of their products with a vector drawn by lot.
    """

    def __init__(self) -> None:
        self._kept: dict[object, tuple[Tensor, Tensor]] = {}
        self._used: dict[object, tuple[Tensor, Tensor]] = {}

    def begin(self) -> None:
        """Keep what the last run has used, and nothing else."""
        self._kept, self._used = self._used or self._kept, {}

    def of(
        self, matrix: Float[Tensor, "groups inner outer"]
    ) -> Float[Tensor, "groups inner fewer"]:
        """Return R of every group's matrix M with R @ R.T = M @ M.T, no wider than it is high."""
        key = matrix.data_ptr(), tuple(matrix.shape), matrix.stride(), matrix.dtype, matrix.device
        matrix = matrix.to(torch.promote_types(matrix.dtype, torch.float32))
        product = matrix.flatten(0, 1) @ _lot(matrix.shape[2]).to(matrix)
        known = self._kept.get(key)
        if known is None or not torch.equal(known[0], product):
            known = product, _root(matrix)
        self._used[key] = known
        return known[1]


def squares_of(network: nn.Module) -> Squares:
    """Return what is kept of a network."""
    return _KEPT.setdefault(network, Squares())


_KEPT: WeakKeyDictionary[nn.Module, Squares] = WeakKeyDictionary()


def _root(matrix: Float[Tensor, "groups inner outer"]) -> Float[Tensor, "groups inner fewer"]:
    if matrix.shape[1] >= matrix.shape[2]:
        return matrix
    square = (matrix @ matrix.mT).double()
    root, failed = torch.linalg.cholesky_ex(square)
    if bool(failed.any()):  # some of what goes in leads nowhere
        values, vectors = torch.linalg.eigh(square)
        root = vectors * values.clamp_min(0).sqrt()[:, None]
    of_layer: Tensor = root.to(matrix)
    return of_layer


@cache
def _lot(count: int) -> Float[Tensor, " count"]:
    return torch.randn(count, generator=torch.Generator().manual_seed(count))
