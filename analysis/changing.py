"""A network on one input, and what it gives while its attention is changed: one way for all."""

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from nonlocal_lens.analysis.evaluating import evaluating
from nonlocal_lens.analysis.interventions import Intervention, Where, intervene
from nonlocal_lens.analysis.running import run
from nonlocal_lens.analysis.tracing.interventions import Changeable
from nonlocal_lens.models.blocks import attention_blocks
from nonlocal_lens.models.wrappers import unwrapped

Heads = tuple[tuple[str, int | None], ...]
"""Blocks and heads, (name, number); the number is None where there is one only."""


class Changing:
    """What a network, or a part of it, gives for one input under interventions.

    Blocks of this package are changed by what they say of themselves, `analysis.interventions`;
    those of any other code by what they compute, `analysis.tracing.interventions`.

    Args:
        network: Any module whose attention can be read.
        x: Its input, or inputs.
        another: The same of another image of this size; without it there is no `another_image`.
        part: A module of the network that has all its blocks and takes `x`; the whole if None.

    Attributes:
        heads: What can be changed by itself, in the order of the network.

    Raises:
        ValueError: Nothing attends.
    """

    heads: Heads

    def __init__(
        self,
        network: nn.Module,
        x: Tensor | tuple[Tensor, ...],
        another: Tensor | tuple[Tensor, ...] | None = None,
        *,
        part: nn.Module | None = None,
    ) -> None:
        self._network = unwrapped(network)
        self._part = self._network if part is None else part
        self._x = x if isinstance(x, tuple) else (x,)
        self._another = another if isinstance(another, tuple | None) else (another,)
        own = attention_blocks(self._network)
        self._traced = None
        if own:
            self.heads = tuple((name, None) for name in own)
            return
        first = None if self._another is None else self._another[0]
        self._traced = Changeable(self._part, *self._x, another=first)
        self.heads = self._traced.heads

    @property
    def has_another(self) -> bool:
        """Whether there is another image."""
        return self._another is not None

    @torch.no_grad()
    def output(self, how: Intervention, where: Where | None = None) -> Any:
        """Return what the network gives under an intervention, "on" bit for bit its own output.

        Args:
            how: One of `analysis.interventions.INTERVENTIONS`.
            where: Some of `heads`, a head of None for all of a block; None changes all.

        Raises:
            ValueError: There is no such block or head, no other image, or a block cannot be
                changed.
        """
        if self._traced is not None:
            return self._traced.run(how, where)
        another = None if self._another is None else partial(self._run, self._another)
        with evaluating(self._network), intervene(self._network, how, where=where, another=another):
            return self._run(self._x)

    def _run(self, x: tuple[Tensor, ...]) -> Any:
        return run(self._part, x[0]) if len(x) == 1 else self._part(*x)
