"""Runs a network on its input; what it raises is told with what could be done about it."""

import re
from typing import Any

import torch
from torch import Tensor, nn

OF_PICTURES = re.compile(r"vis(ion|ual)|image|pixel|backbone|encoder", re.IGNORECASE)
"""Names of the parts of networks that look at pictures, where other parts take something else."""

OF_OTHERS = re.compile(r"text|language|word|audio|prompt", re.IGNORECASE)


class UnfitNetworkError(ValueError, RuntimeError):
    """A network does not run on a picture or clip alone."""


def run(network: nn.Module, x: Tensor) -> Any:
    """Return a network's output.

    Raises:
        UnfitNetworkError: It does not run on this input alone.
    """
    try:
        return network(x)
    except torch.OutOfMemoryError:
        raise
    except Exception as error:
        if type(error).__module__.startswith("nonlocal_lens."):
            raise
        raise UnfitNetworkError(_sentence(network, x, error)) from error


def _sentence(network: nn.Module, x: Tensor, error: Exception) -> str:
    message = str(error).strip().split("\n")[0].rstrip(".:")
    what = "clip" if x.ndim == 5 else "picture"
    size = " x ".join(map(str, x.shape[1:]))
    parts = ", ".join(f"`{name}` ({type(part).__name__})" for name, part in _parts(network)[:3])
    there = f", which may be its {parts}" if parts else ""
    return (
        f"{type(network).__name__} does not run on one {what} of {size}: {type(error).__name__}: "
        f"{message or 'no more is said'}. If it takes more than that (text, prompts, a list of "
        f"clips), give the part of it that looks at a {what}{there}, or run it on its own input "
        "inside nonlocal_lens.analysis.capture.recording"
    )


def _parts(network: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return parts of a network that are called after pictures, the outermost."""
    found: list[tuple[str, nn.Module]] = []
    for name, module in network.named_modules():
        if (
            name.count(".") > 1
            or OF_OTHERS.search(name)
            or not OF_PICTURES.search(name.rpartition(".")[2])
        ):
            continue
        if any(name.startswith(f"{outer}.") for outer, _ in found):
            continue
        found.append((name, module))
    return found
