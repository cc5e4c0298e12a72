"""Self-attention inside windows, shifted or not: Swin v1 and v2, of images and of clips.

Liu et al., ICCV 2021 (arXiv 2103.14030) and CVPR 2022 (arXiv 2111.09883), as torchvision, timm,
Hugging Face, OpenMMLab and the authors write them. Recognized is the module that makes the windows;
`analysis.adapters.partitioned` says how records hold them. A shifted window that goes over the
border of the map is cut into regions that do not look at each other, and each of them is a part.
"""

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from analysis.adapters.adapter import Call, Heads, UnreadableBlockError, has, register
from analysis.adapters.partitioned import Layout, attends_with_biases, is_cosine, read_parts


class Names(NamedTuple):
    """What a module that makes windows calls its layers."""

    attention: str  # what is given the windows
    project: str
    norms: tuple[str, ...] = ()  # of attention and of what follows it, where that is inside, too
    mlp: tuple[str, ...] = ()


TORCHVISION = Names("", "proj")
TIMM = Names("attn", "attn.proj", ("norm1", "norm2"), ("mlp",))  # and the authors
OPENMMLAB = Names("w_msa", "w_msa.proj")
HUGGING_FACE = Names(
    "attention", "attention.o_proj", ("layernorm_before", "layernorm_after"), ("mlp",)
)
HUGGING_FACE_4 = Names(  # its v2 in version 5, too
    "attention.self",
    "attention.output.dense",
    ("layernorm_before", "layernorm_after"),
    ("intermediate", "output"),
)


def _names(module: nn.Module) -> Names | None:
    """Return what a module calls its layers, if it makes windows in a known way."""
    if not has(module, "window_size", "shift_size"):
        return None
    for names in (TORCHVISION, TIMM, OPENMMLAB, HUGGING_FACE, HUGGING_FACE_4):
        try:
            for layer in (names.project, *names.norms, *names.mlp):
                module.get_submodule(layer)
            if attends_with_biases(module.get_submodule(names.attention)):
                return names
        except AttributeError:
            continue
    return None


@register(lambda module: _names(module) is not None)
def window_attention(module: nn.Module, call: Call) -> Heads:
    """Read what makes windows of a map and attends inside them, with or without an MLP after it."""
    call.refuse_windows()
    names = _names(module)
    assert names is not None  # or it would not have been recognized
    layout = _layout(module, _size(module, call), names)
    attention, project = (module.get_submodule(name) for name in (names.attention, names.project))
    norms = [module.get_submodule(name) for name in names.norms]
    mlp = nn.Sequential(*(module.get_submodule(name) for name in names.mlp))
    x = call.x[0].flatten(0, -2)

    def finish(attended: Tensor, queries: Tensor) -> Tensor:
        y: Tensor = project(attended)
        if not norms:
            return y
        y = x[queries] + (norms[0](y) if is_cosine(attention) else y)
        more: Tensor = norms[1](mlp(y)) if is_cosine(attention) else mlp(norms[1](y))
        return y + more

    given = norms[0](x) if norms and not is_cosine(attention) else x
    return read_parts(attention, given, layout, finish, call.own[0].flatten(0, -2))


def _size(module: nn.Module, call: Call) -> tuple[int, ...]:
    """Return the sides of the map, which may be given as a row of positions.

    Raises:
        UnreadableBlockError: It is, and nothing tells them.
    """
    if call.x.ndim > 3:
        return tuple(call.x.shape[1:-1])
    for sides in (*call.args[1:], *call.kwargs.values(), getattr(module, "input_resolution", None)):
        if (
            isinstance(sides, Sequence)
            and all(isinstance(side, int) for side in sides)
            and prod(sides) == call.x.shape[-2]
        ):
            return tuple(sides)
    raise UnreadableBlockError(
        f"nothing tells of how many rows and columns its {call.x.shape[-2]} positions are"
    )


def _layout(module: nn.Module, size: tuple[int, ...], names: Names) -> Layout:
    """Return where the windows of a module lie on a map.

    Raises:
        UnreadableBlockError: Its windows do not have the sides of the map.
    """
    windows, shifts = (
        (sides,) * len(size) if isinstance(sides, int) else tuple(sides)
        for sides in (getattr(module, name) for name in ("window_size", "shift_size"))
    )
    if not len(size) == len(windows) == len(shifts):
        raise UnreadableBlockError(
            f"its map has {len(size)} sides, its windows have {len(windows)} and are shifted along "
            f"{len(shifts)}"
        )
    place, part, real = torch.tensor(0), torch.tensor(0), torch.tensor(True)
    for side, window, shift in zip(size, windows, shifts, strict=True):
        if names == TORCHVISION and side <= window:
            shift = 0
            window = side if len(size) == 3 else window
        number = -(-side // window)
        index = torch.arange(number * window)
        turning = side if names == TIMM else number * window  # timm pads what it has shifted
        shifted = torch.where(index < turning, (index - shift) % turning, index)
        over_the_border = shifted >= number * window - shift
        place = place[..., None] * window + shifted % window
        part = part[..., None] * (number + 1) + shifted // window + over_the_border
        real = real[..., None] & (index < side)
    return Layout(size, place.flatten(), part.flatten(), real.flatten())
