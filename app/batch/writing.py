"""Files that are there whole or not at all, and never in another's place."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from nonlocal_lens.models.atomic_write import appearing, appearing_once


class OutputError(OSError):
    """The folder for the results does not take them: going on with other inputs is no use."""


def write_atomically(path: Path, data: bytes, *, replace: bool) -> None:
    """Write a file so that nobody ever sees a part of it; see `atomic_output`."""
    with atomic_output(path, replace=replace) as partial:
        partial.write_bytes(data)


@contextmanager
def atomic_output(path: Path, *, replace: bool) -> Iterator[Path]:
    """Give the path of a file to write, which gets its own name when the `with` ends well.

    Args:
        path: The name it gets.
        replace: Whether a file that is there already is replaced.

    Raises:
        FileExistsError: There is such a file, and it is not to be replaced.
        OutputError: The disk is full, the folder cannot be written to, and the like.
    """
    try:
        if replace:
            with appearing(path) as partial:
                yield partial
        else:
            with appearing_once(path) as partial:
                yield partial
    except FileExistsError as error:
        raise FileExistsError(f"{path} exists already; --force replaces it") from error
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror or error}; what is finished is kept, "
            "--resume goes on from there"
        ) from error
