"""What an export can write: an entry for every format."""

import html
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

from nonlocal_lens.analysis.figures.files import NOTE_KEY
from nonlocal_lens.analysis.figures.files import read_note as read_figure_note
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.models.safetensors_header import joined, split

Note = dict[str, Any]
"""How a file was made, as JSON holds it."""

HTML_META = re.compile(rf'<meta name="{NOTE_KEY}" content="([^"]*)">')


@dataclass(frozen=True)
class Format:
    """One kind of file.

    Attributes:
        of: What it holds: a figure, a movie, the live page of an input, or one record.
        words: What it is, for those who choose.
        encode: Takes what it holds and the note; returns the file.
        read_note: Returns the note of a file, None where there is none.
    """

    of: Literal["figure", "movie", "page", "record"]
    words: str
    encode: Callable[[Any, Note], bytes]
    read_note: Callable[[Path], Note | None]


def _figure(kind: str, words: str) -> Format:
    def encode(drawing: Any, note: Note) -> bytes:
        data: bytes = drawing.file(kind, note=note)
        return data

    return Format("figure", words, encode, read_figure_note)


def _movie(kind: str, words: str) -> Format:
    return Format("movie", words, partial(_movie_bytes, kind=kind), _read_comment)


def _movie_bytes(drawing: Any, note: Note, *, kind: str) -> bytes:
    from nonlocal_lens.app.export.movie_files import gif_bytes, mp4_bytes

    movie, comment = drawing.movie, json.dumps(note, sort_keys=True)
    pictures = movie.pictures()
    if kind == "mp4":
        return mp4_bytes(pictures, movie.times, movie.fps, comment=comment)
    return gif_bytes(pictures, movie.times, movie.fps, comment=comment, colors=movie.bar_colors)


def _read_comment(path: Path) -> Note | None:
    from nonlocal_lens.app.export.movie_files import read_comment

    text = read_comment(path)
    return json.loads(text) if text.startswith("{") else None


def _page(subject: Any, note: Note) -> bytes:
    from nonlocal_lens.app.export.page import page_bytes

    return page_bytes(subject, note)


def html_meta(note: Note) -> str:
    """Return the element of an HTML page's head that holds its note."""
    return f'<meta name="{NOTE_KEY}" content="{html.escape(json.dumps(note, sort_keys=True))}">'


def _read_meta(path: Path) -> Note | None:
    found = HTML_META.search(path.read_text(encoding="utf-8", errors="replace")[:1_000_000])
    return json.loads(html.unescape(found[1])) if found else None


def record_bytes(record: AttentionRecord, note: Note) -> bytes:
    """Return a record as a file, with a note in its header, which is written in a fixed order."""
    header, tensors = split(record.to_bytes())
    known = {**header.pop("__metadata__", {}), NOTE_KEY: json.dumps(note, sort_keys=True)}
    return joined({"__metadata__": dict(sorted(known.items())), **header}, tensors)


def _read_header(path: Path) -> Note | None:
    header, _ = split(path.read_bytes())
    text = header.get("__metadata__", {}).get(NOTE_KEY)
    return json.loads(text) if text else None


FORMATS = {
    "png": _figure("png", "a figure as pixels"),
    "pdf": _figure("pdf", "a figure for print"),
    "svg": _figure("svg", "a figure to edit"),
    "html": Format("page", "the live viewer, offline", _page, _read_meta),
    "safetensors": Format("record", "the records, one in each file", record_bytes, _read_header),
    "mp4": _movie("mp4", "a video, of clips"),
    "gif": _movie("gif", "a moving picture, of clips"),
}
"""Suffix -> format."""


def formats_of(kind: str) -> tuple[str, ...]:
    """Return the formats that hold figures, movies, pages or records."""
    return tuple(name for name, one in FORMATS.items() if one.of == kind)


DRAWN = formats_of("figure")
MOVIES = formats_of("movie")
