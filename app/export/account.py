"""The account of an export: its manifest, its errors, and the statistics of all its inputs."""

import csv
import io
import json
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from analysis.figures.bars import bar_of
from app.export.journal import Journal
from app.export.options import Options
from app.export.pieces import statistics_pieces
from app.export.work import general_facts, write_piece
from app.export.writing import write_whole

MANIFEST, ERRORS = "manifest.json", "errors.csv"
STATISTICS = "statistics"


class Summary(NamedTuple):
    """What an export did."""

    files: int
    errors: int
    skipped: int  # jobs that were finished before


def write_statistics(
    journal: Journal, stems: list[str], options: Options, out: Path, overwrite: bool
) -> list[dict[str, Any]]:
    """Draw the statistics of all inputs; return the files' entries of the manifest."""
    values: dict[str, dict[str, list[float]]] = {}
    digest = sha256()
    for entry in journal.entries(stems):
        digest.update(json.dumps([entry["job"], entry["statistics"]], sort_keys=True).encode())
        for network, of_network in entry["statistics"].items():
            for statistic, value in of_network.items():
                values.setdefault(statistic, {}).setdefault(network, []).append(value)
    if not values:
        return []
    bars = {
        statistic: {network: bar_of(numbers) for network, numbers in of_network.items()}
        for statistic, of_network in values.items()
    }
    facts = {
        **general_facts(options),
        "job": STATISTICS,
        "inputs": [],
        "measured": {"inputs": len(stems), "sha256": digest.hexdigest()},
    }
    return [
        write_piece(piece, facts, out, overwrite=overwrite)
        for piece in statistics_pieces(STATISTICS, bars, options)
    ]


def write_account(
    journal: Journal,
    stems: list[str],
    more: list[dict[str, Any]],
    facts: dict[str, Any],
    out: Path,
    overwrite: bool,
) -> Summary:
    """Write `manifest.json` and `errors.csv`, in the order of the inputs."""
    files = errors = 0
    table = io.StringIO()
    rows = csv.writer(table, lineterminator="\n")
    rows.writerow(["input", "error"])
    manifest = io.StringIO()
    head = json.dumps({**facts, "inputs": len(stems)}, indent=1)
    manifest.write(head.removesuffix("\n}") + ',\n "files": [')
    for entry in chain(journal.entries(stems), [{"files": more, "errors": []}]):
        for file in entry["files"]:
            manifest.write(("," if files else "") + "\n  " + json.dumps(file, sort_keys=True))
            files += 1
        for error in entry["errors"]:
            rows.writerow([_cell(error["input"]), _cell(error["error"])])
            errors += 1
    manifest.write(f'\n ],\n "errors": {errors}\n}}\n')
    write_whole(out / MANIFEST, manifest.getvalue().encode(), replace=overwrite)
    if errors:
        write_whole(
            out / ERRORS, table.getvalue().encode("utf-8", "surrogateescape"), replace=overwrite
        )
    elif overwrite:
        (out / ERRORS).unlink(missing_ok=True)
    return Summary(files, errors, 0)


def read_account(out: Path, fingerprint: str) -> Summary | None:
    """Return what a finished export did; None if `out` holds no such export."""
    try:
        manifest = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
        if manifest["fingerprint"] != fingerprint:
            return None
        return Summary(len(manifest["files"]), manifest["errors"], manifest["inputs"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _cell(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    return "'" + text if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
