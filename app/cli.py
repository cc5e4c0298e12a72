"""The command line: `nonlocal-lens [COMMAND]`."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from nonlocal_lens.app import PRODUCT
from nonlocal_lens.app.batch.command_line import (
    SHORT_HELP,
    Device,
    check_names,
    errors_as_sentences,
    examples,
)
from nonlocal_lens.app.export import command
from nonlocal_lens.app.stats.command import STATS_EXAMPLES, stats

SERVE = Path(__file__).with_name("serve.py")
"""What Streamlit runs; its settings are in `.streamlit` beside it."""

cli = typer.Typer(
    name="nonlocal-lens",
    help="See and measure what non-local attention does. Without a command, the web app starts.",
    epilog=examples(
        "nonlocal-lens",
        "nonlocal-lens --port 8502",
        "nonlocal-lens models --search vit",
        "nonlocal-lens export rendered:3 --network streets-dnl -o figures",
        "nonlocal-lens COMMAND --help",
    ),
    context_settings=SHORT_HELP,
    add_completion=False,
    pretty_exceptions_enable=False,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


def _version(asked: bool) -> None:
    if asked:
        typer.echo(PRODUCT)
        raise typer.Exit


@cli.callback(invoke_without_command=True)
def web_app(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_version, is_eager=True)
    ] = False,
    port: Annotated[int, typer.Option(help="Where the web app listens on 127.0.0.1.")] = 8501,
    device: Device = None,
) -> None:
    """Start the web app unless a command is given."""
    del device  # its callback has set what networks are loaded to
    if context.invoked_subcommand is not None:
        return
    with errors_as_sentences():
        from nonlocal_lens.app.settings import settings

        chosen = settings()
    typer.echo(f"Nonlocal Lens: http://127.0.0.1:{port} (Ctrl-C stops it)", err=True)
    # -P: a user's own modules in this folder take no name from those that Streamlit imports
    command = [sys.executable, "-P", "-m", "streamlit", "run", str(SERVE)]
    command += ["--server.port", str(port), "--server.disconnectedSessionTTL", str(chosen.grace_s)]
    command += ["--runner.postScriptGC", "false"]  # see `server.garbage`
    for host in chosen.host_names:
        command += ["--server.allowedHosts", host]
    # fewer heaps of C's own memory: what one thread frees, another one takes
    os.execve(sys.executable, command, {"MALLOC_ARENA_MAX": "2", **os.environ})


@cli.command(
    epilog=examples(
        "nonlocal-lens view own.npz", "nonlocal-lens view own.safetensors -o page.html --force"
    )
)
def view(
    file: Annotated[Path, typer.Argument(help="A record file: safetensors or .npz.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The page; FILE.html if not given.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a page that is there.")] = False,
) -> None:
    """Make the live viewer of your own tensors, from any framework, as one HTML file.

    Records that are more than a page has room for have further pages, FILE-2.html and so on.
    """
    from nonlocal_lens.app.batch.errors import in_words
    from nonlocal_lens.app.view_file import pages

    try:
        for path, count in pages(file, out or file.with_suffix(".html"), force=force):
            typer.echo(f"{path}: {count} {'record' if count == 1 else 'records'}")
    except Exception as error:  # nobody who uses a command should have to read a traceback
        typer.echo(f"error: {in_words(error)}", err=True)
        raise typer.Exit(1) from error


@cli.command(
    epilog=examples(
        "nonlocal-lens models",
        "nonlocal-lens models --search 'dnl cityscapes'",
        "nonlocal-lens models --json",
    )
)
def models(
    search: Annotated[
        str, typer.Option("--search", "-s", help="Only those that are described with these words.")
    ] = "",
    as_json: AsJson = False,
) -> None:
    """List the networks that can be loaded by name: bundled, published, and of libraries."""
    from nonlocal_lens.app.listing import listed

    groups = listed(search)
    if as_json:
        rows = [about for group in groups for about, _ in group.rows if "library" not in about]
        typer.echo(json.dumps(rows, indent=2))
    elif not groups:
        typer.echo(f"no network is described with {search!r}", err=True)
    else:
        typer.echo("\n\n".join("\n".join(group.lines()) for group in groups))


@cli.command(
    epilog=examples(
        "nonlocal-lens layers streets-dnl",
        "nonlocal-lens layers 'timm:vit_tiny_patch16_224?pretrained=false'",
        "nonlocal-lens layers checkpoint.pth --json",
    )
)
def layers(
    network: Annotated[
        str,
        typer.Argument(
            help="A name from `nonlocal-lens models`, timm:NAME, hf:ID, torchvision:NAME, or a "
            "weight file."
        ),
    ],
    as_json: AsJson = False,
    device: Device = None,
) -> None:
    """List the attention blocks that capture finds in NETWORK."""
    del device  # its callback has set what networks are loaded to
    with errors_as_sentences():
        check_names([network])
    from nonlocal_lens.analysis.prepared import decisions_of
    from nonlocal_lens.app.layers import blocks_of
    from nonlocal_lens.models import load_network

    with errors_as_sentences():
        loaded = load_network(network)
        rows, reasons = blocks_of(loaded)
        decisions = decisions_of(loaded)
    for told in (*decisions, *reasons):
        typer.echo(f"note: {told}", err=True)
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    elif not rows:
        typer.echo(f"{network} has no attention block that can be read", err=True)
    for row in [] if as_json else rows:
        heads = f", {row['heads']} heads" if row.get("heads", 1) > 1 else ""
        tokens = f", {row['tokens']}" if "tokens" in row else ""
        typer.echo(
            f"{row['block']}  {row['class']}  {row['form']}, {row['coupling']}, "
            f"scale {row['scale']:.4g}{heads}{tokens}"
        )


cli.command(epilog=command.EXPORT_EXAMPLES)(command.export)
cli.command(epilog=command.REPLAY_EXAMPLES)(command.replay)
cli.command(epilog=STATS_EXAMPLES)(stats)
