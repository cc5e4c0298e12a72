"""Checkpoints that others published, a file per layout."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nonlocal_lens.models.checkpoints.layouts import BLOCK_LAYOUTS as BLOCK_LAYOUTS
    from nonlocal_lens.models.checkpoints.layouts import LAYOUTS as LAYOUTS
    from nonlocal_lens.models.checkpoints.layouts import load_block as load_block
    from nonlocal_lens.models.checkpoints.layouts import network_of as network_of

_PUBLIC = ("BLOCK_LAYOUTS", "LAYOUTS", "load_block", "network_of")
"""Loaded when first asked for, because of torchvision: our own files have a layout of their own."""


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(
        import_module("nonlocal_lens.models.checkpoints.layouts"), name
    )
    return value
