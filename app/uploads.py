"""Files that users bring: kept on this computer for the tabs that brought them.

A file is named by what is in it, so that equal bytes are kept once, whoever brings them. When the
last tab that brought it is gone, it goes; what a notebook or a program keeps stays until it ends.
"""

import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from threading import Lock

from nonlocal_lens.app.settings import MEGABYTE, settings
from nonlocal_lens.app.tabs import current_tab
from nonlocal_lens.models.atomic_write import atomic_write

MOST_CHARACTERS = 60  # of a file's name, its end: file systems allow 255 bytes


class NoRoomError(ValueError):
    """There is no room for what is brought; says why and what to do."""


class Shelves:
    """What is kept on disk, how much of it there is, and whose it is.

    Args:
        most_bytes: Of everything together.
        most_of_a_tab: Of what one tab brought.
    """

    def __init__(self, most_bytes: int, most_of_a_tab: int) -> None:
        self._most, self._most_of_a_tab = most_bytes, most_of_a_tab
        self._sizes: dict[str, int] = {}  # folder -> bytes
        self._owners: dict[str, set[str | None]] = {}  # folder -> tabs; None is no tab
        self._lock = Lock()

    @property
    def size(self) -> int:
        """How many bytes are kept."""
        return sum(self._sizes.values())

    def keep(self, files: Iterable[tuple[str, bytes]], digest: str, tab: str | None) -> Path:
        """Return the folder of a hash with some files in it, written if it is not there.

        Raises:
            NoRoomError: There is no room for them.
        """
        files = list(files)
        size = sum(len(data) for _, data in files)
        with self._lock:
            folder = Path(_folder().name) / digest
            there = {path.relative_to(folder).as_posix() for path in folder.rglob("*")}
            missing = [(name, data) for name, data in files if name not in there]
            more = sum(len(data) for _, data in missing)
            theirs = sum(self._sizes[one] for one, owners in self._owners.items() if tab in owners)
            new = size if tab not in self._owners.get(digest, ()) else more
            if tab is not None and theirs + new > self._most_of_a_tab:
                raise NoRoomError(
                    f"this tab has brought {_megabytes(theirs)} of at most "
                    f"{_megabytes(self._most_of_a_tab)}: a new tab begins afresh"
                )
            if self.size + more > self._most:
                raise NoRoomError(
                    f"all tabs together have brought {_megabytes(self.size)} of at most "
                    f"{_megabytes(self._most)}: there is room when another is closed"
                )
            for name, data in missing:
                _write(folder, name, data)
            self._sizes[digest] = self._sizes.get(digest, 0) + more
            self._owners.setdefault(digest, set()).add(tab)
        return folder

    def find(self, digest: str, tab: str | None) -> Path | None:
        """Return the file or folder that is kept under a hash, for a tab from now on, too."""
        with self._lock:
            folder = Path(_folder().name) / digest
            if digest not in self._owners or not folder.is_dir():
                return None
            self._owners[digest].add(tab)
            return next(iter(sorted(folder.iterdir())), None)

    def leave(self, tab: str) -> None:
        """Delete what nobody but a tab has brought."""
        with self._lock:
            for digest in [one for one, owners in self._owners.items() if tab in owners]:
                self._owners[digest].discard(tab)
                if not self._owners[digest]:
                    del self._owners[digest], self._sizes[digest]
                    shutil.rmtree(Path(_folder().name) / digest, ignore_errors=True)


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="nonlocal-lens-", ignore_cleanup_errors=True)


@cache
def shelves() -> Shelves:
    """Return what this process keeps."""
    return Shelves(settings().uploads_mb * MEGABYTE, settings().tab_uploads_mb * MEGABYTE)


def keep(data: bytes, name: str) -> Path:
    """Write a file's bytes where this computer's programs can read them; return the path.

    Equal bytes of one name have one path, and another path than all other bytes.

    Args:
        data: The bytes.
        name: What the user calls the file; what some file system does not take is replaced in it.

    Raises:
        NoRoomError: This tab, or all together, brought too much.
    """
    safe = re.sub(r"[^\w.-]+", "_", Path(name).name)[-MOST_CHARACTERS:].lstrip(".") or "file"
    digest = hashlib.sha256(data).hexdigest()[:16]
    return shelves().keep([(safe, data)], digest, current_tab()) / safe


def keep_folder(files: Iterable[tuple[bytes, str]], name: str) -> Path:
    """Write files into a folder of their own where this computer's programs can read them.

    Args:
        files: The bytes of each and what the user calls it; of equal names, the later are numbered.
        name: Of the folder, whose path is returned.

    Raises:
        NoRoomError: This tab, or all together, brought too much.
    """
    digest = hashlib.sha256()
    named: dict[str, bytes] = {}
    for data, called in files:
        path, number = Path(Path(called).name), 1
        while path.name in named:
            number += 1
            path = path.with_name(f"{Path(called).stem}-{number}{path.suffix}")
        named[path.name] = data
        digest.update(f"{path.name}/{hashlib.sha256(data).hexdigest()}/".encode())
    inside = [(f"{name}/{called}", data) for called, data in named.items()]
    return shelves().keep(inside, digest.hexdigest()[:16], current_tab()) / name


def kept_token(path: str | Path) -> str | None:
    """Return the part of its hash by which a kept file is found again; None for other files."""
    path = Path(path)
    if not _folder.cache_info().currsize or path.parent.parent != Path(_folder().name):
        return None
    return f"file-{path.parent.name}"


def kept_file(token: str) -> Path | None:
    """Return the kept file or folder of a token, or of a file's whole hash; None if it is gone."""
    found = re.fullmatch(r"(?:file-)?([0-9a-f]{16})([0-9a-f]{48})?", token)
    return None if found is None else shelves().find(found[1], current_tab())


def user_message(text: str) -> str:
    """Return a text with the paths of kept files replaced by what the user calls them."""
    if not _folder.cache_info().currsize:
        return text
    kept = re.escape(str(Path(_folder().name) / "x")[:-1])
    return re.sub(rf"{kept}[0-9a-f]{{16}}[/\\\\]", "", text)


def _write(folder: Path, name: str, data: bytes) -> None:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, data)


def _megabytes(count: int) -> str:
    return f"{count / MEGABYTE:.4g} MB"
