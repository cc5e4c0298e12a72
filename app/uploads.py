"""Files that users bring: kept on this computer until the app stops, named by what is in them."""

import hashlib
import re
import tempfile
from functools import cache
from pathlib import Path

MOST_CHARACTERS = 60  # of a file's name, its end: file systems allow 255 bytes


@cache
def _folder() -> tempfile.TemporaryDirectory:
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


def in_users_words(error: Exception, path: Path) -> str:
    """Return what an error says of a kept file, with the user's name for it instead of ours."""
    return str(error).replace(str(path), path.name)
