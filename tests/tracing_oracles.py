"""What networks computed, by their own account: the references for what was traced."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.analysis.grid import Grid
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.tracing.attended import Refused
from nonlocal_lens.analysis.tracing.computation import Computation
from nonlocal_lens.analysis.tracing.heads import heads
from nonlocal_lens.analysis.tracing.mode import run
from nonlocal_lens.analysis.tracing.records import record_of


def traced(
    network: nn.Module, *args: Any, **kwargs: Any
) -> tuple[list[AttentionRecord], list[Refused]]:
    """Return the records of all groups, their tokens in a row, and what is refused."""
    computation = Strict()
    run(network, args, kwargs, observers=[computation])
    found, refused = heads(computation.found)
    return [
        record_of(head, Axis(in_a_row(len(head.query))), Axis(in_a_row(len(head.key))))
        for head in found
    ], computation.refused + refused


class Strict(Computation):
    """Hides no mistake in a rule."""

    def unforeseen(self, error: Exception, name: str, outputs: tuple[Tensor, ...]) -> None:
        raise AssertionError(name) from error


def in_a_row(count: int) -> Grid:
    """Return a grid of one row."""
    return Grid.tiling((1, count), 1, count)


@contextmanager
def softmaxes() -> Iterator[list[Tensor]]:
    """Collect what softmaxes give out, one matrix for every group, in order."""
    kept: list[Tensor] = []
    patch = pytest.MonkeyPatch()

    inside = [0]

    def listening(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        def softmax(*args: Any, **kwargs: Any) -> Tensor:
            inside[0] += 1  # one calls the other
            output = function(*args, **kwargs)
            inside[0] -= 1
            if inside[0]:
                return output
            matrices = output if output.ndim > 1 else output[None]
            kept.extend(matrices.detach().clone().flatten(0, -3) if output.ndim > 2 else [matrices])
            return output

        return softmax

    for place in (Tensor, torch, F):
        patch.setattr(place, "softmax", listening(place.softmax))
    try:
        yield kept
    finally:
        patch.undo()


def error(record: AttentionRecord, weights: Tensor) -> float:
    """Return the largest difference of any weight of a record, over the largest of its row."""
    rows = terms.attention(record, range(len(record.query))).double()
    largest = weights.double().abs().amax(dim=-1, keepdim=True)
    return float(((rows - weights.double()).abs() / largest).max())


def awake(network: nn.Module, seed: int = 0) -> nn.Module:
    """Give every parameter random values, also those that networks start with zeros in."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        with torch.no_grad():
            parameter.add_(
                noise * (0.3 / max((parameter[0].numel() if parameter.ndim else 1), 9) ** 0.5)
            )
    return network.eval()
