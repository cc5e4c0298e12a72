"""Draw a file of an export again, from what the file itself says."""

from pathlib import Path
from typing import Any, NamedTuple

from analysis.figures.bars import Bar
from app.export.inputs import Source, is_file
from app.export.options import Options
from app.export.pieces import pieces, statistics_pieces
from app.export.provenance import read_note, versions
from app.export.seeing import load, see
from app.export.writing import write_whole


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
    else:
        seen = []
        for one in note["inputs"]:
            location = one["location"]
            if root is not None and is_file(location):
                location = str(root / location)
            single = see(Source(one["name"], location), options)
            if single.picture.sha256 != one["sha256"]:
                raise ValueError(
                    f"the input {location} has changed since: its sha256 was {one['sha256']}, now "
                    f"{single.picture.sha256}"
                )
            seen.append(single)
        candidates = pieces(note["job"], seen, options)
    for piece in candidates:
        if piece.name == name:
            return piece.encode(note)
    raise ValueError(f"the file says that it is {name}, which its options do not draw")
