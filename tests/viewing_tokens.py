"""Records with tokens that lie nowhere, and what the viewer says of them."""

import numpy as np
import torch
from records import FORM, LEARNED

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.axis import Axis
from nonlocal_lens.analysis.grid import Grid
from nonlocal_lens.analysis.record import AttentionRecord

GRID = Grid.tiling((40, 56), 5, 7)


CELLS = np.array([0, 3, 4, 8, 9, 11, 17, 20, 29, 30, 34])


NAMES = ("class", "register 1", "register 2")


MINUS = "\N{MINUS SIGN}"


WORDS = tuple(f"word {number}" for number in range(101))


AXES = {
    "a grid": Axis(GRID),
    "a grid and names": Axis(GRID, None, NAMES),
    "some cells and names": Axis(GRID, CELLS, NAMES),
    "names alone": Axis(None, None, NAMES),
}


PAIRS = [
    ("a grid and names", "a grid and names"),
    ("some cells and names", "some cells and names"),
    ("a grid", "some cells and names"),
    ("names alone", "a grid"),
    ("names alone", "names alone"),
]


def record_of(generator, query, key=None, coupling="coupled", *, scale=0.4, reach=None):
    """Return a random record over two axes; the keys' is the queries' if it is not given."""
    key = query if key is None else key
    channels = 0 if coupling == "unary" else 5

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=torch.float64) + 0.6

    return AttentionRecord(
        block="head.block",
        form=FORM.get(coupling, "embedded_gaussian"),
        coupling=coupling,
        scale=scale,
        query=draw(len(query), channels),
        key=draw(len(key), channels),
        unary=draw(len(key)) if coupling in LEARNED else None,
        query_grid=query.grid,
        key_grid=key.grid,
        query_axis=query,
        key_axis=key,
        reach=reach,
    )


def both(generator, coupling="coupled", **options):
    return record_of(generator, AXES["a grid and names"], coupling=coupling, **options)


def chip(page, name, panel="photo", row=0):
    return page.locator(f'[data-panel="{panel}"][data-row="{row}"] [data-token="{name}"]')


def text_of(page, panel, part):
    return page.locator(f'[data-panel="{panel}"] {part}').first.inner_text()


def shares_of(record, query, term):
    """Return, by name, the share of a row on tokens that lie nowhere."""
    row = terms.attention(record, [query], term)[0]
    of_names = (row / row.sum())[record.key_axis.placed :].tolist()
    return dict(zip(record.key_axis.names, of_names, strict=True))


def shown_share(text):
    return float(text.rstrip(" %").removeprefix("< ").replace(MINUS, "-")) / 100
