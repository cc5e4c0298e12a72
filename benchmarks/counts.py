"""Counts that no machine changes, so that what was won stays won: `python -m benchmarks.counts`.

They are kept in `counts.json`, and the tests hold that none grows by more than a tenth. With
`--write` the file is written anew, which is to be done on purpose only.
"""

import json
import subprocess
import sys
from pathlib import Path

from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from nonlocal_lens.analysis import capture, degeneracy
from nonlocal_lens.app.batch.inputs import find_sources
from nonlocal_lens.app.stats.job import measure_input
from nonlocal_lens.app.stats.options import Options
from nonlocal_lens.app.viewer.bundle import viewer_css, viewer_js
from nonlocal_lens.app.viewer.payload import Shown, pack_all
from nonlocal_lens.models import load_network
from nonlocal_lens.streets import render_scene

FILE = Path(__file__).with_name("counts.json")
ROOT = FILE.parents[1]
SLACK = 1.1
"""How many times a kept count may be reached before it is a loss."""


def counted() -> dict[str, int]:
    """Return every count by what it counts."""
    return {**imported_modules(), **of_one_picture(), **first_page()}


def imported_modules() -> dict[str, int]:
    """Return how many modules are loaded where nothing is computed, and by the package itself."""
    command = "import sys; from nonlocal_lens.app.cli import cli\ntry: cli(['models'])\n"
    command += "except SystemExit: pass\nprint(len(sys.modules))"
    core = "import sys, torch; before = len(sys.modules); import nonlocal_lens.analysis\n"
    core += "print(len(sys.modules) - before)"
    return {
        "modules of `nonlocal-lens models`": _printed(command),
        "modules of nonlocal_lens.analysis beyond torch": _printed(core),
    }


def of_one_picture() -> dict[str, int]:
    """Return operations and bytes for one rendered street and streets-dnl."""
    network, picture = load_network("streets-dnl"), render_scene(3).image
    source = find_sources(["rendered:3"])[0]
    options = Options(inputs=("rendered:3",), networks=("streets-dnl",))
    with _Runs(network) as runs:
        (record,) = capture(network, picture)
    payload = pack_all(picture, [Shown("streets-dnl", record)], alt="A street")
    return {
        "forward passes of a capture": runs.count,
        "operations of a picture in `stats`": _operations(lambda: measure_input(source, options)),
        "operations of all statistics of a block": _operations(
            lambda: degeneracy.measure(record, shuffles=False)
        ),
        "bytes of a payload": len(payload),
        "bytes of the viewer": len(viewer_js()) + len(viewer_css()),
    }


PAGE = """
import sys
from streamlit.testing.v1 import AppTest
from nonlocal_lens.models.networks.segmentation import SegmentationNetwork
import streamlit, torch
before = len(sys.modules)
forward, runs = SegmentationNetwork.forward, []
SegmentationNetwork.forward = lambda *given, **more: runs.append(1) or forward(*given, **more)
page = AppTest.from_file(sys.argv[1], default_timeout=120).run()
assert not page.exception, page.exception
first = len(runs)
page.run()
print(first, len(runs) - first, len(sys.modules) - before)
"""


def first_page() -> dict[str, int]:
    """Return forward passes and modules of the page that the app opens with."""
    command = [sys.executable, "-c", PAGE, str(ROOT / "app" / "main.py")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    first, again, modules = map(int, done.stdout.splitlines()[-1].split())
    return {
        "forward passes of the first page": first,
        "forward passes when it runs again": again,
        "modules of the first page beyond torch and streamlit": modules,
    }


class _Runs:
    """Counts how often a network runs."""

    def __init__(self, network: nn.Module) -> None:
        self.count, self._network = 0, network

    def __enter__(self) -> "_Runs":
        self._hook = self._network.register_forward_pre_hook(self._ran)
        return self

    def _ran(self, *_: object) -> None:
        self.count += 1

    def __exit__(self, *_: object) -> None:
        self._hook.remove()


def _operations(run) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def _printed(code: str) -> int:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return int(done.stdout.splitlines()[-1])


if __name__ == "__main__":
    found = counted()
    if "--write" in sys.argv:
        FILE.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(found, indent=2))
