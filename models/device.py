"""Which device networks compute on: by name, by the environment, or one that has room."""

import os
import re

import torch
from torch import nn

VARIABLE = "NONLOCAL_LENS_DEVICE"
CHOICES = "auto, cpu, cuda, cuda:N or mps"
ROOM = 2 << 30  # bytes that must be free on a GPU, beside a network's own, for it to be taken


def chosen_device(name: str | None = None, *, needed: int = 0) -> torch.device:
    """Return the device of a name, of the environment's if none is given, else the processor.

    `auto` is the GPU with most room if one has enough, Apple's if there is one, else the processor.

    Args:
        name: auto, cpu, cuda, cuda:N or mps.
        needed: Bytes that a network takes.

    Raises:
        ValueError: There is no such device.
    """
    source = "" if name is not None else f" in {VARIABLE}"
    name = (os.environ.get(VARIABLE) or "cpu") if name is None else name
    name = name.strip().lower()
    if name == "cpu":
        return torch.device("cpu")
    if name == "auto":
        return _with_room(needed)
    if name == "mps":
        if not torch.backends.mps.is_available():
            raise ValueError(f"device mps{source}: this machine or this torch has none; use cpu")
        return torch.device("mps")
    if re.fullmatch(r"cuda(:\d+)?", name):
        count = torch.cuda.device_count()
        index = int(name.partition(":")[2] or 0)
        if index >= count:
            there = f"it has {count} GPUs, numbered from 0" if count else "it has no GPU for torch"
            raise ValueError(f"device {name}{source}: {there}; use auto or cpu")
        return torch.device("cuda", index)
    raise ValueError(f"the device{source} must be {CHOICES}, got {name!r}")


def moved(network: nn.Module, device: str | None) -> nn.Module:
    """Return a network on a device; see `chosen_device`."""
    tensors = (*network.parameters(), *network.buffers())
    needed = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
    return network.to(chosen_device(device, needed=needed))


def _with_room(needed: int) -> torch.device:
    free = [torch.cuda.mem_get_info(index)[0] for index in range(torch.cuda.device_count())]
    if free and max(free) >= needed + ROOM:
        return torch.device("cuda", free.index(max(free)))
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")
