"""Files that users bring: kept on this computer until the app stops, named by what is in them."""

import hashlib
import re
import shutil
import tempfile
from collections.abc import Iterable
from functools import cache
from pathlib import Path

MOST_CHARACTERS = 60  # of a file's name, its end: file systems allow 255 bytes


@cache
def _folder() -> tempfile.TemporaryDirectory[str]:
    return tempfile.TemporaryDirectory(prefix="nonlocal-lens-", ignore_cleanup_errors=True)


def keep(data: bytes, name: str) -> Path:
    """Write a file's bytes where this computer's programs can read them; return the path.

    Equal bytes of one name have one path, and another path than all other bytes.

    Args:
        data: The bytes.
        name: What the user calls the file; what some file system does not take is replaced in it.
    """
    folder = Path(_folder().name) / hashlib.sha256(data).hexdigest()[:16]
    safe = re.sub(r"[^\w.-]+", "_", Path(name).name)[-MOST_CHARACTERS:].lstrip(".")
    path = folder / (safe or "file")
    if not path.is_file():
        folder.mkdir(exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        partial.write_bytes(data)
        partial.replace(path)
    return path


def keep_folder(files: Iterable[tuple[bytes, str]], name: str) -> Path:
    """Write files into a folder of their own where this computer's programs can read them.

    Args:
        files: The bytes of each and what the user calls it; of equal names, the later are numbered.
        name: Of the folder, whose path is returned.
    """
    digest = hashlib.sha256()
    begun = Path(tempfile.mkdtemp(dir=_folder().name))
    for data, called in files:
        path = begun / Path(called).name
        number = 1
        while path.exists():
            number += 1
            path = path.with_name(f"{Path(called).stem}-{number}{path.suffix}")
        path.write_bytes(data)
        digest.update(f"{path.name}/{hashlib.sha256(data).hexdigest()}/".encode())
    folder = Path(_folder().name) / digest.hexdigest()[:16] / name
    if folder.exists():
        shutil.rmtree(begun)
    else:
        folder.parent.mkdir(exist_ok=True)
        begun.rename(folder)
    return folder


def in_users_words(text: str) -> str:
    """Return a text with the paths of kept files replaced by what the user calls them."""
    if not _folder.cache_info().currsize:
        return text
    kept = re.escape(str(Path(_folder().name) / "x")[:-1])
    return re.sub(rf"{kept}[0-9a-f]{{16}}[/\\\\]", "", text)
