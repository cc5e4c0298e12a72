"""Self-attention inside windows and across a grid: MaxViT of torchvision and timm.

Tu et al., ECCV 2022 (arXiv 2204.01697). In the grid a position looks at those that lie in the same
place of every cell; `analysis.adapters.partitioned` says how records hold either.
"""

import torch
from torch import Tensor, nn

from analysis.adapters.adapter import Call, Heads, has, register
from analysis.adapters.partitioned import Layout, attends_with_biases, read_parts

TORCHVISION = ("attn_layer.0", "attn_layer.1", "attn_layer.1.merge", "mlp_layer")
TIMM = ("norm1", "attn", "attn.proj", "ls1", "norm2", "mlp", "ls2")


def _holds(module: nn.Module, layers: tuple[str, ...]) -> bool:
    """Return whether a module has some layers, the second of which attends."""
    try:
        _, attention, *_ = (module.get_submodule(layer) for layer in layers)
    except AttributeError:
        return False
    return attends_with_biases(attention)


@register(lambda module: has(module, "partition_type", "p") and _holds(module, TORCHVISION))
def torchvision_partition(module: nn.Module, call: Call) -> Heads:
    """Read torchvision's `PartitionAttentionLayer`."""
    call.refuse_windows()
    x = call.x[0].flatten(1).T
    norm, attention, merge, mlp = (module.get_submodule(layer) for layer in TORCHVISION)

    def finish(attended: Tensor, queries: Tensor) -> Tensor:
        y: Tensor = x[queries] + merge(attended)
        return y + mlp(y)  # type: ignore[no-any-return]

    height, width = call.x.shape[2:]
    extent, kind = int(getattr(module, "p")), str(getattr(module, "partition_type"))  # noqa: B009
    layout = _layout((height, width), (extent, extent), kind)
    return read_parts(attention, norm(x), layout, finish, call.own[0].flatten(1).T)


@register(lambda module: has(module, "partition_size") and _holds(module, TIMM))
def timm_partition(module: nn.Module, call: Call) -> Heads:
    """Read timm's `PartitionAttentionCl`."""
    call.refuse_windows()
    x = call.x[0].flatten(0, 1)
    norm, attention, project, gain, *after = (module.get_submodule(layer) for layer in TIMM)

    def finish(attended: Tensor, queries: Tensor) -> Tensor:
        y: Tensor = x[queries] + gain(project(attended))
        return y + nn.Sequential(*after)(y)  # type: ignore[no-any-return]

    height, width = call.x.shape[1:3]
    rows, columns = getattr(module, "partition_size")  # noqa: B009
    if getattr(module, "partition_block"):  # noqa: B009
        layout = _layout((height, width), (rows, columns), "window")
    else:
        layout = _layout((height, width), (height // rows, width // columns), "grid")
    return read_parts(attention, norm(x), layout, finish, call.own[0].flatten(0, 1))


def _layout(size: tuple[int, int], extents: tuple[int, int], kind: str) -> Layout:
    """Return where parts lie: boxes of some extents, or what has one place in all of these."""
    box, inside = torch.tensor(0), torch.tensor(0)
    for side, extent in zip(size, extents, strict=True):
        index = torch.arange(side)
        box = box[..., None] * (side // extent) + index // extent
        inside = inside[..., None] * extent + index % extent
    place, part = (box, inside) if kind == "grid" else (inside, box)
    real = torch.ones(part.numel(), dtype=torch.bool)
    return Layout(size, place.flatten(), part.flatten(), real, kind)
