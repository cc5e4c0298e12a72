"""Files that are there whole or not at all."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".partial"


@contextmanager
def appearing(path: Path) -> Iterator[Path]:
    """Give the path of a file to write, which takes its own name when the `with` ends well.

    Nobody ever sees a part of it, and nothing is left where writing fails.
    """
    with _partial(path) as partial:
        yield partial
        partial.replace(path)


@contextmanager
def appearing_once(path: Path) -> Iterator[Path]:
    """Do what `appearing` does, unless there is a file of that name: FileExistsError."""
    with _partial(path) as partial:
        yield partial
        _link(partial, path)


@contextmanager
def _partial(path: Path) -> Iterator[Path]:
    partial = path.with_name(path.name + PARTIAL)
    try:
        yield partial
    finally:
        partial.unlink(missing_ok=True)


def atomic_write(path: Path, data: bytes) -> None:
    """Write a file so that nobody ever sees a part of it, in the place of what was there."""
    with appearing(path) as partial:
        partial.write_bytes(data)


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
