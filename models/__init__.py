"""Networks with non-local attention: blocks, backbones, weights, training."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from models.checkpoint import list_networks as list_networks
    from models.checkpoint import load_network as load_network
    from models.checkpoints import load_block as load_block

_HOMES = {
    "list_networks": "models.checkpoint",
    "load_network": "models.checkpoint",
    "load_block": "models.checkpoints",
}
"""Public name -> the module it lives in; loaded when first asked for, because of torchvision."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value
