"""Draw a file of an export again, from what the file itself says."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from analysis.figures.bars import Bar
from app.batch.clips import of_clips
from app.batch.inputs import Source, is_file
from app.batch.networks import load
from app.batch.writing import write_whole
from app.export.clip_pieces import clip_pieces
from app.export.clip_seeing import see_clip
from app.export.options import Options
from app.export.pieces import Piece, pieces, statistics_pieces
from app.export.provenance import read_note, versions
from app.export.seeing import see


class Replayed(NamedTuple):
    """A file drawn again."""

    path: Path
    warnings: list[str]  # why pixels may differ


def replay(path: Path, target: Path, *, root: Path | None = None, force: bool = False) -> Replayed:
    """Draw a file again; on the machine that drew it, a PNG has the same pixels.

    Args:
        path: The file.
        target: Where to write.
        root: Where the relative paths of inputs begin; if None, the working directory.
        force: Replace the target if it is there.

    Raises:
        ValueError: The file does not say how it was made, or its input or network has changed.
        OSError: The input is not there, or the target cannot be written.
    """
    note = read_note(path)
    options = options_of(note)
    warnings = [
        f"{name} was {then} and is {versions().get(name)}: pixels may differ"
        for name, then in note["versions"].items()
        if versions().get(name) != then
    ]
    for network in note["networks"]:
        now = load(network["name"]).sha256
        if now != network["sha256"]:
            raise ValueError(
                f"network {network['name']!r} has changed since: its sha256 was "
                f"{network['sha256']}, now {now}"
            )
    write_whole(target, _draw(note, options, root), replace=force)
    return Replayed(target, warnings)


def options_of(note: dict[str, Any]) -> Options:
    """Return the options that a file was made with."""
    locations = [one["location"] for one in note["inputs"]] or ["samples"]
    return Options.build({**note["options"], "inputs": locations})


def _draw(note: dict[str, Any], options: Options, root: Path | None) -> bytes:
    name = note["file"]
    if "statistics" in note:
        bars = {
            statistic: {network: Bar.from_json(numbers) for network, numbers in of_network.items()}
            for statistic, of_network in note["statistics"].items()
        }
        candidates = statistics_pieces(note["job"], bars, options)
    elif of_clips(options):
        candidates = _clip_pieces(note, options, root)
    else:
        seen = []
        for one in note["inputs"]:
            location = _location(one, root)
            single = see(Source(one["name"], location), options)
            _check_sha256(one, location, single.picture.sha256)
            seen.append(single)
        candidates = pieces(note["job"], seen, options)
    for piece in candidates:
        if piece.name == name:
            return piece.encode(note)
    raise ValueError(f"the file says that it is {name}, which its options do not draw")


def _clip_pieces(note: dict[str, Any], options: Options, root: Path | None) -> Iterator[Piece]:
    (one,) = note["inputs"]
    location = _location(one, root)
    seen = see_clip(Source(one["name"], location), options)
    _check_sha256(one, location, seen.clip.sha256)
    return clip_pieces(note["job"], seen, options)


def _location(one: dict[str, Any], root: Path | None) -> str:
    location = one["location"]
    return str(root / location) if root is not None and is_file(location) else location


def _check_sha256(one: dict[str, Any], location: str, now: str) -> None:
    if now != one["sha256"]:
        raise ValueError(
            f"the input {location} has changed since: its sha256 was {one['sha256']}, now {now}"
        )
