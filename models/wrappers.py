"""The network inside what training programs put around it."""

from typing import Any

from torch import nn

INNER = {
    "DataParallel": "module",
    "DistributedDataParallel": "module",
    "OptimizedModule": "_orig_mod",  # torch.compile
    "AveragedModel": "module",  # torch.optim.swa_utils
    "ModelEma": "ema",  # timm, in three versions
    "ModelEmaV2": "module",
    "ModelEmaV3": "module",
    "ModelEMA": "ema",  # of the YOLO family
    "ExponentialMovingAverage": "module",  # torchvision's reference code
    "EMA": "ema_model",  # ema_pytorch
    "DeepSpeedEngine": "module",
    "_FabricModule": "_forward_module",
}
"""Class of a wrapper, or of one of its bases -> its attribute that is what it wraps."""


def unwrapped(network: Any) -> nn.Module:
    """Return the module inside data-parallel, averaging and compiling wrappers, in any nesting.

    It shares its weights with what was given. A network that is compiled inside (by its own
    `compile` method) and one whose parameters a wrapper has cut into shards stay as they are.
    """
    while True:
        names = [kind.__name__ for kind in type(network).__mro__]
        inner = next((INNER[name] for name in names if name in INNER), None)
        wrapped = None if inner is None else getattr(network, inner, None)
        if not isinstance(wrapped, nn.Module):
            break
        network = wrapped
    if not isinstance(network, nn.Module):
        raise ValueError(
            f"a network must be a torch.nn.Module, or a known wrapper of one, got "
            f"{type(network).__name__}"
        )
    return network
