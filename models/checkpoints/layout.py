"""What a published layout of weights says, and how weights come into a network of this package."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nonlocal_lens.models.limits import MOST_BLOCKS
from nonlocal_lens.models.networks.clip_network import ClipNetwork
from nonlocal_lens.models.networks.mnist import MNISTNetwork
from nonlocal_lens.models.networks.segmentation import SegmentationNetwork
from nonlocal_lens.models.networks.video_resnet import VideoResNet

Network = SegmentationNetwork | ClipNetwork | VideoResNet | MNISTNetwork
"""What can be loaded: it has `classes`, a `preprocess` and `decisions`."""

Rules = Sequence[tuple[str, str]]
"""Regular expression at the start of a published name -> what it is here."""

SHOWN = 6  # names in an error before the rest is counted


class Plan(NamedTuple):
    """A network for some tensors, not yet filled, and where each tensor goes."""

    network: Network
    rules: Rules
    unused: str | None = None  # start of the names that the network rightly does without
    decisions: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layout:
    """One way in which others name and shape the weights of a network.

    `recognizes` looks at names alone. `plan` infers every size from the tensors; its keyword
    arguments are the options that a user may set because no tensor tells them.
    """

    name: str
    recognizes: Callable[[Sequence[str]], bool]
    plan: Callable[..., Plan]


def assumed(what: str, option: str) -> str:
    """Return the sentence on something that no tensor tells, with the option that sets another."""
    return f"{what}: no tensor tells; {option} sets another"


def normalization(
    mean: Sequence[float] | None,
    std: Sequence[float] | None,
    usual: tuple[tuple[float, ...], tuple[float, ...]],
    source: str,
) -> tuple[tuple[float, ...], tuple[float, ...], tuple[str, ...]]:
    """Return the mean and the deviation of channels, and what was assumed about them.

    Args:
        mean: As a user gave it, in [0, 1].
        std: As a user gave it.
        usual: What both are where they were not given.
        source: Whose the usual ones are.

    Raises:
        ValueError: One has another number of channels, or a deviation is not above 0.
    """
    chosen = tuple(usual[0] if mean is None else mean), tuple(usual[1] if std is None else std)
    for name, values in zip(("mean", "std"), chosen, strict=True):
        if len(values) != len(usual[0]):
            raise ValueError(f"{name} must be {len(usual[0])} numbers, got {len(values)}")
    if min(chosen[1]) <= 0:
        raise ValueError(f"std must be above 0, got {list(chosen[1])}")
    told = () if mean and std else (assumed(f"{source} mean and deviation", "mean=, std="),)
    return *chosen, told


def sides(tensors: dict[str, Tensor], name: str, count: int) -> tuple[int, ...]:
    """Return the shape of a tensor that must be there and have `count` sides.

    Raises:
        ValueError: It is missing or has another number of sides.
    """
    if name not in tensors:
        raise ValueError(f"{name} is missing")
    shape = tuple(tensors[name].shape)
    if len(shape) != count or min(shape, default=0) < 1:
        raise ValueError(f"{name} must have {count} sides of at least 1, got shape {shape}")
    return shape


def count(tensors: dict[str, Tensor], pattern: str) -> int:
    """Return how many of the numbers 0, 1, 2, ... can be put into `{}` of the start of a name.

    Raises:
        ValueError: More than there are residual blocks in any network.
    """
    start, end = pattern.split("{}")
    rests = [name[len(start) :] for name in tensors if name.startswith(start)]
    found = {rest.partition(end)[0] for rest in rests if end in rest}
    index = 0
    while str(index) in found:
        index += 1
    if index > MOST_BLOCKS:
        raise ValueError(f"{index} blocks in a row are too many; at most {MOST_BLOCKS} are read")
    return index


def fill(
    path: Path,
    network: nn.Module,
    tensors: dict[str, Tensor],
    rules: Rules = (),
    unused: str | None = None,
) -> None:
    """Put every tensor where it belongs, in place, or say which do not fit.

    Tensors whose names begin with `unused` are left out. Sides of length 1 do not count: a
    normalization's gain may be (C,) or (C, 1, 1).

    Raises:
        ValueError: A tensor is missing, is not used, has the wrong shape, or holds NaN, infinity
            or, where weights belong, whole numbers.
    """
    if unused is not None:
        tensors = {name: each for name, each in tensors.items() if not name.startswith(unused)}
    published = {renamed(name, rules): name for name in tensors}
    if len(published) < len(tensors):
        raise ValueError(f"{path}: two of its tensors have the same place in the network")
    counters = {name for name, _ in network.named_buffers() if name.endswith("batches_tracked")}
    wanted = network.state_dict()
    missing = sorted(wanted.keys() - published.keys() - counters)
    problems = [f"{name} is missing" for name in missing]
    unknown = sorted(published.keys() - wanted.keys())
    problems += [f"{published[name]} is not used" for name in unknown]
    filling = {}
    for name in wanted.keys() & published.keys():
        tensor, shape = tensors[published[name]], tuple(wanted[name].shape)
        if [side for side in tensor.shape if side > 1] != [side for side in shape if side > 1]:
            problems.append(f"{published[name]} must have shape {shape}, got {tuple(tensor.shape)}")
        elif wanted[name].is_floating_point() and not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            problems.append(f"{published[name]} holds {kind}, of which only a scale makes weights")
        elif not torch.isfinite(tensor).all():
            problems.append(f"{published[name]} holds NaN or infinite values")
        else:
            filling[name] = tensor.reshape(shape).to(wanted[name].dtype)
    if problems:
        more = len(problems) - SHOWN
        tail = f" and {more} more" if more > 0 else ""
        raise ValueError(
            f"{path} does not fit its architecture: {'; '.join(problems[:SHOWN])}{tail}"
        )
    for name in counters - filling.keys():
        filling[name] = torch.zeros((), dtype=torch.long)
    network.load_state_dict(filling, assign=True)


def renamed(name: str, rules: Rules) -> str:
    """Return what a published name is here: as the first rule that matches says, else the same."""
    for published, here in rules:
        if match := re.match(published, name):
            return match.expand(here) + name[match.end() :]
    return name
