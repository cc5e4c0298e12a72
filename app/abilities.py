"""What can be asked of a network: not all score pixels, and not all blocks can be changed."""

from torch import Tensor, nn

from analysis.capture import attention_blocks


def segments(network: nn.Module, output: Tensor) -> bool:
    """Return whether a network's output is a score of every named class at every pixel."""
    classes = getattr(network, "classes", ())
    return output.ndim == 4 and output.shape[1] == len(classes)


def scores_pixels(network: nn.Module, output: Tensor, block: str) -> bool:
    """Return whether a pixel's score can be attributed through a block."""
    return segments(network, output) and block in attention_blocks(network)


def can_intervene(network: nn.Module, output: Tensor) -> bool:
    """Return whether a network's attention can be changed and the change be seen in its output."""
    return segments(network, output) and bool(attention_blocks(network))
