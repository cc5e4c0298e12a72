"""What the commands of a batch have in common: statuses, options, errors in one sentence."""

from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from app.batch.engine import Engine

BROKEN_INPUTS, WRONG_USE, NO_OUTPUT, INTERRUPTED = 1, 2, 3, 130
"""Exit statuses: some inputs failed, nothing was begun, results are not taken, Ctrl-C."""


class EngineName(StrEnum):
    """What runs the jobs."""

    local = "local"
    ray = "ray"


Inputs = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="INPUT...",
        help="Files, folders, globs, samples, samples:NAME, rendered:SEED or :FIRST-LAST; "
        "videos, folders of videos, and for clips folders of frames.",
    ),
]
Networks = Annotated[
    list[str] | None, typer.Option(help="A name or a weight file; again for more.")
]

RUN = "How it runs"

Resume = Annotated[
    bool, typer.Option("--resume", help="Go on where it stopped.", rich_help_panel=RUN)
]
Force = Annotated[
    bool, typer.Option("--force", help="Replace files that are there.", rich_help_panel=RUN)
]
ChosenEngine = Annotated[
    EngineName, typer.Option("--engine", help="What runs the jobs.", rich_help_panel=RUN)
]
CLIPS = "Which frames of clips"

Start = Annotated[int | None, typer.Option(help="First frame, from 0.", rich_help_panel=CLIPS)]
Stride = Annotated[
    int | None,
    typer.Option(help="Every so many frames. Default: to the end.", rich_help_panel=CLIPS),
]
Frames = Annotated[
    int | None,
    typer.Option(help="How many. Default: what the network looks at.", rich_help_panel=CLIPS),
]
Address = Annotated[
    str | None,
    typer.Option(
        help="Of a Ray cluster, which must see the same files. Default: one of this machine.",
        rich_help_panel=RUN,
    ),
]


def engine_of(name: EngineName, address: str | None) -> "Engine":
    """Return an engine by its name.

    Raises:
        ValueError: It is not installed, or an address is given to one that has none.
    """
    from app.batch.engine import local

    if name is EngineName.local:
        if address is not None:
            raise ValueError(f"--address {address} is that of a cluster: it needs --engine ray")
        return local
    if find_spec("ray") is None:
        raise ValueError(
            "--engine ray needs Ray, which is not installed: pip install -r requirements-ray.txt "
            '(pip install "ray[data]"), or use --engine local'
        )
    from app.batch.ray_engine import on_ray

    return partial(on_ray, address=address)


@contextmanager
def ending_in_a_sentence() -> Iterator[None]:
    """Turn what goes wrong into one sentence on stderr and an exit status."""
    try:
        yield
    except KeyboardInterrupt as error:
        typer.echo("interrupted: what is finished is kept, --resume goes on from there", err=True)
        raise typer.Exit(INTERRUPTED) from error
    except (ValueError, OSError) as error:
        from app.batch.writing import OutputError

        typer.echo(f"error: {' '.join(str(error).split())}", err=True)
        status = NO_OUTPUT if isinstance(error, OutputError) else WRONG_USE
        raise typer.Exit(status) from error
