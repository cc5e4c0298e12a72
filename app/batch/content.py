"""What an input holds, as a hash: a run that goes on later finds out what has changed since."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

from nonlocal_lens.analysis.file_kinds import listed
from nonlocal_lens.analysis.labels import labels_beside
from nonlocal_lens.app.batch.inputs import Source, is_file
from nonlocal_lens.models.file_hash import file_sha256
from nonlocal_lens.models.local_files import is_regular


def content_of(sources: Iterable[Source], labels: str | None = None) -> str:
    """Return a hash of all bytes that are read of some inputs, and of where they lie.

    Bytes are hashed, not times of files: clocks jump, and copies keep times.

    Args:
        sources: The inputs.
        labels: A folder of labels, named like the inputs.
    """
    digest = hashlib.sha256()
    for source in sources:
        for path in _files(source.location, labels):
            digest.update(f"{path}\0{_sha256(path)}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _files(location: str, labels: str | None) -> Iterable[Path]:
    """Yield the file of an input, or the files of its folder, and that of its labels."""
    path = Path(location)
    yield path
    if is_file(location) and path.is_dir():
        yield from listed(path)
    if labels is not None:
        try:
            yield labels_beside(Path(labels), Path(location.removeprefix("samples:")))
        except OSError:
            return  # reading the input tells that there are none


def _sha256(path: Path) -> str:
    """Return the hash of a regular file; empty where there is nothing to read."""
    try:
        return file_sha256(path) if is_regular(path) else ""
    except OSError:
        return ""
