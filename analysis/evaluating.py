"""Networks in evaluation mode for a while."""

from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Put every module in evaluation mode, and back into its own when the `with` ends."""
    modes = [(module, module.training) for module in network.modules()]
    if any(mode for _, mode in modes):
        network.eval()
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode
