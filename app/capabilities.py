"""What can be asked of a network: not all score pixels, and not all blocks can be changed."""

from typing import Any

from torch import Tensor, nn

from nonlocal_lens.analysis.effects import scores_of


def segments(network: nn.Module, output: Tensor) -> bool:
    """Return whether a network's output is a score of every named class at every pixel."""
    classes = getattr(network, "classes", ())
    return output.ndim == 4 and output.shape[1] == len(classes)


def class_name(network: nn.Module, number: int) -> str:
    """Return what a class is called; its number where the network names none."""
    classes = getattr(network, "classes", ())
    return str(classes[number]) if number < len(classes) else f"class {number}"


def scores_classes(output: Any) -> bool:
    """Return whether a network's output is class scores, of pixels or of the whole input.

    A vector of features has the same shape, and is compared as if it were scores.
    """
    try:
        scores = scores_of(output)
    except ValueError:
        return False
    return scores.shape[1] > 1
