"""What happens where a GPU has too little memory, and is said: fewer at a time, then the processor.

Only a network's own pass is on a GPU. Rows of statistics are made on the processor, a megabyte at a
time, see `streaming.CHUNK_VALUES`.
"""

import warnings
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

Item = TypeVar("Item")
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
    _give_back()
    warnings.warn(
        f"{type(network).__name__} and its input do not fit into the memory of {x.device}: it "
        "computes on the processor from here on, which takes longer and gives the same",
        UserWarning,
        stacklevel=2,
    )
    return compute(x.cpu())


def in_halves(
    items: Sequence[Item], compute: Callable[[Sequence[Item]], list[Result]], what: str
) -> list[Result]:
    """Return what is computed of each item, of half as many at a time where there is no memory.

    A warning says how many at a time it came to.

    Args:
        items: All that is computed of.
        compute: Returns what comes of each of some items; what it had begun is begun anew.
        what: The items are, as a sentence begins it.

    Raises:
        torch.OutOfMemoryError: There is too little memory for one, see `or_on_processor`.
    """
    results: list[Result] = []
    size = count = len(items)
    while len(results) < count:
        some = items[len(results) : len(results) + size]
        try:
            results += compute(some)
            continue
        except torch.OutOfMemoryError:
            if len(some) == 1:
                raise
        size = len(some) // 2  # not in the `except`: what was raised holds what fills the memory
        _give_back()
    if size < count:
        warnings.warn(
            f"{what} of {count} does not fit into the device's memory: it goes {size} at a time",
            UserWarning,
            stacklevel=2,
        )
    return results


def _give_back() -> None:
    """Give a GPU's memory back that nothing is in."""
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()
