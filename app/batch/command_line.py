"""What the commands of a batch have in common: statuses, options, errors in one sentence."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from functools import partial
from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer
from click.exceptions import Abort, ClickException, Exit

if TYPE_CHECKING:
    from nonlocal_lens.app.batch.engine import Engine

SHORT_HELP = {"help_option_names": ["-h", "--help"]}

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
Batch = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=256,
        help="Pictures of one size that go through a network together. Default: 1; from 2 on, "
        "numbers agree with those of single pictures to rounding, not bit for bit.",
        rich_help_panel=RUN,
    ),
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
Void = Annotated[
    str | None,
    typer.Option(
        help="Which labels are of no class: values like 255, 0,255, 0-6 or #e0e0c0, none, or a "
        "data set: voc, cityscapes, ade20k, camvid. Default: the usual, and said.",
    ),
]


def _on_device(name: str | None) -> str | None:
    """Let networks be loaded to a device, in this process and in those that it starts."""
    if name is not None:
        from nonlocal_lens.models.device import VARIABLE, chosen_device

        try:
            chosen_device(name)
        except ValueError as error:
            raise typer.BadParameter(str(error)) from error
        os.environ[VARIABLE] = name
    return name


Device = Annotated[
    str | None,
    typer.Option(
        "--device",
        help="What networks compute on: auto, cpu, cuda, cuda:N or mps.",
        envvar="NONLOCAL_LENS_DEVICE",
        callback=_on_device,
        rich_help_panel=RUN,
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        help="Of a Ray cluster, which must see the same files. Default: one of this machine.",
        rich_help_panel=RUN,
    ),
]


def examples(*lines: str) -> str:
    """Return what stands at the end of a command's help: examples that can be typed as they are."""
    return "\n\n".join(("Examples:", *lines))


def check_names(networks: Iterable[str]) -> None:
    """Raise for a name that no network has, before torch takes seconds to load.

    Raises:
        ValueError, FileNotFoundError: As `models.names.check_name`.
    """
    from nonlocal_lens.models.names import check_name

    for name in networks:
        check_name(name)


def engine_of(name: EngineName, address: str | None) -> "Engine":
    """Return an engine by its name.

    Raises:
        ValueError: It is not installed, or an address is given to one that has none.
    """
    from nonlocal_lens.app.batch.engine import local

    if name is EngineName.local:
        if address is not None:
            raise ValueError(f"--address {address} is that of a cluster: it needs --engine ray")
        return local
    if find_spec("ray") is None:
        raise ValueError(
            "--engine ray needs Ray, which is not installed: pip install -r requirements-ray.txt "
            '(pip install "ray[data]"), or use --engine local'
        )
    from nonlocal_lens.app.batch.ray_engine import on_ray

    return partial(on_ray, address=address)


@contextmanager
def errors_as_sentences() -> Iterator[None]:
    """Turn what goes wrong into one sentence on stderr and an exit status."""
    try:
        yield
    except KeyboardInterrupt as error:
        typer.echo("interrupted: what is finished is kept, --resume goes on from there", err=True)
        raise typer.Exit(INTERRUPTED) from error
    except (ClickException, Exit, Abort, typer.Exit, typer.Abort):
        raise
    except Exception as error:  # nobody who uses a command should have to read a traceback
        from nonlocal_lens.app.batch.errors import in_words
        from nonlocal_lens.app.batch.writing import OutputError

        typer.echo(f"error: {in_words(error)}", err=True)
        status = NO_OUTPUT if isinstance(error, OutputError) else WRONG_USE
        raise typer.Exit(status) from error


def tell_notes(notes: Iterable[str]) -> None:
    """Tell on stderr what was decided on reading the inputs."""
    for note in notes:
        typer.echo(f"note: {note}", err=True)
