"""What failed: a file with a line per failure, and what its lines say."""

import csv
import io
from collections.abc import Iterable, Sequence
from pathlib import Path

from nonlocal_lens.app.batch.writing import write_atomically
from nonlocal_lens.models.limits import error_words

ERRORS = "errors.csv"

UNUSABLE = (Exception,)
"""What an input that cannot be used raises: a decoder or a network, whatever went wrong in it."""


def write_errors(
    folder: Path, columns: Sequence[str], errors: Iterable[dict[str, str]], *, replace: bool
) -> int:
    """Write `errors.csv`, or no file if there is no error; return how many there are."""
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(columns)
    cells = [[escape_formula(error[column]) for column in columns] for error in errors]
    rows.writerows(cells)
    if cells:
        data = table.getvalue().encode("utf-8", "surrogateescape")
        write_atomically(folder / ERRORS, data, replace=replace)
    elif replace:
        (folder / ERRORS).unlink(missing_ok=True)
    return len(cells)


def in_words(error: BaseException) -> str:
    """Return what an error says, on one line, and no longer than a sentence."""
    return error_words(error)


def escape_formula(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    return "'" + text if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
