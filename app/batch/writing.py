"""Files that are there whole or not at all, and never in another's place."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".partial"


class OutputError(OSError):
    """The folder for the results does not take them: going on with other inputs is no use."""


def write_whole(path: Path, data: bytes, *, replace: bool) -> None:
    """Write a file so that nobody ever sees a part of it; see `appearing_whole`."""
    with appearing_whole(path, replace=replace) as partial:
        partial.write_bytes(data)


@contextmanager
def appearing_whole(path: Path, *, replace: bool) -> Iterator[Path]:
    """Give the path of a file to write, which gets its own name when the `with` ends well.

    Args:
        path: The name it gets.
        replace: Whether a file that is there already is replaced.

    Raises:
        FileExistsError: There is such a file, and it is not to be replaced.
        OutputError: The disk is full, the folder cannot be written to, and the like.
    """
    partial = path.with_name(path.name + PARTIAL)
    try:
        try:
            yield partial
            if replace:
                partial.replace(path)
            else:
                _link(partial, path)
        finally:
            partial.unlink(missing_ok=True)
    except FileExistsError as error:
        raise FileExistsError(f"{path} exists already; --force replaces it") from error
    except OSError as error:
        raise OutputError(
            f"{path} cannot be written: {error.strerror or error}; what is finished is kept, "
            "--resume goes on from there"
        ) from error


def _link(partial: Path, path: Path) -> None:
    """Give a file its name, unless the name is taken: in one step, so that no other can slip in."""
    try:
        os.link(partial, path)
    except FileExistsError:
        raise
    except OSError:  # file systems without links
        if path.exists():
            raise FileExistsError(str(path)) from None
        partial.replace(path)
