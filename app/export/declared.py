"""The options of an export, declared once: for the command line, YAML files and their checks.

Nothing heavy is imported here: the command line shows its help from this alone.
"""

import inspect
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import typer

from nonlocal_lens.app.batch.command_line import CLIPS, Batch, Frames, Start, Stride, Void

LOOK = "How it looks"

CHOICES = {
    "terms": ("input", "labels", "whole", "pairwise", "unary", "difference", "prediction"),
    "layout": (
        "grid",
        "stacked",
        "queries",
        "panels",
        "sheet",
        "atlas",
        "atlas-means",
        "statistics",
    ),
    "formats": ("png", "pdf", "svg", "html", "safetensors", "mp4", "gif"),
    "style": ("paper", "slides", "poster"),
    "scale": ("shared", "per-map", "log", "fixed:LO,HI"),
    "backdrop": ("photo", "gray", "none"),
    "marker": ("plus", "cross", "circle", "ring", "dot", "cell", "none"),
}
"""What an option may be, in words: the registries that know what these mean load much more."""


class Declared(NamedTuple):
    """One option: a field of `app.export.options.Options` or of `analysis.figures.Look`."""

    name: str
    kind: type  # str, int, float or bool
    help: str
    panel: str | None = None  # of --help
    listed: bool = False  # a list: with commas on the command line
    flag: str | None = None  # what the command line calls it, where that is not its name
    shared: Any = None  # its annotation, where other commands have it, too

    @property
    def option(self) -> str:
        """What the command line calls it."""
        return "--" + (self.flag or self.name).replace("_", "-")

    @property
    def annotation(self) -> Any:
        """What Typer makes a command's option of."""
        if self.shared is not None:
            return self.shared
        names = [self.option]
        if self.kind is bool:
            names = [f"{self.option}/--no-{self.option.removeprefix('--')}"]
        kind = str if self.listed else self.kind
        told, choices = self.help, ", ".join(CHOICES.get(self.name, ()))
        if choices:
            told = f"{self.help} {'Any' if self.listed else 'One'} of: {choices}."
        option = typer.Option(*names, help=told, rich_help_panel=self.panel)
        return Annotated[kind | None, option]


OPTIONS = (
    Declared("block", str, "Default: the first of a network."),
    Declared("head", int, "Default: the first of a block."),
    Declared("call", int, "Which run of a block that runs several times, from 0."),
    Declared("terms", str, "With commas.", listed=True),
    Declared("layout", str, "How maps stand."),
    Declared(
        "formats",
        str,
        "With commas; mp4 and gif of clips.",
        listed=True,
        flag="format",
    ),
    Declared("labels", str, "Folder of label images, named like the inputs."),
    Declared("void", str, "", shared=Void),
    Declared("caption", bool, "Numbers under the figure."),
    Declared("on_picture", bool, "Maps of what falls on the picture, without class tokens."),
    Declared("letters", bool, "Letters on the panels: a, b, c."),
    Declared("names", bool, "Names of rows: the query's number and predicted class."),
    Declared("per_sheet", int, "Inputs in one sheet."),
    Declared("start", int, "", shared=Start),
    Declared("stride", int, "", shared=Stride),
    Declared("frames", int, "", shared=Frames),
    Declared("batch", int, "", shared=Batch),
    Declared("track", bool, "Queries follow what moves (networks that look at images).", CLIPS),
    Declared("style", str, "What it is for.", LOOK),
    Declared("scale", str, "Of colors.", LOOK),
    Declared("colormap", str, "A name of matplotlib's.", LOOK),
    Declared("opacity", float, "Of the maps, 0 to 1.", LOOK),
    Declared("backdrop", str, "Under the maps.", LOOK),
    Declared("marker", str, "Of queries.", LOOK),
    Declared("arrows", int, "To so many of the strongest keys.", LOOK),
    Declared("width_in", float, "Width of figures in inches.", LOOK),
    Declared("dpi", int, "Pixels per inch.", LOOK),
    Declared("font", str, "Font family.", LOOK),
)

GIVEN_AGAIN = {"input": "inputs", "network": "networks", "query": "queries"}
"""What the command line takes once for each -> the list that it becomes."""


def with_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command, in the place of its `**given`, the options that are declared."""
    own = list(inspect.signature(command).parameters.values())
    before = [one for one in own if one.kind is one.POSITIONAL_OR_KEYWORD]
    after = [one for one in own if one.kind is one.KEYWORD_ONLY]
    declared = [
        inspect.Parameter(
            one.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=one.annotation
        )
        for one in OPTIONS
    ]
    every = [*before, *declared, *after]
    command.__signature__ = inspect.Signature(every)  # type: ignore[attr-defined]
    command.__annotations__ = {one.name: one.annotation for one in every}
    return command
