"""How a file was made, in the file: read and written for every format."""

import html
import json
import platform
import re
import struct
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

from analysis.figures.files import NOTE_KEY
from analysis.figures.files import read_note as read_figure_note

SCHEMA_VERSION = 1
HTML_META = re.compile(rf'<meta name="{NOTE_KEY}" content="([^"]*)">')


@cache
def versions() -> dict[str, str]:
    """Return the versions of what takes part in a figure."""
    names = ("torch", "numpy", "matplotlib", "pillow", "safetensors", "opencv-python", "av")
    return {"python": platform.python_version(), **{name: metadata.version(name) for name in names}}


def read_note(path: Path) -> dict[str, Any]:
    """Return what a file of an export says about how it was made.

    Raises:
        FileNotFoundError: The path does not exist.
        ValueError: The file says nothing, or was written by another version of the schema.
    """
    if path.suffix == ".html":
        found = HTML_META.search(path.read_text(encoding="utf-8", errors="replace")[:1_000_000])
        note = json.loads(html.unescape(found[1])) if found else None
    elif path.suffix == ".safetensors":
        header, _ = split_safetensors(path.read_bytes())
        text = header.get("__metadata__", {}).get(NOTE_KEY)
        note = json.loads(text) if text else None
    elif path.suffix in (".mp4", ".gif"):
        from app.export.clip_files import read_comment

        text = read_comment(path)
        note = json.loads(text) if text.startswith("{") else None
    else:
        note = read_figure_note(path)
    if not isinstance(note, dict) or "options" not in note:
        raise ValueError(f"{path} does not say how it was made: no export wrote it")
    if note.get("schema_version") != SCHEMA_VERSION:
        raise ValueError(
            f"{path}: schema_version must be {SCHEMA_VERSION}, got {note.get('schema_version')}"
        )
    return note


def html_meta(note: dict[str, Any]) -> str:
    """Return the element of an HTML page's head that `read_note` reads."""
    return f'<meta name="{NOTE_KEY}" content="{html.escape(json.dumps(note, sort_keys=True))}">'


def noted_safetensors(data: bytes, note: dict[str, Any]) -> bytes:
    """Return a safetensors file with a note in its header, which is written in a fixed order."""
    header, tensors = split_safetensors(data)
    known = header.pop("__metadata__", {})
    known[NOTE_KEY] = json.dumps(note, sort_keys=True)
    header = {"__metadata__": dict(sorted(known.items())), **header}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + tensors


def split_safetensors(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Return a safetensors file's header and its tensors; ValueError if it is none."""
    try:
        (length,) = struct.unpack_from("<Q", data)
        return json.loads(data[8 : 8 + length]), data[8 + length :]
    except (struct.error, ValueError) as error:
        raise ValueError(f"this is not a safetensors file: {error}") from error
