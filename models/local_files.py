"""Files of this computer, read whole: only regular ones, and none that is larger than it may be."""

from pathlib import Path

from nonlocal_lens.models.limits import LONGEST_NAME, shortened


def read_regular(path: Path, most: int, what: str = "file") -> bytes:
    """Return the bytes of a file.

    A pipe could be waited for without end, a device could be read without end: they are no files
    here.

    Args:
        path: Where it lies.
        most: How many bytes it may have.
        what: What a sentence calls it.

    Raises:
        FileNotFoundError: There is no such file, or it is none: a folder, a pipe, a device.
        OSError: It cannot be read.
        ValueError: It is larger than that.
    """
    name = shortened(path.name, LONGEST_NAME)
    try:
        there, size = path.exists(), path.stat().st_size if path.is_file() else -1
    except (OSError, ValueError) as error:  # a name that no file can have
        raise FileNotFoundError(
            f"there is no {what} {shortened(str(path), 200)}: {getattr(error, 'strerror', error)}"
        ) from error
    if size < 0:
        why = ": it is no regular file" if there else ""
        raise FileNotFoundError(f"there is no {what} {shortened(str(path), 200)}{why}")
    if size > most:
        raise ValueError(f"{name} has {_megabytes(size)}; a {what} has at most {_megabytes(most)}")
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise type(error)(f"{name} cannot be read: {error.strerror or error}") from error
    if len(data) > most:  # it grew, or says a wrong size, as files of the system do
        raise ValueError(f"{name} is too large; a {what} has at most {_megabytes(most)}")
    return data


def is_regular(path: Path) -> bool:
    """Return whether there is a regular file of that name, whatever the name is."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.4g} MB"
