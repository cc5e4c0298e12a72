"""Does the network need its attention? Change what a block does for a while and look."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from torch import Tensor, nn

from analysis.capture import attention_blocks


@contextmanager
def blocks_off(network: nn.Module) -> Iterator[None]:
    """Let every attention block pass its input through, until the `with` ends."""

    def pass_through(_block: nn.Module, inputs: tuple[Tensor], _output: Tensor) -> Tensor:
        return inputs[0]

    with ExitStack() as hooks:
        for block in attention_blocks(network).values():
            hooks.callback(block.register_forward_hook(pass_through).remove)
        yield
