"""What other packages add to this one: entry points that are loaded when first needed."""

import warnings
from functools import cache
from importlib.metadata import entry_points
from typing import Any, TypeVar

Kind = TypeVar("Kind")

ADAPTERS = "nonlocal_lens.adapters"
"""Group of modules that call `analysis.adapters.register`."""

STATISTICS = "nonlocal_lens.statistics"
"""Group of `analysis.statistics.statistic.Statistic` objects."""


installed = cache(entry_points)
"""All entry points of all packages: to look through these takes a tenth of a second."""


@cache
def load_extensions(group: str) -> dict[str, Any]:
    """Return what the entry points of a group name, each loaded: once in a process.

    One that raises is left out with a warning, whatever it raises; the others are loaded.
    """
    loaded = {}
    for point in sorted(installed().select(group=group), key=lambda point: point.name):
        try:
            loaded[point.name] = point.load()
        except Exception as error:
            _leave_out(point.value, group, f"{type(error).__name__}: {error}")
    return loaded


def loaded_extensions(group: str, kind: type[Kind]) -> dict[str, Kind]:
    """Return what the entry points of a group name, as far as it is of a kind; warn of others."""
    found = {}
    for name, value in load_extensions(group).items():
        if isinstance(value, kind):
            found[name] = value
        else:
            _leave_out(name, group, f"it is a {type(value).__name__}, not a {kind.__name__}")
    return found


def _leave_out(what: str, group: str, reason: str) -> None:
    warnings.warn(
        f"{what}, which an installed package adds to {group}, is left out: {reason}", stacklevel=3
    )
