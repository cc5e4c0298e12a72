"""Figures and files, against a matplotlib loop in a notebook."""

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks import baselines
from benchmarks.headline import Headline, in_turns
from nonlocal_lens.analysis import capture, terms
from nonlocal_lens.analysis.figures import Look, attention_figure, figure_bytes
from nonlocal_lens.analysis.figures.queries import regular_points
from nonlocal_lens.app.export.options import Options
from nonlocal_lens.app.export.run import export
from nonlocal_lens.app.pictures import sample_picture
from nonlocal_lens.app.threads import one_thread
from nonlocal_lens.models import load_network

SHOWN = ("whole", "pairwise", "unary", "difference")
QUERIES, QUICK_QUERIES = 8, 2
"""Figures of one picture."""


def headlines(rounds: int, *, quick: bool) -> list[Headline]:
    """Return what one large figure and many small ones take."""
    network, picture = load_network("streets-dnl"), sample_picture("motorcycle").image
    (record,) = capture(network, picture)
    points = regular_points(record.query_grid, *((1, 1) if quick else (2, 2)))
    with TemporaryDirectory() as name, one_thread():
        folder = Path(name)
        return [
            large_figure(record, picture, points, folder, rounds),
            many_figures(network, picture, folder, QUICK_QUERIES if quick else QUERIES, rounds),
        ]


def large_figure(record, picture: np.ndarray, points, folder: Path, rounds: int) -> Headline:
    """Compare a figure of 3 networks x some queries x 4 maps at 300 dpi."""
    records = dict.fromkeys(("one", "two", "three"), record)
    cells = [record.query_grid.position(record.query_grid.cell_at(x=x, y=y)) for x, y in points]

    def ours() -> None:
        figure = attention_figure(
            records, points, image=picture, shown=SHOWN, look=Look(width_in=6.75, dpi=300)
        )
        (folder / "ours.png").write_bytes(figure_bytes(figure, "png", note={}))

    def loop() -> None:
        rows, columns = record.query_grid.shape[1:]
        maps = [
            terms.attention(record, [cell], term).view(rows, columns)
            for _ in records
            for cell in cells
            for term in ("whole", "pairwise", "unary", "whole")
        ]
        baselines.figures_in_a_loop(picture, maps, folder, dpi=300, columns=12)

    cost, theirs = in_turns(rounds, ours, loop)
    queries = f"{len(cells)} {'query' if len(cells) == 1 else 'queries'}"
    name = f"one figure of {len(records)} networks x {queries} x {len(SHOWN)} maps, 300 dpi"
    axes = len(records) * len(cells) * len(SHOWN)
    return Headline(name, "CPU s", cost, f"a matplotlib loop of {axes} axes", theirs)


def many_figures(network, picture: np.ndarray, folder: Path, queries: int, rounds: int) -> Headline:
    """Compare a figure for each of some queries of one picture."""
    options = Options.build(
        {
            "inputs": ["samples:motorcycle"],
            "networks": ["streets-dnl"],
            "queries": [f"grid:1x{queries}"],
            "layout": "queries",
            "scale": "fixed:0,2",
        }
    )

    def ours() -> None:
        export(options, folder / "export", force=True)

    def loop() -> None:
        for number in range(queries):
            (record,) = capture(network, picture)
            rows, columns = record.query_grid.shape[1:]
            maps = [
                terms.attention(record, [number], term).view(rows, columns) for term in terms.TERMS
            ]
            baselines.figures_in_a_loop(picture, maps, folder, dpi=300, columns=3)

    cost, theirs = in_turns(rounds, ours, loop)
    name = f"{queries} figures of one picture, each of one query"
    return Headline(name, "CPU s", cost, "a forward pass and a matplotlib figure for each", theirs)
