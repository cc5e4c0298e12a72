"""All headlines in one run: `make bench`, or `python -m benchmarks --quick`.

Every suite runs in a process of its own, in one thread, and measures what it compares in turns.
Peers are installed for the run into a folder that is thrown away; what does not install is said to
be absent.
"""

import json
import os
import platform
import subprocess
import sys
from datetime import date
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Annotated

import typer

from benchmarks.headline import Headline, in_a_process
from benchmarks.table import as_markdown

SUITES = {
    "capture": "capturing",
    "memory": "memory",
    "statistics": "statistics",
    "heads": "heads",
    "peers": "peers",
    "attributions": "attributing",
    "figures": "drawing",
    "folder": "folder",
    "start": "starting",
    "waits": "waiting",
    "growth": "growth",
    "speed": "speed",
}
"""What a suite is called -> its module."""

PEERS = ("bertviz", "torchcam", "streamlit-image-coordinates")
"""What is installed for the run; transformers, timm, captum and matplotlib are there to develop."""

ROUNDS, QUICK_ROUNDS = 5, 5
LONGEST = {True: 240, False: 900}
"""Seconds that a suite may take, quick or whole."""


def main(
    quick: Annotated[bool, typer.Option("--quick", help="Smaller cases.")] = False,
    only: Annotated[
        list[str] | None, typer.Option(help=f"Of {', '.join(SUITES)}; again for more.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="FILE.md, FILE.json.")] = None,
    note: Annotated[str, typer.Option(help="What else is to be known, as of the machine.")] = "",
) -> None:
    """Measure every headline beside its baseline, and write a table and JSON."""
    start, found = perf_counter(), {}
    with TemporaryDirectory() as folder:
        install(Path(folder))
        for suite in only or SUITES:
            found[suite] = measured(suite, quick=quick)
    about = machine() | {"quick": quick, "minutes": (perf_counter() - start) / 60, "note": note}
    text = as_markdown(about, found)
    typer.echo(text)
    if out is not None:
        out.with_suffix(".md").write_text(text + "\n", encoding="utf-8")
        rows = {suite: [one.to_json() for one in lines] for suite, lines in found.items()}
        content = json.dumps({"about": about, "suites": rows}, indent=1)
        out.with_suffix(".json").write_text(content + "\n", encoding="utf-8")


def install(folder: Path) -> None:
    """Bring peers into a folder that all measuring processes find, without what they depend on."""
    os.environ["PYTHONPATH"] = os.pathsep.join((str(folder), os.environ.get("PYTHONPATH", "")))
    os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    for peer in PEERS:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        subprocess.run([*command, "--target", str(folder), peer], capture_output=True)


def measured(suite: str, *, quick: bool) -> list[Headline]:
    """Return the headlines of a suite; where it fails, a line that says so."""
    start = perf_counter()
    try:
        rows = in_a_process(
            "benchmarks.__main__", "suite", suite, str(quick), timeout=LONGEST[quick]
        )
    except RuntimeError as error:
        rows = [Headline(suite, "", (), note=f"not measured: {error}").to_json()]
    typer.echo(f"{suite}: {perf_counter() - start:.0f} s", err=True)
    return [Headline.from_json(row) for row in rows]


def machine() -> dict[str, str]:
    """Return what the figures depend on."""
    import torch

    return {
        "date": date.today().isoformat(),
        "processor": processor(),
        "cores": str(os.cpu_count()),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def processor() -> str:
    """Return what the processor calls itself."""
    lines = Path("/proc/cpuinfo")
    if lines.is_file():
        for line in lines.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def run_suite(suite: str, quick: str) -> None:
    """Print the headlines of one suite as JSON."""
    module = import_module(f"benchmarks.{SUITES[suite]}")
    is_quick = quick == "True"
    rounds = QUICK_ROUNDS if is_quick else ROUNDS
    print(json.dumps([one.to_json() for one in module.headlines(rounds, quick=is_quick)]))


if __name__ == "__main__":
    if sys.argv[1:2] == ["suite"]:
        run_suite(*sys.argv[2:])
    else:
        typer.run(main)
