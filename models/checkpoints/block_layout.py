"""Single attention blocks out of checkpoints whose networks this package does not build."""

import inspect
import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from nonlocal_lens.models.blocks import AttentionBlock
from nonlocal_lens.models.blocks.attention_block import CONV
from nonlocal_lens.models.checkpoints.layout import Rules, fill
from nonlocal_lens.models.networks.architecture import BLOCKS


class BlockPlan(NamedTuple):
    """A block for some tensors, not yet filled, and how its parameters are named there."""

    block: AttentionBlock
    rules: Rules
    decisions: tuple[str, ...] = ()
    unused: str | None = None  # start of the names that the block rightly does without


@dataclass(frozen=True)
class BlockLayout:
    """One way in which others name the parameters of an attention block.

    `recognizes` looks at the names of a block's own children. `plan` infers every size; its keyword
    arguments are what no tensor tells.
    """

    name: str
    recognizes: Callable[[Collection[str]], bool]
    plan: Callable[..., BlockPlan]


def build(block: str, *, out_bias: bool = False, **options: Any) -> AttentionBlock:
    """Return a block of `BLOCKS`; `out_bias` if one precedes the output's normalization."""
    built = BLOCKS[block](**options)
    if out_bias and options["batch_norm"]:
        convolution = CONV[options["dimension"]]
        built.out[0] = convolution(options["inner_channels"], options["channels"], 1)
    return built


def possible_form(form: str | None, possible: Collection[str]) -> str:
    """Return the form that was asked for, or the first that the tensors can be for."""
    if form is not None and form not in possible:
        raise ValueError(
            f"with the tensors in the file, form must be one of {', '.join(possible)}, got {form!r}"
        )
    return form or next(iter(possible))


def under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with a prefix, without it."""
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in tensors.items()
        if name.startswith(prefix)
    }


def moved(rules: Rules, prefix: str, here: str) -> Rules:
    """Return a block's rules for a block that stands under `prefix` there and `here` here."""
    return [(re.escape(prefix) + published, here + name) for published, name in rules]


def find_blocks(
    tensors: dict[str, Tensor], layouts: Collection[BlockLayout]
) -> dict[str, BlockLayout]:
    """Return the layout of every attention block among some tensors, by the start of its names."""
    children: dict[str, dict[str, None]] = {}
    for name in tensors:
        parts = name.split(".")
        for index in range(len(parts)):
            prefix = "".join(f"{part}." for part in parts[:index])
            children.setdefault(prefix, {})[parts[index]] = None
    return {
        prefix: layout
        for prefix, names in children.items()
        for layout in layouts
        if layout.recognizes(names)
    }


def block_of(
    path: Path, tensors: dict[str, Tensor], prefix: str, layout: BlockLayout, **options: Any
) -> AttentionBlock:
    """Return the block under a prefix, filled, in evaluation mode.

    Raises:
        ValueError: The layout has no such option, or a tensor is missing, not used or does not fit.
    """
    known = list(inspect.signature(layout.plan).parameters)[1:]
    unknown = [name for name in options if name not in known]
    if unknown:
        raise ValueError(
            f"blocks of {layout.name} have no option {unknown[0]!r}; available: "
            f"{', '.join(known) or 'none'}"
        )
    own = under(tensors, prefix)
    try:
        with torch.device("meta"):
            plan = layout.plan(own, **options)
    except ValueError as error:
        raise ValueError(f"{path} does not fit the layout {layout.name}: {error}") from error
    fill(path, plan.block, own, plan.rules, plan.unused)
    plan.block.decisions = (f"block of {layout.name}", *plan.decisions)
    return plan.block.eval().requires_grad_(False)
