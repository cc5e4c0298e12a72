"""What failed: a file with a line per failure, and what its lines say."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from app.batch.writing import write_whole

ERRORS = "errors.csv"

UNUSABLE = (OSError, ValueError, RuntimeError, MemoryError)
"""What an input that cannot be used raises; RuntimeError is torch's."""


def write_errors(
    folder: Path, columns: Sequence[str], errors: Iterable[dict[str, str]], *, replace: bool
) -> int:
    """Write `errors.csv`, or no file if there is no error; return how many there are."""
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(columns)
    cells = [[harmless(error[column]) for column in columns] for error in errors]
    rows.writerows(cells)
    if cells:
        data = table.getvalue().encode("utf-8", "surrogateescape")
        write_whole(folder / ERRORS, data, replace=replace)
    elif replace:
        (folder / ERRORS).unlink(missing_ok=True)
    return len(cells)


def in_words(error: BaseException) -> str:
    """Return what an error says, on one line."""
    return " ".join((str(error) or type(error).__name__).split())


def harmless(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    return "'" + text if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
