"""All headlines in one run: `make bench`, or `python -m benchmarks --quick`.

Every suite runs in a process of its own, in one thread, and measures what it compares in turns; the
processes begin as copies of one that has loaded what all of them need. Peers that are not there are
installed for the run into a folder that is thrown away; what does not install is said to be absent.
"""

import json
import os
import platform
import subprocess
import sys
from datetime import date
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Annotated

import typer

from benchmarks.apart import apart
from benchmarks.headline import Headline
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
    "growth": "growth",
    "speed": "speed",
    "waits": "waiting",
}
"""What a suite is called -> its module."""

PEERS = {
    "bertviz": "bertviz",
    "torchcam": "torchcam",
    "streamlit_image_coordinates": "streamlit-image-coordinates",
}
"""What a run installs, by what it is imported as; the other peers are there to develop."""

ROUNDS = 5
"""What every headline is measured at least so often."""

LONGEST = {True: 60.0, False: 600.0}
"""Seconds that a suite may take, quick or whole."""

ALTOGETHER = {True: 170.0, False: 1750.0}
"""Seconds that all suites may take together; those for which no time is left say so."""


def main(
    quick: Annotated[bool, typer.Option("--quick", help="Smaller cases.")] = False,
    only: Annotated[
        list[str] | None, typer.Option(help=f"Of {', '.join(SUITES)}; again for more.")
    ] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="FILE.md, FILE.json.")] = None,
    note: Annotated[str, typer.Option(help="What else is to be known, as of the machine.")] = "",
) -> None:
    """Measure every headline beside its baseline, and write a table and JSON."""
    start, found, seconds = perf_counter(), {}, {}
    with TemporaryDirectory() as folder:
        install(Path(folder))
        load_shared()
        for suite in only or SUITES:
            began = perf_counter()
            left = ALTOGETHER[quick] - (began - start)
            found[suite] = measured(suite, quick=quick, seconds=min(left, LONGEST[quick]))
            seconds[suite] = perf_counter() - began
            typer.echo(f"{suite}: {seconds[suite]:.0f} s", err=True)
    taken = {"seconds": perf_counter() - start, "seconds_of": seconds}
    about = machine() | {"quick": quick, "note": note} | taken
    text = as_markdown(about, found)
    typer.echo(text)
    if out is not None:
        out.with_suffix(".md").write_text(text + "\n", encoding="utf-8")
        rows = {suite: [one.to_json() for one in lines] for suite, lines in found.items()}
        content = json.dumps({"about": about, "suites": rows}, indent=1)
        out.with_suffix(".json").write_text(content + "\n", encoding="utf-8")


def install(folder: Path) -> None:
    """Bring peers that are not there into a folder, without what they depend on.

    All measuring processes find it: the copies of this one, and the programs that they start.
    """
    os.environ |= {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    absent = [package for name, package in PEERS.items() if find_spec(name) is None]
    for package in absent:
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps"]
        command += ["--disable-pip-version-check", "--retries", "1", "--timeout", "10"]
        subprocess.run([*command, "--target", str(folder), package], capture_output=True)
    os.environ["PYTHONPATH"] = os.pathsep.join((str(folder), os.environ.get("PYTHONPATH", "")))
    sys.path.append(str(folder))


SHARED = ("torch", "torchvision", "timm", "matplotlib.pyplot", "nonlocal_lens.analysis.degeneracy")
SHARED += ("nonlocal_lens.app.pictures", "nonlocal_lens.models")
"""What most suites need; a copy of a process that has it begins at once."""


def load_shared() -> None:
    """Load what most suites need, once for all; nothing is computed, and no thread begins."""
    for module in SHARED:
        import_module(module)
    import_module("torch").set_num_threads(1)


def measured(suite: str, *, quick: bool, seconds: float) -> list[Headline]:
    """Return the headlines of a suite; where it fails, a line that says so."""
    try:
        if seconds <= 0:
            raise RuntimeError("the suites before it took all the time that there is")
        return apart(lambda: headlines(suite, quick=quick), seconds=seconds)
    except RuntimeError as error:
        return [Headline(suite, "", (), note=f"not measured: {error}")]


def headlines(suite: str, *, quick: bool) -> list[Headline]:
    """Return the headlines of a suite, measured in this process.

    Raises:
        ValueError: One was measured, but less than `ROUNDS` times.
    """
    found = import_module(f"benchmarks.{SUITES[suite]}").headlines(ROUNDS, quick=quick)
    for one in found:
        for values in (one.ours, one.theirs):
            if 0 < len(values) < ROUNDS:
                raise ValueError(f"{one.name}: {len(values)} rounds, and {ROUNDS} are asked")
    return list(found)


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


if __name__ == "__main__":
    typer.run(main)
