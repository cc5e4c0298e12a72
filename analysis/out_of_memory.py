"""What happens where a GPU has too little memory: the processor goes on, and that is said."""

import warnings
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

Result = TypeVar("Result")


def or_on_processor(network: nn.Module, x: Tensor, compute: Callable[[Tensor], Result]) -> Result:
    """Return what is computed of an input, on the processor where its device has no memory left.

    The network stays on the processor then, for the next input would end the same way. A warning
    says so.

    Args:
        network: What computes.
        x: Its input, on its device.
        compute: Is given the input; what it had begun is begun anew.

    Raises:
        torch.OutOfMemoryError: The processor itself has too little.
    """
    try:
        return compute(x)
    except torch.OutOfMemoryError:
        if x.device.type == "cpu":
            raise
    # not in the `except`: what was raised holds what fills the memory
    network.to("cpu")
    if x.device.type == "cuda" and torch.cuda.is_available():
        torch.cuda.empty_cache()
    warnings.warn(
        f"{type(network).__name__} and its input do not fit into the memory of {x.device}: it "
        "computes on the processor from here on, which takes longer and gives the same",
        UserWarning,
        stacklevel=2,
    )
    return compute(x.cpu())
