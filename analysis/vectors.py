"""How much a block's inputs differ from position to position, and how much its outputs do."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import NamedTuple, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from nonlocal_lens.analysis.capture import attention_blocks, evaluating
from nonlocal_lens.analysis.own_values import on_their_way_out
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.models.blocks import AttentionBlock


class VectorDistances(NamedTuple):
    """Mean cosine distances of the vectors that go into a block, and of those it adds to them.

    `input` (x_i) and `output` (z_i - x_i) of GCNet's Table 1 (Cao et al. 2019): where inputs differ
    and outputs do not, the block adds the same everywhere.
    """

    input: float
    output: float


class Unattended(NamedTuple):
    """What goes into a block that has not attended yet, and shall not do so only to be measured.

    `analysis.degeneracy.measure` makes all rows of its attention, and applies them to the values.
    """

    block: AttentionBlock
    x: Float[Tensor, "1 channels *grid"]  # the block's input
    value: Float[Tensor, "key_pos value_channels"]

    def update(
        self, attended: Float[Tensor, "query_pos value_channels"]
    ) -> Float[Tensor, "query_pos fewer"] | None:
        """Return what every query is given, as a record's values on their way out say it.

        Args:
            attended: The values, weighted by every row.
        """
        return on_their_way_out(self.block, attended)

    @torch.no_grad()
    def distances(self, attended: Float[Tensor, "query_pos value_channels"]) -> VectorDistances:
        """Return the distances of the block's input and of what it adds to it.

        Args:
            attended: The values, weighted by every row.
        """
        with evaluating(self.block):
            added = self.block.restore(attended[None].to(self.x), tuple(self.x.shape[2:]))
        return VectorDistances(
            *(cosine_distance(x[0].flatten(1).T).item() for x in (self.x, added))
        )


Distances = TypeVar("Distances", bound=VectorDistances | Unattended)


@contextmanager
def vector_distances(network: nn.Module) -> Iterator[dict[str, VectorDistances]]:
    """Measure what goes into every attention block and comes out of it, until the `with` ends.

    The dictionary is filled, by block name, each time the network runs on one image: wrap
    `analysis.capture.observe` with it and hand the distances to `analysis.degeneracy.measure`. Of a
    block that runs several times in a pass they are found by `distances_of`. The vectors themselves
    are not kept.
    """
    with vector_distances_of_batch(network, 1) as (distances,):
        yield distances


@contextmanager
def vector_distances_of_batch(
    network: nn.Module, count: int
) -> Iterator[list[dict[str, VectorDistances]]]:
    """Do what `vector_distances` does, of each of the first pictures of a batch."""
    distances: list[dict[str, VectorDistances]] = [{} for _ in range(count)]
    runs: Counter[str] = Counter()

    def begin(*_: object) -> None:
        runs.clear()

    def measure(name: str, _block: nn.Module, inputs: tuple[Tensor], output: Tensor) -> None:
        for item, found in enumerate(distances):
            before, after = (x[item].flatten(1).T for x in (inputs[0], output))
            pair = (cosine_distance(x).item() for x in (before, after - before))
            measured = VectorDistances(*pair)
            found[_run(name, runs[name])] = measured
        runs[name] += 1

    with ExitStack() as hooks:
        hooks.callback(network.register_forward_pre_hook(begin).remove)
        for name, block in attention_blocks(network).items():
            hooks.callback(block.register_forward_hook(partial(measure, name)).remove)
        yield distances


def distances_of(
    record: AttentionRecord, records: Sequence[AttentionRecord], vectors: Mapping[str, Distances]
) -> Distances | None:
    """Return what was measured of the run of a block that a record is of; None for nothing.

    Args:
        record: One of the records.
        records: All of the pass, in the order in which the blocks ran.
        vectors: What `vector_distances` filled in that pass.
    """
    number = next(number for number, one in enumerate(records) if one is record)
    return distances_of_all(records[: number + 1], vectors)[-1]


def distances_of_all(
    records: Sequence[AttentionRecord], vectors: Mapping[str, Distances]
) -> list[Distances | None]:
    """Return what `distances_of` does of each of the records of a pass."""
    ran: Counter[tuple[str, int | None]] = Counter()
    found: list[Distances | None] = []
    for record in records:
        head = (record.block, record.head)
        found.append(vectors.get(_run(record.block, ran[head])))
        ran[head] += 1
    return found


def _run(block: str, number: int) -> str:
    return f"{block}#{number}" if number else block


def cosine_distance(vectors: Float[Tensor, "*heads pos channels"]) -> Float[Tensor, "*heads"]:
    """Return the mean of (1 - cos) / 2 over all ordered pairs of vectors, 0 to 0.5.

    A vector with itself is a pair, too. The mean cosine is the squared length of the mean unit
    vector, so no pair is visited. Vectors of zeros have no direction and are left out; NaN if there
    are no others.
    """
    vectors = vectors.detach().double()
    length = torch.linalg.vector_norm(vectors, dim=-1)
    has_direction = length > 0
    unit_sum = ((1 / length).where(has_direction, 0)[..., None, :] @ vectors)[..., 0, :]
    pairs = has_direction.sum(dim=-1).square()
    return distance_from_mean_cosine(unit_sum.square().sum(dim=-1) / pairs)


def distance_from_mean_cosine(cosine: Float[Tensor, "*heads"]) -> Float[Tensor, "*heads"]:
    """Return (1 - cosine) / 2, without the sign that rounding may leave at 0; NaN stays NaN."""
    return ((1 - cosine) / 2).clamp_min(0)
