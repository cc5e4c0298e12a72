"""Options of commands that measure over labeled images: which, declared once for all of them."""

from pathlib import Path
from typing import Annotated

import typer

from nonlocal_lens.analysis.datasets import Source

Data = Annotated[Source, typer.Option(help="How ROOT is laid out.")]
Root = Annotated[Path | None, typer.Option(help="Folder of the data; 'rendered' needs none.")]
Split = Annotated[str, typer.Option(help="Which part of the data; a folder is one.")]
Every = Annotated[
    int, typer.Option(min=1, help="Take one image in so many: neighbors of a drive are alike.")
]
