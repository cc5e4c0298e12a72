"""The command `stats`."""

import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from nonlocal_lens.app.batch.command_line import (
    BROKEN_INPUTS,
    RUN,
    Address,
    Batch,
    ChosenEngine,
    Device,
    EngineName,
    Force,
    Frames,
    Inputs,
    Networks,
    Resume,
    Start,
    Stride,
    Void,
    check_names,
    engine_of,
    errors_as_sentences,
    examples,
    tell_notes,
)

STATS_EXAMPLES = examples(
    "nonlocal-lens stats photos --network streets-nl --network streets-dnl -o stats.csv",
    "nonlocal-lens stats rendered:0-99 --network streets-dnl --labels own -o stats.parquet",
    "nonlocal-lens stats samples --network 'timm:vit_tiny_patch16_224?pretrained=false' --json",
)


class Changed(StrEnum):
    """What interventions change at a time, as `analysis.causes.PARTS` has it."""

    network = "network"
    block = "block"
    head = "head"


def stats(
    inputs: Inputs = None,
    network: Networks = None,
    block: Annotated[str | None, typer.Option(help="Default: all of a network.")] = None,
    labels: Annotated[
        str | None,
        typer.Option(
            help="Folder of label images, named like the inputs: values or colors of any data set; "
            "`own` for rendered streets, which have theirs. Adds own-category and boundary columns."
        ),
    ] = None,
    void: Void = None,
    interventions: Annotated[
        bool,
        typer.Option(
            "--interventions",
            help="Columns of what the output is when attention is taken away (`off`), beside its "
            "controls (the mean row, uniform, another input's rows, noise) and each term alone.",
        ),
    ] = False,
    intervene_on: Annotated[
        Changed, typer.Option(help="What is changed at a time: all blocks, or the row's own.")
    ] = Changed.network,
    baselines: Annotated[
        bool,
        typer.Option(
            "--baselines", help="Columns for uniform, mean-row and shuffled attention, too."
        ),
    ] = False,
    image_independence: Annotated[
        bool,
        typer.Option(
            "--image-independence",
            help="Tell how far each unary map is the same whatever the picture, 0 to 1, in the "
            "summary: of pictures of one size. Keeps a number per key and picture.",
        ),
    ] = False,
    start: Start = None,
    stride: Stride = None,
    frames: Frames = None,
    seed: Annotated[int, typer.Option(min=0, help="Of all that is sampled.")] = 0,
    out: Annotated[
        Path,
        typer.Option(
            "--out", "-o", help="The table: *.csv, *.parquet or *.json.", rich_help_panel=RUN
        ),
    ] = Path("stats.csv"),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print the summary as JSON.", rich_help_panel=RUN)
    ] = False,
    jobs: Annotated[
        int | None,
        typer.Option(min=1, max=4096, help="Processes. Default: all cores.", rich_help_panel=RUN),
    ] = None,
    batch: Batch = None,
    resume: Resume = False,
    force: Force = False,
    engine: ChosenEngine = EngineName.local,
    address: Address = None,
    device: Device = None,
) -> None:
    """Measure how degenerate the attention of networks is: a row per input, network and block.

    Of clips there is a row for every frame, and one for the whole clip if the network looks at it.

    Prints the means over inputs with 95 % bootstrap intervals and, in brackets, of how many.

    Exit status: 0; 1 if inputs failed, see errors.csv; 2 if nothing was begun;

    3 if the results cannot be written; 130 after Ctrl-C.
    """
    with errors_as_sentences():
        check_names(network or ())
        from nonlocal_lens.app.stats.options import Options

        options = Options(
            inputs=tuple(inputs or ()),
            networks=tuple(network or ()),
            block=block,
            labels=labels,
            void=void,
            interventions=interventions,
            intervene_on=intervene_on.value,
            baselines=baselines,
            image_independence=image_independence,
            seed=seed,
            start=start,
            stride=stride,
            frames=frames,
            batch=batch or 1,
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

    from nonlocal_lens.app.stats.run import measure_all

    with tqdm(unit="input", desc=str(out), disable=not sys.stderr.isatty()) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        return measure_all(options, out, progress=progress, **how)


def _tell(done: Any, out: Path, *, as_json: bool) -> None:
    """Print the summary, and on stderr what was written."""
    from nonlocal_lens.app.batch.errors import ERRORS
    from nonlocal_lens.app.stats.summary import lines, to_json

    if as_json:
        counts = {name: value for name, value in done._asdict().items() if name != "averages"}
        counts["notes"] = list(done.notes)
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
    tell_notes(done.notes)
