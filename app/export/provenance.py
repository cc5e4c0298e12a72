"""How a file was made, in the file: read for every format."""

import platform
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from nonlocal_lens.analysis.figures.files import read_note as read_figure_note
from nonlocal_lens.app.export.formats import FORMATS, Note
from nonlocal_lens.models.limits import MOST_FIGURE_BYTES, shortened
from nonlocal_lens.models.local_files import is_regular

SCHEMA_VERSION = 1


@cache
def versions() -> dict[str, str]:
    """Return the versions of what takes part in a figure."""
    names = ("torch", "numpy", "matplotlib", "pillow", "safetensors", "opencv-python", "av")
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in names}}


def read_note(path: Path) -> Note:
    """Return what a file of an export says about how it was made.

    Raises:
        FileNotFoundError: The path does not exist.
        ValueError: The file says nothing, or was written by another version of the schema.
    """
    name = shortened(str(path), 150)
    if not is_regular(path):
        raise FileNotFoundError(f"there is no file {shortened(str(path), 200)}")
    if path.stat().st_size > MOST_FIGURE_BYTES:
        raise ValueError(f"{name} is too large for a file of an export")
    form = FORMATS.get(path.suffix.removeprefix("."))
    try:
        note = form.read_note(path) if form else read_figure_note(path)
    except OSError:
        raise
    except ValueError as error:
        raise ValueError(shortened(str(error))) from error
    except Exception as error:  # of a damaged file, whatever goes wrong in it; it is not quoted
        raise ValueError(f"{name} does not say how it was made: no export wrote it") from error
    if not isinstance(note, dict) or "options" not in note:
        raise ValueError(f"{name} does not say how it was made: no export wrote it")
    if note.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(
            f"{name}: schema_version must be {SCHEMA_VERSION}, got "
            f"{shortened(repr(note.get('schema_version')), 40)}"
        )
    _check(note, name)
    return note


OF_NOTE: dict[str, type] = {
    "file": str,
    "job": str,
    "options": dict,
    "versions": dict,
    "networks": list,
    "inputs": list,
}
OF_NETWORK: dict[str, type] = {"name": str, "sha256": str}
OF_INPUT: dict[str, type] = {"name": str, "location": str, "sha256": str}
"""What a note must hold, of which type: it is data that anybody may have written."""


def _check(note: dict[str, Any], name: str) -> None:
    """Raise ValueError unless a note holds what drawing it again needs."""

    def check(held: Any, kinds: Mapping[str, type], where: str) -> None:
        if not isinstance(held, dict):
            raise ValueError(f"{name}: the note in it must hold {where} by name")
        for key, kind in kinds.items():
            if not isinstance(held.get(key), kind):
                raise ValueError(
                    f"{name}: the note in it must hold {key!r} of {where} as {NAMES_OF_KINDS[kind]}"
                )

    check(note, OF_NOTE, "the figure")
    if len(note["networks"]) > MOST_IN_NOTE or len(note["inputs"]) > MOST_IN_NOTE:
        raise ValueError(f"{name}: the note in it names more than {MOST_IN_NOTE} inputs")
    for network in note["networks"]:
        check(network, OF_NETWORK, "networks")
    for one in note["inputs"]:
        check(one, OF_INPUT, "inputs")
    for version in note["versions"].values():
        if not isinstance(version, str):
            raise ValueError(f"{name}: the note in it must hold versions as text")
    if not isinstance(note.get("statistics", {}), dict):
        raise ValueError(f"{name}: the note in it must hold 'statistics' by name")


NAMES_OF_KINDS: dict[type, str] = {str: "text", dict: "values by name", list: "a list"}
MOST_IN_NOTE = 10_000
