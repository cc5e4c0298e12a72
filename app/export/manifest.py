"""The manifest of an export, its errors, and the statistics of all its inputs."""

import io
import json
from hashlib import sha256
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from nonlocal_lens.analysis.figures.bars import bar_of
from nonlocal_lens.app.batch.errors import write_errors
from nonlocal_lens.app.batch.journal import Journal
from nonlocal_lens.app.batch.notes import gathered
from nonlocal_lens.app.batch.writing import write_atomically
from nonlocal_lens.app.export.job import general_facts, write_output
from nonlocal_lens.app.export.options import Options
from nonlocal_lens.app.export.outputs import statistics_outputs

MANIFEST = "manifest.json"
STATISTICS = "statistics"


class _Counts(NamedTuple):
    files: int
    errors: int
    skipped: int  # jobs that were finished before


class Summary(_Counts):
    """What an export did.

    Attributes:
        notes: What was decided on reading the inputs; no part of the counts.
    """

    notes: tuple[str, ...] = ()


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
        write_output(output, facts, out, overwrite=overwrite)
        for output in statistics_outputs(STATISTICS, bars, options)
    ]


def write_manifest(
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
    notes: list[tuple[str, str]] = []
    manifest = io.StringIO()
    head = json.dumps({**facts, "inputs": len(stems)}, indent=1)
    manifest.write(head.removesuffix("\n}") + ',\n "files": [')
    for entry in chain(journal.entries(stems), [{"files": more, "errors": []}]):
        for file in entry["files"]:
            manifest.write(("," if files else "") + "\n  " + json.dumps(file, sort_keys=True))
            files += 1
        failures += entry["errors"]
        notes += [(one["input"], one["note"]) for one in entry.get("notes", ())]
    manifest.write(f'\n ],\n "errors": {len(failures)}\n}}\n')
    write_atomically(out / MANIFEST, manifest.getvalue().encode(), replace=overwrite)
    errors = write_errors(out, ("input", "error"), failures, replace=overwrite)
    summary = Summary(files, errors, 0)
    summary.notes = gathered(notes)
    return summary


def read_manifest(out: Path, fingerprint: str) -> Summary | None:
    """Return what a finished export did; None if `out` holds no such export."""
    try:
        manifest = json.loads((out / MANIFEST).read_text(encoding="utf-8"))
        if manifest["fingerprint"] != fingerprint:
            return None
        return Summary(len(manifest["files"]), manifest["errors"], manifest["inputs"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
