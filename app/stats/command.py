"""`python -m app stats`."""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from app.batch.command_line import (
    BROKEN_INPUTS,
    RUN,
    Address,
    ChosenEngine,
    EngineName,
    Force,
    Frames,
    Inputs,
    Networks,
    Resume,
    Start,
    Stride,
    ending_in_a_sentence,
    engine_of,
)


def stats(
    inputs: Inputs = None,
    network: Networks = None,
    block: Annotated[str | None, typer.Option(help="Default: all of a network.")] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            help="Folder of label images (PNG), named like the inputs; `own` for rendered streets, "
            "which have theirs. Adds own-category and boundary columns."
        ),
    ] = None,
    interventions: Annotated[
        bool,
        typer.Option(
            "--interventions", help="What the network's output is without its attention: columns."
        ),
    ] = False,
    baselines: Annotated[
        bool,
        typer.Option(
            "--baselines", help="Columns for uniform, mean-row and shuffled attention, too."
        ),
    ] = False,
    start: Start = None,
    stride: Stride = None,
    frames: Frames = None,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is sampled.")] = 0,
    out: Annotated[
        Path, typer.Option(help="The table: *.csv, *.parquet or *.json.", rich_help_panel=RUN)
    ] = Path("stats.csv"),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary as JSON.", rich_help_panel=RUN)
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, max=4096, help="Processes. Default: all cores.", rich_help_panel=RUN),
    ] = None,
    resume: Resume = False,
    force: Force = False,
    engine: ChosenEngine = EngineName.local,
    address: Address = None,
) -> None:
    """Measure how degenerate the attention of networks is: a row per input, network and block.

    Of clips there is a row for every frame, and one for the whole clip if the network looks at it.

    Prints the means over inputs with 95 % bootstrap intervals and, in brackets, of how many.

    Exit status: 0, 1 if inputs failed (see errors.csv), 2 if nothing was begun, 3 if the results
    cannot be written, 130 after Ctrl-C.
    """
    with ending_in_a_sentence():
        from app.stats.options import Options

        options = Options(
            inputs=tuple(inputs or ()),
            networks=tuple(network or ()),
            block=block,
            labels=labels,
            interventions=interventions,
            baselines=baselines,
            seed=seed,
            start=start,
            stride=stride,
            frames=frames,
        )
        done = _run(
            options,
            out,
            jobs=jobs,
            engine=engine_of(engine, address),
            resume=resume,
            force=force,
        )
        _tell(done, out, as_json=as_json)
    if done.errors:
        raise typer.Exit(BROKEN_INPUTS)


def _run(options: Any, out: Path, **how: Any) -> Any:
    """Measure, and tell how far it is."""
    from tqdm import tqdm

    from app.stats.run import measure_all

    with tqdm(unit="input", desc=str(out), disable=not sys.stderr.isatty()) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        return measure_all(options, out, progress=progress, **how)


def _tell(done: Any, out: Path, *, as_json: bool) -> None:
    """Print the summary, and on stderr what was written."""
    from app.batch.errors import ERRORS
    from app.stats.summary import lines, to_json

    if as_json:
        counts = {name: value for name, value in done._asdict().items() if name != "averages"}
        found = {"out": str(out), **counts, "summary": to_json(done.averages)}
        typer.echo(json.dumps(found, indent=2, allow_nan=False))
    else:
        for line in lines(done.averages):
            typer.echo(line)
    words = f"{done.rows} rows of {done.inputs} inputs in {out}"
    if done.skipped:
        words += f"; {done.skipped} inputs were finished before"
    if done.errors:
        words += f"; {done.errors} failures, see {out.parent / ERRORS}"
    typer.echo(words, err=True)
