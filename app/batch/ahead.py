"""Looks at some inputs of a batch together, before each is worked on by itself."""

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import numpy as np
from jaxtyping import UInt8
from torch import nn

from nonlocal_lens.analysis.together import can_go_together
from nonlocal_lens.app.batch.errors import UNUSABLE
from nonlocal_lens.app.batch.inputs import Source, read_source
from nonlocal_lens.app.batch.networks import LoadedNetwork

Seen = TypeVar("Seen")
Pixels = UInt8[np.ndarray, "height width 3"]


class Ahead(Generic[Seen]):
    """What networks made of pictures that went through them together.

    Pictures of one size do. One that cannot be read, or is alone of its size, is not here, nor is
    any of a network that takes one at a time: they are looked at alone.

    Args:
        sources: The pictures.
        networks: The networks.
        look: Returns what a network makes of each of some pictures of one size.
    """

    def __init__(
        self,
        sources: Sequence[Source],
        networks: Sequence[LoadedNetwork],
        look: Callable[[nn.Module, Sequence[Pixels]], Sequence[Seen]],
    ) -> None:
        self._seen: dict[tuple[str, str], Seen] = {}
        of_sizes: dict[tuple[int, ...], list[tuple[str, Pixels]]] = {}
        for source in sources:
            try:
                image = read_source(source.location).image
            except UNUSABLE:  # whoever works on it says why
                continue
            of_sizes.setdefault(image.shape, []).append((source.location, image))
        for network in networks:
            if not can_go_together(network.module):
                continue
            for same in of_sizes.values():
                if len(same) > 1:
                    self._look(network, same, look)

    def _look(
        self,
        network: LoadedNetwork,
        same: Sequence[tuple[str, Pixels]],
        look: Callable[[nn.Module, Sequence[Pixels]], Sequence[Seen]],
    ) -> None:
        try:
            seen = look(network.module, [image for _, image in same])
        except UNUSABLE:  # each alone may be, or says why not
            return
        for (location, _), one in zip(same, seen, strict=True):
            self._seen[network.title, location] = one

    def take(self, title: str, location: str) -> Seen | None:
        """Return what a network made of a picture, and forget it; None if it is not here."""
        return self._seen.pop((title, location), None)
