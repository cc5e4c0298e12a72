"""The account of an export: its manifest, its errors, and the statistics of all its inputs."""

import io
import json
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from analysis.figures.bars import bar_of
from app.batch.errors import write_errors
from app.batch.journal import Journal
from app.batch.writing import write_whole
from app.export.options import Options
from app.export.pieces import statistics_pieces
from app.export.work import general_facts, write_piece

MANIFEST = "manifest.json"
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
    files = 0
    failures: list[dict[str, str]] = []
    manifest = io.StringIO()
    head = json.dumps({**facts, "inputs": len(stems)}, indent=1)
    manifest.write(head.removesuffix("\n}") + ',\n "files": [')
    for entry in chain(journal.entries(stems), [{"files": more, "errors": []}]):
        for file in entry["files"]:
            manifest.write(("," if files else "") + "\n  " + json.dumps(file, sort_keys=True))
            files += 1
        failures += entry["errors"]
    manifest.write(f'\n ],\n "errors": {len(failures)}\n}}\n')
    write_whole(out / MANIFEST, manifest.getvalue().encode(), replace=overwrite)
    errors = write_errors(out, ("input", "error"), failures, replace=overwrite)
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
