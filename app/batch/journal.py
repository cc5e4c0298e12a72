"""What a batch has finished, on disk at every moment: after a kill -9 it goes on from there."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from nonlocal_lens.app.batch.writing import OutputError


class Journal:
    """A file with a line per finished job, in the order in which they finished.

    Only where each line begins is kept in memory. A line that was cut off by a crash, or that
    no batch has written, is dropped with all behind it.

    Args:
        path: Where it lies, in the folder of the results.
        fingerprint: Of what is done; a journal of something else is not gone on with.
        what: What is done, in a word.
    """

    def __init__(self, path: Path, fingerprint: str, what: str) -> None:
        self.path = path
        self.what = what
        self.fingerprint = fingerprint
        self.finished = False  # set when nothing is left to do: the journal goes then
        self._offsets: dict[str, int] = {}

    @property
    def exists(self) -> bool:
        """Whether a batch was begun here and not finished."""
        return self.path.exists()

    @contextmanager
    def held(self) -> Iterator[None]:
        """Make the folder if it is not there, and keep every other run out of the results.

        Raises:
            FileExistsError: Another run is at work on them.
            OutputError: The folder cannot be made or written to.
        """
        folder = self.path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"the folder {folder} cannot be made: {error.strerror or error}"
            ) from error
        lock = FileLock(self.path.with_name(self.path.name + ".lock"), timeout=0)
        try:
            lock.acquire()
        except Timeout as error:
            raise FileExistsError(
                f"another {self.what} is at work in {folder} right now; wait for its end, or --out "
                "chooses another place"
            ) from error
        except OSError as error:
            raise OutputError(
                f"the folder {folder} cannot be written to: {error.strerror or error}"
            ) from error
        try:
            yield
        finally:
            Path(lock.lock_file).unlink(missing_ok=True)  # while it is held: nobody has it open
            lock.release()

    @contextmanager
    def opened(self, *, resume: bool) -> Iterator[None]:
        """Open the journal, anew or where an equal batch stopped, and close it.

        Raises:
            ValueError: The journal is that of another batch.
            OutputError: The folder cannot be written to.
        """
        try:
            if resume and self.exists and self._read():
                self._file = self.path.open("r+b", buffering=0)
                self._file.truncate(self._end)
                self._file.seek(self._end)
            else:
                self._file = self.path.open("w+b", buffering=0)
                self._append({"fingerprint": self.fingerprint})
        except OSError as error:
            raise OutputError(
                f"the folder {self.path.parent} cannot be written to: {error.strerror or error}"
            ) from error
        try:
            yield
        finally:
            self._file.close()
            if self.finished:
                self.path.unlink(missing_ok=True)

    def _read(self) -> bool:
        """Find the lines; return whether there is one: a crash may have left none."""
        self._end = 0
        with self.path.open("rb") as file:
            for line in file:
                entry = _entry(line)
                if entry is None:
                    break
                if self._end == 0 and entry.get("fingerprint") != self.fingerprint:
                    raise ValueError(
                        f"{self.path.parent} holds an unfinished {self.what} of other inputs or "
                        "options; --force begins anew, --out chooses another folder"
                    )
                if isinstance(job := entry.get("job"), str):
                    self._offsets[job] = self._end
                self._end += len(line)
        return self._end > 0

    def __contains__(self, job: str) -> bool:
        return job in self._offsets

    def add(self, job: str, entry: dict[str, Any]) -> None:
        """Note that a job is finished; OutputError if the disk does not take it."""
        offset = self._file.tell()
        try:
            self._append({"job": job, **entry})
        except OSError as error:
            raise OutputError(f"{self.path} cannot be written: {error.strerror}") from error
        self._offsets[job] = offset

    def entries(self, jobs: list[str]) -> Iterator[dict[str, Any]]:
        """Yield what was noted of jobs, in the order of `jobs`, one at a time."""
        with self.path.open("rb") as file:
            for job in jobs:
                if job in self._offsets:
                    file.seek(self._offsets[job])
                    yield json.loads(file.readline())

    def drop(self, job: str) -> dict[str, Any]:
        """Return what was noted of a job, which counts as not finished from now on."""
        (entry,) = self.entries([job])
        del self._offsets[job]
        return entry

    @property
    def jobs(self) -> list[str]:
        """The jobs that are finished."""
        return list(self._offsets)

    def _append(self, entry: dict[str, Any]) -> None:
        line = memoryview(json.dumps(entry, sort_keys=True).encode() + b"\n")
        while line:  # not buffered: closing the file of a full disk has nothing left to fail with
            line = line[self._file.write(line) :]
        os.fsync(self._file.fileno())


def _entry(line: bytes) -> dict[str, Any] | None:
    """Return what a line says; None if it is not a whole line of a journal."""
    try:
        entry = json.loads(line) if line.endswith(b"\n") else None
    except (ValueError, RecursionError):  # also where it is no text
        return None
    return entry if isinstance(entry, dict) else None
