"""What attends and gives no record, and why: one sentence for each kind of it."""

import warnings

from torch import nn


class Refusals:
    """Blocks that ran and gave no record, by kind and reason."""

    def __init__(self) -> None:
        self._blocks: dict[tuple[str, str], list[str]] = {}

    def add(self, network: nn.Module, name: str, reason: str) -> None:
        """Note a block of a network; one that runs several times is noted once."""
        names = self._blocks.setdefault((kind_of(network, name), reason), [])
        if name not in names:
            names.append(name)

    def warn(self) -> None:
        """Give a `UserWarning` for every kind and reason."""
        for (kind, reason), (first, *others) in self._blocks.items():
            more = f" and {len(others)} more are" if others else " is"
            warnings.warn(f"{first or 'it'} ({kind}){more} left out: {reason}", stacklevel=2)


def kind_of(network: nn.Module, name: str) -> str:
    """Return the class of a block; the network's where the block was made while it ran."""
    try:
        return type(network.get_submodule(name)).__name__
    except AttributeError:
        return type(network).__name__
