"""Statistics over a folder of pictures, and with how many processes."""

from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import torch
from PIL import Image

from benchmarks.headline import Headline, Run, cpu_seconds, in_turns
from nonlocal_lens.app.batch.inputs import find_sources, read_source
from nonlocal_lens.app.batch.networks import load
from nonlocal_lens.app.stats.job import measure_input
from nonlocal_lens.app.stats.options import Options
from nonlocal_lens.app.stats.run import measure_all
from nonlocal_lens.app.threads import one_thread
from nonlocal_lens.streets import render_scene

NETWORK = "streets-dnl"


def headlines(rounds: int, *, quick: bool) -> list[Headline]:
    """Return what statistics take beside forward passes, and what further processes bring."""
    with TemporaryDirectory() as name:
        folder = Path(name)
        for seed in range(2 if quick else 12):
            Image.fromarray(render_scene(seed).image).save(folder / f"{seed}.png")
        options = Options(inputs=(str(folder),), networks=(NETWORK,))
        found = [against_forward(options, rounds)]
        if not quick:
            found += with_processes(options, folder, rounds)
        return found


def against_forward(options: Options, rounds: int) -> Headline:
    """Compare `stats` on a picture with reading it and running the network."""
    sources = find_sources(list(options.inputs))
    module = load(NETWORK).module

    def ours() -> None:
        for source in sources:
            measure_input(source, options)

    def forward() -> None:
        with torch.inference_mode():
            for source in sources:
                module(module.preprocess(read_source(source.location).image))

    with one_thread():
        cost, alone = in_turns(rounds, ours, forward, measure=cpu_seconds)
    name = f"stats over a folder of {len(sources)} pictures"
    return Headline(name, "CPU s", cost, "reading and running the network alone", alone)


def with_processes(options: Options, folder: Path, rounds: int) -> list[Headline]:
    """Compare one process with two, and with Ray, by the clock: starting them counts."""

    def wall(run: Run) -> float:
        start = perf_counter()
        run()
        return perf_counter() - start

    def measured(**how) -> Run:
        return lambda: measure_all(options, folder / "rows.csv", force=True, **how)

    two, one = in_turns(rounds, measured(jobs=2), measured(jobs=1), measure=wall)
    found = [Headline("stats with --jobs 2", "s", two, "--jobs 1", one)]
    name = "stats with --engine ray"
    if find_spec("ray") is None:
        return [*found, Headline(name, "s", (), "--jobs 1", note="ray is not installed")]
    from nonlocal_lens.app.batch.ray_engine import on_ray

    ray, one = in_turns(rounds, measured(engine=on_ray), measured(jobs=1), measure=wall)
    return [*found, Headline(name, "s", ray, "--jobs 1", one)]
