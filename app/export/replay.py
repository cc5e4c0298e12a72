"""Draw a file of an export again, from what the file itself says."""

import os
from pathlib import Path
from typing import Any, NamedTuple

from nonlocal_lens.analysis.figures.bars import Bar
from nonlocal_lens.app.batch.inputs import Source, is_file
from nonlocal_lens.app.batch.networks import load
from nonlocal_lens.app.batch.writing import write_atomically
from nonlocal_lens.app.export.looked import Looked
from nonlocal_lens.app.export.options import Options
from nonlocal_lens.app.export.outputs import outputs, statistics_outputs
from nonlocal_lens.app.export.provenance import read_note, versions
from nonlocal_lens.app.export.scene import Subject, look_at
from nonlocal_lens.models import list_networks
from nonlocal_lens.models.download import cached
from nonlocal_lens.models.libraries import LibraryName
from nonlocal_lens.models.limits import error_words, shortened
from nonlocal_lens.models.published import PUBLISHED


class Replayed(NamedTuple):
    """A file drawn again."""

    path: Path
    warnings: list[str]  # why pixels may differ


def replay(path: Path, target: Path, *, root: Path | None = None, force: bool = False) -> Replayed:
    """Draw a file again; on the machine that drew it, a PNG has the same pixels.

    Args:
        path: The file.
        target: Where to write.
        root: Where the relative paths of inputs begin; if None, the working directory. Inputs and
            weights are read from it, from the working directory, and from beside or below the
            folder of the file. A path elsewhere is not read: anybody may have written it there.
        force: Replace the target if it is there.

    Raises:
        ValueError: The file does not say how it was made, or its input or network has changed.
        OSError: The input is not there, or the target cannot be written.
    """
    note = read_note(path)
    base = root or Path.cwd()
    allowed = (base.resolve(), Path.cwd(), path.resolve().parent.parent)
    for one in note["inputs"]:
        if is_file(one["location"]):
            _check_path(base / one["location"], allowed)
    options = options_of(note)
    warnings = [
        f"{shortened(name, 40)} was {shortened(then, 40)} and is {versions().get(name)}: pixels "
        "may differ"
        for name, then in note["versions"].items()
        if versions().get(name) != then
    ]
    if options.batch > 1:
        warnings.append(
            f"it was drawn in batches of {options.batch}, and is drawn alone: pixels may differ"
        )
    for network in note["networks"]:
        _check_network(network["name"], allowed)
        now = load(network["name"]).sha256
        if now != network["sha256"]:
            raise ValueError(
                f"network {shortened(network['name'], 80)!r} has changed since: its sha256 was "
                f"{network['sha256'][:64]}, now {now}"
            )
    if set(options.networks) != {network["name"] for network in note["networks"]}:
        raise ValueError("the note in the file names other networks than its options")
    if options.labels is not None:
        _check_path(Path.cwd() / options.labels, allowed)
    try:
        data = _draw(note, options, root)
    except (OSError, ValueError):
        raise
    except Exception as error:  # what anybody may have written can lack whatever is needed
        raise ValueError(
            f"the note in {shortened(path.name, 80)} does not fit together: "
            f"{shortened(error_words(error), 100)}"
        ) from error
    write_atomically(target, data, replace=force)
    return Replayed(target, warnings)


def _check_path(named: Path, allowed: tuple[Path, ...]) -> None:
    """Raise ValueError unless a path that a file names lies where the user expects it."""
    try:
        whole = named.resolve()
    except (OSError, ValueError, RuntimeError) as error:
        raise ValueError("the file names an input that can be no path") from error
    if not any(whole.is_relative_to(folder) for folder in allowed):
        raise ValueError(
            f"the file names {shortened(str(named), 100)}, which lies elsewhere: --root names the "
            "folder that it may be read from"
        )


def _check_network(name: str, allowed: tuple[Path, ...]) -> None:
    """Raise ValueError where a network would have to be downloaded, or lies elsewhere."""
    if name in list_networks():
        return
    if name in PUBLISHED:
        if not cached(PUBLISHED[name].url).is_file():
            raise ValueError(
                f"the file names the network {name}, which is not on this computer: "
                f"`nonlocal-lens layers {name}` downloads it"
            )
        return
    library = LibraryName.read(name)
    if library is None:
        _check_path(Path.cwd() / name, allowed)
        return
    if Path(library.name).exists():
        _check_path(Path.cwd() / library.name, allowed)
    if library.prefix == "torchvision" and library.options.get("pretrained") is not False:
        raise ValueError(
            f"the file names the network {shortened(name, 80)}, whose weights torchvision may "
            f"download: `nonlocal-lens export` draws it when you name it yourself"
        )
    os.environ["HF_HUB_OFFLINE"] = "1"  # what is on this computer will do


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
        candidates = statistics_outputs(note["job"], bars, options)
    else:
        looked = Looked(options)
        for one in note["inputs"]:
            looked.add(_look_again(one, options, root))
        candidates = outputs(note["job"], looked.subjects, options)
    for output in candidates:
        if output.name == name:
            return output.encode(note)
    raise ValueError(f"the file says that it is {name}, which its options do not draw")


def _look_again(one: dict[str, Any], options: Options, root: Path | None) -> Subject:
    """Look at an input as it was looked at; a note of a clip has its frames."""
    location = _location(one, root)
    subject = look_at(Source(one["name"], location), options, as_clip="frames" in one)
    _check_sha256(one, location, subject.clip.sha256)
    return subject


def _location(one: dict[str, Any], root: Path | None) -> str:
    location = one["location"]
    return str(root / location) if root is not None and is_file(location) else location


def _check_sha256(one: dict[str, Any], location: str, now: str) -> None:
    if now != one["sha256"]:
        raise ValueError(
            f"the input {shortened(location, 100)} has changed since: its sha256 was "
            f"{one['sha256'][:64]}, now {now}"
        )
