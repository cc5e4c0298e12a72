"""`python -m app export` and `python -m app replay`."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from app.batch.command_line import (
    BROKEN_INPUTS,
    CLIPS,
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

LOOK = "How it looks"


def export(
    context: typer.Context,
    inputs: Inputs = None,
    network: Networks = None,
    block: Annotated[str | None, typer.Option(help="Default: the first of a network.")] = None,
    head: Annotated[int | None, typer.Option(help="Default: the first of a block.")] = None,
    query: Annotated[
        list[str] | None,
        typer.Option(
            help="X,Y in image pixels; T,X,Y in a clip; grid:RxC; auto:K, the K most different. "
            "Default: auto:4."
        ),
    ] = None,
    query_cell: Annotated[
        list[str] | None, typer.Option(help="R,C: a cell of the first network's query grid.")
    ] = None,
    terms: Annotated[
        str | None,
        typer.Option(help="Of input,labels,whole,pairwise,unary,difference,prediction."),
    ] = None,
    layout: Annotated[
        str | None, typer.Option(help="grid, queries, panels, sheet or statistics.")
    ] = None,
    format_: Annotated[
        str | None,
        typer.Option("--format", help="Of png,pdf,svg,html,safetensors; of clips also mp4,gif."),
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="Folder of label images (PNG), named like the inputs.")
    ] = None,
    caption: Annotated[
        bool | None, typer.Option("--caption/--no-caption", help="Numbers under the figure.")
    ] = None,
    per_sheet: Annotated[int | None, typer.Option(help="Inputs in one sheet.")] = None,
    start: Start = None,
    stride: Stride = None,
    frames: Frames = None,
    track: Annotated[
        bool | None,
        typer.Option(
            "--track/--no-track",
            help="Queries follow what moves (networks that look at images).",
            rich_help_panel=CLIPS,
        ),
    ] = None,
    style: Annotated[
        str | None, typer.Option(help="paper, slides or poster.", rich_help_panel=LOOK)
    ] = None,
    scale: Annotated[
        str | None,
        typer.Option(help="shared, per-map, log or fixed:LO,HI.", rich_help_panel=LOOK),
    ] = None,
    colormap: Annotated[
        str | None, typer.Option(help="A name of matplotlib's.", rich_help_panel=LOOK)
    ] = None,
    opacity: Annotated[
        float | None, typer.Option(help="Of the maps, 0 to 1.", rich_help_panel=LOOK)
    ] = None,
    backdrop: Annotated[
        str | None, typer.Option(help="photo, grey or none.", rich_help_panel=LOOK)
    ] = None,
    marker: Annotated[
        str | None,
        typer.Option(help="plus, cross, circle, dot, cell or none.", rich_help_panel=LOOK),
    ] = None,
    arrows: Annotated[
        int | None, typer.Option(help="To so many of the strongest keys.", rich_help_panel=LOOK)
    ] = None,
    width_in: Annotated[
        float | None, typer.Option(help="Width of figures in inches.", rich_help_panel=LOOK)
    ] = None,
    dpi: Annotated[int | None, typer.Option(help="Pixels per inch.", rich_help_panel=LOOK)] = None,
    font: Annotated[str | None, typer.Option(help="Font family.", rich_help_panel=LOOK)] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="YAML file with any of these options; the command line goes before it.",
            rich_help_panel=RUN,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for the files. Default: figures.", rich_help_panel=RUN),
    ] = None,
    jobs: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=4096,
            help="Processes that draw. Default: 1, of a cluster all cores.",
            rich_help_panel=RUN,
        ),
    ] = None,
    resume: Resume = False,
    force: Force = False,
    engine: ChosenEngine = EngineName.local,
    address: Address = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Name the files, draw none.", rich_help_panel=RUN)
    ] = False,
) -> None:
    """Draw figures of many inputs, fit for a paper; every file says how it was made.

    Exit status: 0, 1 if inputs failed (see errors.csv), 2 if nothing was begun, 3 if the folder
    does not take the files, 130 after Ctrl-C.
    """
    from app.export.config import read_config

    given = {
        "inputs": inputs or None,
        "networks": network or None,
        "queries": [*(query or []), *(f"cell:{cell}" for cell in query_cell or [])] or None,
        "formats": format_,
        **{
            name: context.params[name]
            for name in (
                *("block", "head", "terms", "layout", "labels", "caption", "per_sheet", "style"),
                *("scale", "colormap", "opacity", "backdrop", "marker", "arrows", "width_in"),
                *("dpi", "font", "start", "stride", "frames", "track"),
            )
        },
    }
    given = {name: value for name, value in given.items() if value is not None}
    with ending_in_a_sentence():
        runner = engine_of(engine, address)
        if jobs is None and engine is EngineName.local:
            jobs = 1
        figures = read_config(config) if config else [{}]
        exports = [_one_export({**figure, **given}, out) for figure in figures]
        _check_folders([folder for _, folder in exports])
        failed = 0
        for options, folder in exports:
            if dry_run:
                _name_files(options, folder)
            else:
                failed += _run(
                    options, folder, jobs=jobs, engine=runner, resume=resume, force=force
                )
    if failed:
        raise typer.Exit(BROKEN_INPUTS)


def replay(
    file: Annotated[Path, typer.Argument(help="A file that export wrote.")],
    out: Annotated[
        Path | None, typer.Option(help="Where to write. Default: FILE's name with .replay.")
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="Where the relative paths of inputs begin. Default: here.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
) -> None:
    """Draw FILE again from what it says of itself: on the same machine, the same pixels."""
    from app.export.replay import replay as draw_again

    target = out or file.with_name(f"{file.stem}.replay{file.suffix}")
    if target.is_dir():
        target = target / file.name
    with ending_in_a_sentence():
        done = draw_again(file, target, root=root, force=force)
    for warning in done.warnings:
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(str(done.path))


def _one_export(given: dict[str, Any], out: Path | None) -> tuple[Any, Path]:
    from app.export.options import Options

    folder = given.pop("out", "figures")
    return Options.build(given), Path(out or str(folder))


def _check_folders(folders: list[Path]) -> None:
    for folder in folders:
        if folders.count(folder) > 1:
            raise ValueError(f"every entry of figures needs an `out` of its own, {folder} is twice")


def _name_files(options: Any, folder: Path) -> None:
    from app.export.run import planned_files

    for name in planned_files(options):
        typer.echo(str(folder / name))


def _run(options: Any, folder: Path, **how: Any) -> int:
    """Export, tell how far it is, and return how many inputs failed."""
    from tqdm import tqdm

    from app.batch.errors import ERRORS
    from app.export.run import export as write_figures

    with tqdm(unit="input", desc=str(folder), disable=not sys.stderr.isatty()) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        done = write_figures(options, folder, progress=progress, **how)
    words = f"{done.files} files in {folder}"
    if done.skipped:
        words += f"; {done.skipped} inputs were finished before"
    if done.errors:
        words += f"; {done.errors} inputs failed, see {folder / ERRORS}"
    typer.echo(words, err=True)
    return done.errors
