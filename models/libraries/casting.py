"""Networks of other libraries in numbers of 16 bits where that is safe: `autocast=bfloat16`."""

from typing import Any

import torch
from torch import Tensor, nn

from nonlocal_lens.models.libraries import LibraryName

KINDS = {"bfloat16": torch.bfloat16, "float16": torch.float16}


def compute_in(network: nn.Module, named: LibraryName, kind: Any) -> None:
    """Let a network compute under torch's autocast, on whatever device it is, and say so.

    What comes out of it is in single precision again.

    Raises:
        ValueError: There are no such numbers.
    """
    if kind not in KINDS:
        raise ValueError(f"{named}: autocast must be one of {', '.join(KINDS)}, got {kind!r}")
    plain = network.forward

    def forward(*args: Any, **kwargs: Any) -> Any:
        weight = next(network.parameters(), None)
        device = "cpu" if weight is None else weight.device.type
        with torch.autocast(device, dtype=KINDS[kind]):
            return plain(*args, **kwargs)

    object.__setattr__(network, "forward", forward)
    network.register_forward_hook(_in_single_precision)
    said: Any = network
    said.provenance = {**said.provenance, "autocast": kind}
    said.decisions = (*said.decisions, f"computed in {kind} where torch's autocast does so")


def _in_single_precision(_network: nn.Module, _inputs: Any, output: Any) -> Any:
    halved = isinstance(output, Tensor) and output.dtype in KINDS.values()
    return output.float() if halved else output
