"""How much a block's inputs differ from position to position, and how much its outputs do."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from analysis.capture import attention_blocks


class VectorDistances(NamedTuple):
    """Mean cosine distances of the vectors that go into a block, and of those it adds to them.

    `input` (x_i) and `output` (z_i - x_i) of GCNet's Table 1 (Cao et al. 2019): where inputs differ
    and outputs do not, the block adds the same everywhere.
    """

    input: float
    output: float


@contextmanager
def vector_distances(network: nn.Module) -> Iterator[dict[str, VectorDistances]]:
    """Measure what goes into every attention block and comes out of it, until the `with` ends.

    The dictionary is filled, by block name, each time the network runs on one image: wrap
    `analysis.capture.observe` with it and hand the distances to `analysis.degeneracy.measure`. The
    vectors themselves are not kept.
    """
    distances: dict[str, VectorDistances] = {}

    def measure(name: str, _block: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        before, after = inputs[0][0].flatten(1).T, output[0].flatten(1).T
        distances[name] = VectorDistances(cosine_distance(before), cosine_distance(after - before))

    with ExitStack() as hooks:
        for name, block in attention_blocks(network).items():
            hooks.callback(block.register_forward_hook(partial(measure, name)).remove)
        yield distances


def cosine_distance(vectors: Float[Tensor, "pos channels"]) -> float:
    """Return the mean of (1 - cos) / 2 over all ordered pairs of vectors, 0 to 0.5.

    A vector with itself is a pair, too. The mean cosine is the squared length of the mean unit
    vector, so no pair is visited. Vectors of zeros have no direction and are left out; NaN if there
    are no others.
    """
    vectors = vectors.detach().double()
    vectors = vectors[vectors.norm(dim=1) > 0]
    mean_unit = torch.nn.functional.normalize(vectors, dim=1).mean(dim=0)
    return distance_from_mean_cosine(mean_unit.square().sum().item()) if len(vectors) else torch.nan


def distance_from_mean_cosine(cosine: float) -> float:
    """Return (1 - cosine) / 2, without the sign that rounding may leave at 0; NaN stays NaN."""
    return max((1 - cosine) / 2, 0.0)  # in this order: max(0.0, nan) is 0
