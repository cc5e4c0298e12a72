"""The commands `export` and `replay`."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from nonlocal_lens.app.batch.command_line import (
    BROKEN_INPUTS,
    RUN,
    Address,
    ChosenEngine,
    Device,
    EngineName,
    Force,
    Inputs,
    Networks,
    Resume,
    check_names,
    engine_of,
    errors_as_sentences,
    examples,
    tell_notes,
)
from nonlocal_lens.app.export.declared import with_options

EXPORT_EXAMPLES = examples(
    "nonlocal-lens export photo.jpg --network streets-dnl",
    "nonlocal-lens export rendered:3 --network streets-nl --network streets-dnl "
    "--query auto:4 --caption --format png,pdf -o figures",
    "nonlocal-lens export clip.mp4 --network clips-dnl --query 2,240,200 --format mp4",
    "nonlocal-lens export --config figures.yaml",
)
REPLAY_EXAMPLES = examples(
    "nonlocal-lens replay figures/rendered-3.png", "nonlocal-lens replay figure.pdf -o again.pdf"
)


@with_options
def export(
    inputs: Inputs = None,
    network: Networks = None,
    query: Annotated[
        list[str] | None,
        typer.Option(
            help="X,Y in image pixels; T,X,Y in a clip; grid:RxC; auto:K, the K most different; "
            "the name of a token that is no place, like class. Default: auto:4."
        ),
    ] = None,
    query_cell: Annotated[
        list[str] | None, typer.Option(help="R,C: a cell of the first network's query grid.")
    ] = None,
    *,
    config: Annotated[
        Path | None,
        typer.Option(
            help="YAML or TOML file with any of these options; the command line goes before it.",
            rich_help_panel=RUN,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="Folder for the files. Default: figures.", rich_help_panel=RUN
        ),
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
    device: Device = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Name the files, draw none.", rich_help_panel=RUN)
    ] = False,
    **given: Any,
) -> None:
    """Draw figures of many inputs, fit for a paper; every file says how it was made.

    Exit status: 0; 1 if inputs failed, see errors.csv; 2 if nothing was begun;

    3 if the folder does not take the files; 130 after Ctrl-C.
    """
    from nonlocal_lens.app.export.config import read_config

    given |= {
        "inputs": inputs or None,
        "networks": network or None,
        "queries": [*(query or []), *(f"cell:{cell}" for cell in query_cell or [])] or None,
    }
    given = {name: value for name, value in given.items() if value is not None}
    with errors_as_sentences():
        runner = engine_of(engine, address)
        if jobs is None and engine is EngineName.local:
            jobs = 1
        figures = read_config(config) if config else [{}]
        for figure in figures:
            check_names(_networks({**figure, **given}))
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
        Path | None,
        typer.Option("--out", "-o", help="Where to write. Default: FILE's name with .replay."),
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="Where the relative paths of inputs begin. Default: here.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
) -> None:
    """Draw FILE again from what it says of itself: on the same machine, the same pixels."""
    from nonlocal_lens.app.export.replay import replay as draw_again

    target = out or file.with_name(f"{file.stem}.replay{file.suffix}")
    if target.is_dir():
        target = target / file.name
    with errors_as_sentences():
        done = draw_again(file, target, root=root, force=force)
    for warning in done.warnings:
        typer.echo(f"warning: {warning}", err=True)
    typer.echo(str(done.path))


def _networks(options: dict[str, Any]) -> list[str]:
    """Return the networks that options name, as far as they are names; `Options` tells the rest."""
    given = options.get("networks")
    named = given if isinstance(given, list) else [given]
    return [name for name in named if isinstance(name, str)]


def _one_export(given: dict[str, Any], out: Path | None) -> tuple[Any, Path]:
    from nonlocal_lens.app.export.options import Options

    folder = given.pop("out", "figures")
    return Options.build(given), Path(out or str(folder))


def _check_folders(folders: list[Path]) -> None:
    for folder in folders:
        if folders.count(folder) > 1:
            raise ValueError(f"every entry of figures needs an `out` of its own, {folder} is twice")


def _name_files(options: Any, folder: Path) -> None:
    from nonlocal_lens.app.export.run import planned_files

    for name in planned_files(options):
        typer.echo(str(folder / name))


def _run(options: Any, folder: Path, **how: Any) -> int:
    """Export, tell how far it is, and return how many inputs failed."""
    from tqdm import tqdm

    from nonlocal_lens.app.batch.errors import ERRORS
    from nonlocal_lens.app.export.run import export as write_figures

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
    tell_notes(done.notes)
    return done.errors
