"""The table as a file: CSV, Parquet or JSON, row by row, so that a long one needs no memory."""

import csv
import json
from collections.abc import Callable, Iterable
from itertools import chain, islice, repeat
from pathlib import Path

from nonlocal_lens.app.batch.errors import escape_formula
from nonlocal_lens.app.batch.writing import atomic_output
from nonlocal_lens.app.stats.columns import Cell, Column

Rows = Iterable[dict[str, Cell]]

GROUP = 10_000
"""Rows that a Parquet file keeps together."""


def write_result(path: Path, columns: list[Column], rows: Rows, *, replace: bool) -> None:
    """Write a table in the format of its suffix: equal rows, equal bytes.

    A cell that a row does not have is empty, or null.

    Raises:
        FileExistsError: The file is there, and it is not to be replaced.
        OutputError: It cannot be written.
    """
    with atomic_output(path, replace=replace) as partial:
        FORMATS[path.suffix](partial, columns, rows)


def check_format(path: Path) -> None:
    """Raise ValueError unless there is a format of a path's suffix."""
    if path.suffix not in FORMATS:
        raise ValueError(f"the result must be called {', '.join('*' + s for s in FORMATS)}: {path}")


def _write_csv(path: Path, columns: list[Column], rows: Rows) -> None:
    with path.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(column.name for column in columns)
        for row in rows:
            cells = (row.get(column.name) for column in columns)
            table.writerow(
                escape_formula(cell) if isinstance(cell, str) else cell for cell in cells
            )


def _write_json(path: Path, columns: list[Column], rows: Rows) -> None:
    with path.open("w", encoding="ascii") as file:
        file.write("[")
        for row, comma in zip(rows, chain([""], repeat(",")), strict=False):
            cells = {column.name: row.get(column.name) for column in columns}
            file.write(f"{comma}\n{json.dumps(cells, allow_nan=False)}")
        file.write("\n]\n")


def _write_parquet(path: Path, columns: list[Column], rows: Rows) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {str: pa.string(), int: pa.int64(), float: pa.float64()}
    schema = pa.schema([(column.name, kinds[column.kind]) for column in columns])
    with pq.ParquetWriter(path, schema, compression="zstd") as file:
        left = iter(rows)
        while group := [_as_unicode(row) for row in islice(left, GROUP)]:
            file.write_table(pa.Table.from_pylist(group, schema))


def _as_unicode(row: dict[str, Cell]) -> dict[str, Cell]:
    """Return a row without what no text holds: names of files may be any bytes."""
    return {
        name: cell.encode("utf-8", "replace").decode() if isinstance(cell, str) else cell
        for name, cell in row.items()
    }


FORMATS: dict[str, Callable[[Path, list[Column], Rows], None]] = {
    ".csv": _write_csv,
    ".parquet": _write_parquet,
    ".json": _write_json,
}
"""Suffix -> what writes such a file."""
