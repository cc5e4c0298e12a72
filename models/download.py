"""Fetch published files into a cache directory: resumed, verified, and never half there."""

import hashlib
import os
import sys
from collections.abc import Callable
from http import HTTPStatus
from http.client import HTTPException, HTTPResponse
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

from filelock import FileLock
from tqdm import tqdm

CACHE_VARIABLE = "NONLOCAL_LENS_CACHE"
CHUNK = 1 << 20
TIMEOUT = 30  # seconds without a byte

Progress = Callable[[int, int | None], None]
"""Told how many bytes have arrived, of how many; None where the server does not say."""


def cache_directory() -> Path:
    """Return where downloads are kept: `NONLOCAL_LENS_CACHE`, or the platform's usual place."""
    if chosen := os.environ.get(CACHE_VARIABLE):
        return Path(chosen)
    if sys.platform == "darwin":
        usual = Path.home() / "Library" / "Caches"
    elif sys.platform == "win32":
        usual = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    else:
        usual = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return usual / "nonlocal-lens"


def cached(url: str) -> Path:
    """Return where the file at a URL is kept, or would be."""
    return cache_directory() / url.rpartition("/")[2]


def fetch(url: str, sha256_prefix: str | None, progress: Progress | None = None) -> Path:
    """Return the local copy of the file at a URL, after downloading it if there is none.

    What an interrupted download left is resumed. A file gets its name only when it is whole and its
    SHA-256 begins with `sha256_prefix`, if that is known. Several processes may ask at once.
    `progress` is told of every megabyte; what it raises interrupts the download.

    Raises:
        ConnectionError: The URL cannot be reached, or the connection broke.
        ValueError: What came is not the file that was published.
    """
    path = cached(url)
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    with FileLock(path.with_name(path.name + ".lock")):
        if path.is_file():  # another process was faster
            return path
        try:
            _download(url, partial, progress)
        except (OSError, HTTPException) as error:
            if isinstance(error, HTTPError):
                error.close()
            reason = getattr(error, "reason", None) or error
            raise ConnectionError(
                f"{url} cannot be downloaded ({reason}); the file can also be brought by other "
                f"means: put it at {path}"
            ) from error
        with partial.open("rb") as file:
            actual = hashlib.file_digest(file, "sha256").hexdigest()
        if not actual.startswith(sha256_prefix or ""):
            partial.unlink()
            raise ValueError(
                f"{url} did not give the published file: its sha256 must begin with "
                f"{sha256_prefix}, got {actual}"
            )
        _note_of(path).write_text(actual + "\n", encoding="ascii")
        partial.replace(path)
    return path


def noted_sha256(path: Path) -> str:
    """Return the SHA-256 that a file had when it was downloaded; empty where it was not."""
    note = _note_of(path)
    return note.read_text(encoding="ascii").strip() if note.is_file() else ""


def _note_of(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def _open(url: str, start: int) -> HTTPResponse:
    headers = {"User-Agent": "nonlocal-lens"} | ({"Range": f"bytes={start}-"} if start else {})
    response: HTTPResponse = urlopen(Request(url, headers=headers), timeout=TIMEOUT)
    return response


def _download(url: str, partial: Path, progress: Progress | None) -> None:
    """Write the file at a URL, from where an earlier attempt stopped if the server can do that."""
    start = partial.stat().st_size if partial.exists() else 0
    try:
        response = _open(url, start)
    except HTTPError as error:
        if not (start and error.code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE):
            raise
        error.close()
        response = _open(url, 0)  # nothing lies beyond what is here, and that was not the file
    with response:
        resumes = response.status == HTTPStatus.PARTIAL_CONTENT
        start = start if resumes else 0
        length = response.headers["Content-Length"]
        total = None if length is None else start + int(length)
        with (
            partial.open("ab" if resumes else "wb") as file,
            tqdm(
                desc=url.rpartition("/")[2],
                total=total,
                initial=start,
                unit="B",
                unit_scale=True,
                disable=None,  # where nobody is watching
            ) as bar,
        ):
            arrived = start
            while chunk := response.read(CHUNK):
                arrived += file.write(chunk)
                bar.update(len(chunk))
                if progress is not None:
                    progress(arrived, total)
    arrived = partial.stat().st_size
    if total is not None and arrived != total:
        raise ConnectionError(
            f"the connection broke after {arrived} of {total} bytes; another attempt goes on from "
            "there"
        )
