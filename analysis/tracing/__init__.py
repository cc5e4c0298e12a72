"""Attention read from what a network computes, and places from where its data came."""

from importlib import import_module
from typing import Any


def __getattr__(name: str) -> Any:
    """Import `trace` when it is asked for: records, which it makes, import from here themselves."""
    if name in ("trace", "Traced"):
        return getattr(import_module("nonlocal_lens.analysis.tracing.reading"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
