"""See and measure what attention in vision networks does.

The rooms are `nonlocal_lens.streets`, `.models`, `.analysis` and `.app`, each of which imports from
those before it only; in the repository they are the folders of these names at its top. The names
below are the short way to what is used most.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nonlocal_lens.analysis import AttentionRecord as AttentionRecord
    from nonlocal_lens.analysis import capture as capture
    from nonlocal_lens.analysis import degeneracy as degeneracy
    from nonlocal_lens.analysis import terms as terms
    from nonlocal_lens.app.notebook import explore as explore
    from nonlocal_lens.app.notebook.atlas import atlas as atlas
    from nonlocal_lens.models import list_networks as list_networks
    from nonlocal_lens.models import load_network as load_network

__version__ = "0.2.0"

_HOMES = {
    "AttentionRecord": "nonlocal_lens.analysis",
    "capture": "nonlocal_lens.analysis",
    "degeneracy": "nonlocal_lens.analysis",
    "atlas": "nonlocal_lens.app.notebook",
    "explore": "nonlocal_lens.app.notebook",
    "list_networks": "nonlocal_lens.models",
    "load_network": "nonlocal_lens.models",
    "terms": "nonlocal_lens.analysis",
}
"""Public name -> the module it lives in; loaded when first asked for: `--version` is quick."""

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
