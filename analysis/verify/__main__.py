"""Networks of others, built, captured and held against references: into `docs/verified.json`.

`python -m nonlocal_lens.analysis.verify --all` tries every family, NAME... those whose names match
(`timm:*`, `*DINOv3*`); without either, the names are listed.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from fnmatch import fnmatch
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import typer

from nonlocal_lens.analysis.verify.families import FAMILIES
from nonlocal_lens.analysis.verify.verifying import Verified, verify
from nonlocal_lens.models.atomic_write import atomic_write

OUT = Path("docs/verified.json")


def main(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME]...", help="Names; * stands for anything.")
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Every family, and no row of old.")] = False,
    out: Annotated[Path, typer.Option("--out", "-o", help="Where rows are kept.")] = OUT,
) -> None:
    """Hold what is read of networks against references that share no code with it."""
    if not names and not every:
        typer.echo("\n".join(family.name for family in FAMILIES))
        return
    chosen = [f for f in FAMILIES if every or any(fnmatch(f.name, name) for name in names or ())]
    if not chosen:
        raise typer.BadParameter(f"no family is called {', '.join(names or ())}")
    rows: dict[str, Mapping[str, Any]] = {} if every else kept(out)
    for family in chosen:
        start = perf_counter()
        row = verify(family)
        typer.echo(f"{line(row)}  [{perf_counter() - start:.0f} s]")
        rows[family.name] = asdict(row)
        write(out, rows)
    counts = Counter(row["outcome"] for row in rows.values())
    typer.echo(", ".join(f"{count} {outcome}" for outcome, count in counts.most_common()))
    if counts["wrong"] or counts["failed"]:
        raise typer.Exit(1)


def kept(path: Path) -> dict[str, Mapping[str, Any]]:
    """Return the rows of a file by network; none if it is not there."""
    if not path.is_file():
        return {}
    rows = json.loads(path.read_text(encoding="utf-8"))["networks"]
    return {row["network"]: row for row in rows}


def write(path: Path, rows: Mapping[str, Mapping[str, Any]]) -> None:
    """Write rows in the order of the families; those of families that are gone are left out."""
    ordered = [rows[family.name] for family in FAMILIES if family.name in rows]
    text = json.dumps({"networks": ordered}, indent=1, ensure_ascii=False) + "\n"
    atomic_write(path, text.encode())


def line(row: Verified) -> str:
    """Return a row as a line of text."""
    parts = [f"{row.outcome:8}", row.network]
    if row.heads:
        parts += [f"{row.blocks} blocks", f"{row.heads} heads", f"rows {row.error:.1g} off"]
        parts += ["no places" if row.cells is None else f"places {row.cells} cells off"]
        parts += [f"{row.slowdown:.1f} x a forward pass"]
    return "  ".join([*parts, *row.sentences])


if __name__ == "__main__":
    typer.run(main)
