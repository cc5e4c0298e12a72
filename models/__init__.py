"""Networks with non-local attention: blocks, backbones, weights, training."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nonlocal_lens.models.bundled import list_networks as list_networks
    from nonlocal_lens.models.checkpoint import load_network as load_network
    from nonlocal_lens.models.checkpoints import load_block as load_block

_HOMES = {
    "list_networks": "nonlocal_lens.models.bundled",
    "load_network": "nonlocal_lens.models.checkpoint",
    "load_block": "nonlocal_lens.models.checkpoints",
}
"""Public name -> the module it lives in; loaded when first asked for, because of torchvision."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value
