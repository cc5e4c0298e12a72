"""The command line: `python -m app [COMMAND]`."""

import json
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from app.export import command
from app.stats.command import stats

ROOT = Path(__file__).parents[1]

cli = typer.Typer(
    name="python -m app",
    help="See and measure what non-local attention does. Without a command, the web app starts.",
    add_completion=False,
    pretty_exceptions_enable=False,
)

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]


@cli.callback(invoke_without_command=True)
def web_app(
    context: typer.Context,
    port: Annotated[int, typer.Option(help="Where the web app listens on 127.0.0.1.")] = 8501,
) -> None:
    """Start the web app unless a command is given."""
    if context.invoked_subcommand is not None:
        return
    os.environ["PYTHONPATH"] = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    typer.echo(f"Nonlocal Lens: http://127.0.0.1:{port} (Ctrl-C stops it)", err=True)
    os.chdir(ROOT)  # Streamlit reads .streamlit/config.toml from the working directory
    command = [sys.executable, "-m", "streamlit", "run", "app/main.py", "--server.port", str(port)]
    os.execv(sys.executable, command)


@cli.command()
def view(
    file: Annotated[Path, typer.Argument(help="A record file: safetensors or .npz.")],
    out: Annotated[Path | None, typer.Option(help="The page; FILE.html if not given.")] = None,
) -> None:
    """Make the live viewer of your own tensors, from any framework, as one HTML file."""
    from hashlib import sha256

    from analysis.record_file import read_bytes
    from app.viewer.payload import Shown, pack_all
    from app.viewer.standalone import page

    try:
        data = file.read_bytes()
        held = read_bytes(data, file.name)
        digest = sha256(data).hexdigest()
        shown = [Shown(title, record, sha256=digest) for title, record in held.titled.items()]
        payload = pack_all(held.image, shown, alt=f"The image in {file.name}", name=file.name)
        out = out or file.with_suffix(".html")
        out.write_bytes(page(payload, title=file.name))
    except (ValueError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(f"{out}: {len(shown)} {'record' if len(shown) == 1 else 'records'}")


@cli.command()
def models(as_json: AsJson = False) -> None:
    """List the networks that can be loaded by name."""
    from models import list_networks
    from models.checkpoint import ModelCard
    from models.checkpoints.download import cached
    from models.published import PUBLISHED
    from models.zoo import NETWORKS

    rows = []
    for name in list_networks():
        card, spec = ModelCard.read(name), NETWORKS[name]
        about = {"name": name, "task": spec.task, "title": spec.title, "summary": spec.summary}
        rows.append({**about, **vars(card), "figure": card.figure})
    published = [
        {
            "name": name,
            "title": spec.title,
            "dataset": spec.dataset,
            "metric": spec.metric,
            "score": spec.score,
            "url": spec.url,
            "license": spec.license,
            "megabytes": spec.megabytes,
            "downloaded": cached(spec.url).is_file(),
        }
        for name, spec in PUBLISHED.items()
    ]
    if as_json:
        typer.echo(json.dumps(rows + published, indent=2))
        return
    for row in rows:
        typer.echo(
            f"{row['name']:<14} {row['parameters'] / 1e6:.1f} M parameters  "
            f"{row['figure']}  {row['summary']}"
        )
    typer.echo("\nPublished by others, downloaded when first loaded:")
    for name, known in PUBLISHED.items():
        state = "downloaded" if cached(known.url).is_file() else known.size
        figure = f"{known.metric} {known.score:.3f}"
        typer.echo(f"{name:<42} {figure}  {known.title}  {state}  {known.license}")


@cli.command()
def layers(
    network: Annotated[
        str, typer.Argument(help="A name from `python -m app models`, or a weight file.")
    ],
    as_json: AsJson = False,
) -> None:
    """List the attention blocks that capture finds in NETWORK."""
    from analysis.capture import attention_blocks
    from models import load_network

    try:
        loaded = load_network(network)
        blocks = attention_blocks(loaded)
    except (ValueError, OSError) as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(2) from error
    for decision in loaded.decisions:
        typer.echo(f"note: {decision}", err=True)
    rows = [
        {
            "block": name,
            "class": type(block).__name__,
            "form": block.form,
            "coupling": block.coupling,
            "scale": block.scale,
        }
        for name, block in blocks.items()
    ]
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    elif not rows:
        typer.echo(f"{network} has no attention block", err=True)
    for row in [] if as_json else rows:
        typer.echo(
            f"{row['block']}  {row['class']}  {row['form']}, {row['coupling']}, "
            f"scale {row['scale']:.4g}"
        )


cli.command()(command.export)
cli.command()(command.replay)
cli.command()(stats)
