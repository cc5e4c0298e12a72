"""Checkpoints that others published, a file per layout; a new layout adds one line here."""

import inspect
from pathlib import Path
from typing import Any

import torch

from models.blocks import AttentionBlock
from models.checkpoints import (
    disentangled,
    mmaction2,
    mmcv_blocks,
    mmsegmentation,
    mnist,
    non_local_pytorch,
    slowfast,
    slowfast_blocks,
    sssegmentation,
    temporal_shift,
    video_nonlocal,
)
from models.checkpoints.block_layout import BlockLayout, block_of, find_blocks
from models.checkpoints.layout import Layout, Network, fill, without_prefix
from models.checkpoints.reading import Contents, read_contents

LAYOUTS: tuple[Layout, ...] = (
    mmsegmentation.LAYOUT,
    sssegmentation.LAYOUT,
    mmaction2.LAYOUT,
    slowfast.LAYOUT,
    video_nonlocal.LAYOUT,
    temporal_shift.LAYOUT,
    mnist.LAYOUT,
)
"""Whole networks."""

BLOCK_LAYOUTS: tuple[BlockLayout, ...] = (
    *mmcv_blocks.LAYOUTS,
    non_local_pytorch.LAYOUT,
    slowfast_blocks.LAYOUT,
    disentangled.LAYOUT,
    disentangled.UNARY,
)
"""Single blocks, wherever they stand."""


def load_block(path: str | Path, prefix: str | None = None, **options: Any) -> AttentionBlock:
    """Return one attention block of a checkpoint in evaluation mode, whatever network it is of.

    Args:
        path: A file that `read_contents` can open.
        prefix: How the names of the block's tensors begin, such as "layer3.4.nl."; may be left out
            if the file has one block only.
        **options: What no tensor tells, see the `plan` of each layout in `BLOCK_LAYOUTS`.

    Raises:
        FileNotFoundError: The path does not exist.
        ValueError: The file cannot be read, there is no such block, the layout has no such option,
            or a tensor is missing, is not used or does not fit.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    tensors = without_prefix(read_contents(path).tensors)
    found = find_blocks(tensors, BLOCK_LAYOUTS)
    if prefix is None and len(found) == 1:
        (prefix,) = found
    if prefix not in found:
        wanted = "one of its prefixes must be given" if prefix is None else f"none is {prefix!r}"
        available = ", ".join(repr(name) for name in found) or "none"
        raise ValueError(f"{path} has {len(found)} attention blocks and {wanted}: {available}")
    return block_of(path, tensors, prefix, found[prefix], **options)


def network_of(path: Path, contents: Contents, **options: Any) -> Network:
    """Return the network that a file's tensors are for, in evaluation mode.

    Args:
        path: Where the tensors are from; it is named in errors.
        contents: What `read_contents` found there.
        **options: The layout's own, see the `plan` of each.

    Raises:
        ValueError: No layout has such names, the layout has no such option, or a tensor is
            missing, is not used or does not fit.
    """
    tensors = without_prefix(contents.tensors)
    layout = next((layout for layout in LAYOUTS if layout.recognizes(tuple(tensors))), None)
    if layout is None:
        some = ", ".join(list(tensors)[:3])
        blocks = find_blocks(tensors, BLOCK_LAYOUTS)
        hint = f"; load_block can load its {len(blocks)} attention blocks alone" if blocks else ""
        raise ValueError(
            f"{path} does not name its architecture, and its {len(tensors)} tensors ({some}, ...) "
            f"have the names of no known layout: {', '.join(each.name for each in LAYOUTS)}{hint}"
        )
    known = list(inspect.signature(layout.plan).parameters)[1:]
    unknown = [name for name in options if name not in known]
    if unknown:
        raise ValueError(
            f"the layout {layout.name} has no option {unknown[0]!r}; available: {', '.join(known)}"
        )
    if "classes" in known and contents.classes is not None:
        options.setdefault("classes", contents.classes)
    try:
        with torch.device("meta"):  # nothing is drawn at random that is about to be replaced
            plan = layout.plan(tensors, **options)
    except ValueError as error:
        raise ValueError(f"{path} does not fit the layout {layout.name}: {error}") from error
    fill(path, plan.network, tensors, plan.rules, plan.unused)
    plan.network.decisions = (f"layout of {layout.name}", *plan.decisions)
    return plan.network.eval().requires_grad_(False)
