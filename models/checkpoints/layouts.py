"""The layouts of checkpoints that others published; a new layout adds one line here."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from nonlocal_lens.models.blocks import AttentionBlock
from nonlocal_lens.models.checkpoints import (
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
from nonlocal_lens.models.checkpoints.block_layout import BlockLayout, block_of, find_blocks
from nonlocal_lens.models.checkpoints.choosing import choose, unwrapped_name
from nonlocal_lens.models.checkpoints.hints import Hint, hints
from nonlocal_lens.models.checkpoints.layout import Layout, Network, fill
from nonlocal_lens.models.checkpoints.reading import Contents, read_contents
from nonlocal_lens.models.limits import shortened

Planned = TypeVar("Planned")

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


def load_block(
    path: str | Path, prefix: str | None = None, *, weights: str | None = None, **options: Any
) -> AttentionBlock:
    """Return one attention block of a checkpoint in evaluation mode, whatever network it is of.

    `block.decisions` says what was decided that no tensor tells.

    Args:
        path: A file that `read_contents` can open.
        prefix: How the names of the block's tensors begin, such as "layer3.4.nl.", with or without
            what wrappers add; may be left out if the file has one block only.
        weights: Which of several sets of weights to take, such as "state_dict_ema".
        **options: What no tensor tells, see the `plan` of each layout in `BLOCK_LAYOUTS`.

    Raises:
        FileNotFoundError: The path does not exist.
        ValueError: The file cannot be read, there is no such block, the layout has no such option,
            or a tensor is missing, is not used or does not fit.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"there is no file {path}")
    contents = read_contents(path)
    chosen = choose(
        path,
        contents.sets,
        lambda tensors: bool(find_blocks(tensors, BLOCK_LAYOUTS)),
        weights,
        inside=False,
    )
    found = find_blocks(chosen.tensors, BLOCK_LAYOUTS)
    place = _prefix(prefix, tuple(found))
    if place is None:
        wanted = "one of its prefixes must be given" if prefix is None else f"none is {prefix!r}"
        available = ", ".join(repr(name) for name in found) or "none"
        raise ValueError(f"{path} has {len(found)} attention blocks and {wanted}: {available}")
    layout = found[place]
    block, said = _with_hints(
        _told(path, contents, layout.plan, options),
        lambda told: block_of(path, chosen.tensors, place, layout, **told, **options),
    )
    first, *others = block.decisions
    block.decisions = (first, *chosen.decisions, *said, *others)
    return block


def _prefix(given: str | None, found: tuple[str, ...]) -> str | None:
    """Return the start of the names of the block that is meant, if there is just one."""
    if given is None:
        return found[0] if len(found) == 1 else None
    bare = unwrapped_name(given)
    for meant in (given, bare):
        ending = [name for name in found if name == meant]
        ending = ending or [name for name in found if meant and name.endswith(f".{meant}")]
        ending = ending or [name for name in found if name and meant.endswith(f".{name}")]
        if len(ending) == 1:
            return ending[0]
    return None


def _told(
    path: Path, contents: Contents, plan: Callable[..., Any], options: dict[str, Any]
) -> dict[str, Hint]:
    """Return options of a plan that a file's name or its metadata tell, and no user does."""
    known = inspect.signature(plan).parameters
    return {
        option: hint
        for option, hint in hints(path.name, contents.about).items()
        if option in known and option not in options
    }


def _with_hints(
    told: dict[str, Hint], plan: Callable[[dict[str, Any]], Planned]
) -> tuple[Planned, tuple[str, ...]]:
    """Return what is planned with as many hints as the tensors allow, and sentences on them.

    Raises:
        ValueError: It cannot be planned without any either.
    """
    form = {option: hint for option, hint in told.items() if option == "form"}
    for taken in (told, form):
        try:
            planned = plan({option: hint.value for option, hint in taken.items()})
        except ValueError:  # the tensors contradict what the name says
            continue
        return planned, tuple(
            f"{option}={hint.value!r}, as {hint.source} says; {option}= sets another"
            for option, hint in taken.items()
        )
    return plan({}), ()


def network_of(
    path: Path, contents: Contents, *, weights: str | None = None, **options: Any
) -> Network:
    """Return the network that a file's tensors are for, in evaluation mode.

    Args:
        path: Where the tensors are from; it is named in errors.
        contents: What `read_contents` found there.
        weights: Which of several sets of weights to take, by where they lie.
        **options: The layout's own, see the `plan` of each.

    Raises:
        ValueError: No layout has such names, the layout has no such option, or a tensor is
            missing, is not used or does not fit.
    """
    chosen = choose(path, contents.sets, lambda tensors: _layout_of(tensors) is not None, weights)
    tensors = chosen.tensors
    layout = _layout_of(tensors)
    if layout is None:
        some = ", ".join(shortened(name, 40) for name in list(tensors)[:3])
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
            f"the layout {layout.name} has no option {unknown[0]!r}; available: "
            f"{', '.join([*known, 'weights'])}"
        )
    if "classes" in known and contents.classes is not None:
        options.setdefault("classes", contents.classes)
    layout_plan = layout.plan
    try:
        with torch.device("meta"):  # nothing is drawn at random that is about to be replaced
            plan, said = _with_hints(
                _told(path, contents, layout_plan, options),
                lambda told: layout_plan(tensors, **told, **options),
            )
    except ValueError as error:
        raise ValueError(f"{path} does not fit the layout {layout.name}: {error}") from error
    fill(path, plan.network, tensors, plan.rules, plan.unused)
    plan.network.decisions = (
        f"layout of {layout.name}",
        *chosen.decisions,
        *said,
        *plan.decisions,
    )
    return plan.network.eval().requires_grad_(False)


def _layout_of(tensors: dict[str, Tensor]) -> Layout | None:
    return next((layout for layout in LAYOUTS if layout.recognizes(tuple(tensors))), None)
