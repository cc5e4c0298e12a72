"""Rendered streets: seed in, labeled street scene or clip out; nothing is downloaded."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from nonlocal_lens.streets.classes import CLIP_LABELS, MIRRORED

if TYPE_CHECKING:
    from nonlocal_lens.streets.clip import Clip as Clip
    from nonlocal_lens.streets.clip import render_clip as render_clip
    from nonlocal_lens.streets.scene import Scene as Scene
    from nonlocal_lens.streets.scene import render_scene as render_scene
    from nonlocal_lens.streets.seeds import split_seeds as split_seeds

_HOMES = {
    "Clip": "nonlocal_lens.streets.clip",
    "Scene": "nonlocal_lens.streets.scene",
    "render_clip": "nonlocal_lens.streets.clip",
    "render_scene": "nonlocal_lens.streets.scene",
    "split_seeds": "nonlocal_lens.streets.seeds",
}
"""Public name -> the module it lives in; loaded when first asked for: classes alone are quick."""

__all__ = ["CLIP_LABELS", "MIRRORED", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value
