"""From the command to the first live map, phase by phase, each in a fresh process."""

import json
import sys
from time import process_time

from benchmarks.headline import Headline, in_a_process

PHASES = ("torch and streamlit", "the page's own imports", "weights", "forward pass", "payload")
LIBRARIES = "importing torch and streamlit"


def headlines(rounds: int, *, quick: bool) -> list[Headline]:
    """Return what each phase takes, and what a command takes that only tells something."""
    taken = [in_a_process("benchmarks.starting", "page") for _ in range(rounds)]
    by_phase = {phase: tuple(one[phase] for one in taken) for phase in PHASES}
    libraries = by_phase.pop("torch and streamlit")
    found = [
        Headline(f"cold start: {phase}", "CPU s", seconds, LIBRARIES, libraries)
        for phase, seconds in by_phase.items()
    ]
    told = [in_a_process("benchmarks.starting", "models")["models"] for _ in range(rounds)]
    return [*found, Headline("`nonlocal-lens models`", "CPU s", tuple(told), LIBRARIES, libraries)]


def page() -> dict[str, float]:
    """Return the processor time of every phase in this process."""
    start = process_time()
    taken = {}

    def note(phase: str) -> None:
        nonlocal start
        taken[phase] = process_time() - start
        start = process_time()

    import streamlit  # noqa: F401
    import torch

    torch.set_num_threads(1)
    note("torch and streamlit")
    from nonlocal_lens.analysis.capture import observe
    from nonlocal_lens.app import address, cache, link, session, shown  # noqa: F401
    from nonlocal_lens.app.components import bar, network_picker, sentence  # noqa: F401
    from nonlocal_lens.app.pictures import known_picture
    from nonlocal_lens.app.viewer.payload import Shown, pack_all
    from nonlocal_lens.models import load_network

    note("the page's own imports")
    network = load_network("streets-dnl")
    note("weights")
    picture = known_picture("street-2000030").image
    records = observe(network, picture).records
    note("forward pass")
    pack_all(picture, [Shown("streets-dnl", records[0])], alt="A street")
    note("payload")
    return taken


def models() -> dict[str, float]:
    """Return the processor time of listing the networks."""
    start = process_time()
    from nonlocal_lens.app.cli import cli

    try:
        cli(["models"])
    except SystemExit:
        return {"models": process_time() - start}
    raise RuntimeError("the command did not end")


if __name__ == "__main__":
    print(json.dumps({"page": page, "models": models}[sys.argv[1]]()))
