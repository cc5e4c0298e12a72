"""Figures look as they did: compared with pictures that somebody has looked at.

After a change that is meant, `python -m tests.test_figure_golden` draws them anew; look at each.
"""

import io
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

sys.path.insert(0, str(Path(__file__).parent))
from records import random_record

from nonlocal_lens.analysis.figures import Look, Scale, attention_figure, figure_bytes
from nonlocal_lens.analysis.figures.bars import Bar, statistics_figure
from nonlocal_lens.analysis.figures.panels import Scene, panel_rows
from nonlocal_lens.analysis.figures.paper import maps_of
from nonlocal_lens.analysis.figures.plate import Plate
from nonlocal_lens.analysis.figures.scales import color_ranges
from nonlocal_lens.analysis.figures.sheet import sheet_rows

GOLDEN = Path(__file__).parent / "golden"
QUERIES = [(12.0, 12.0), (44.0, 28.0)]


def photo():
    y, x = np.mgrid[:40, :56]
    return np.stack([x * 4, y * 6, (x + y) * 2], axis=2).astype(np.uint8)


def records():
    return {
        name: random_record(torch.Generator().manual_seed(7), kind, scale=0.6)
        for name, kind in (("first", "coupled"), ("second", "disentangled"))
    }


def grid():
    labels = (photo()[..., 0] // 60).astype(np.uint8)
    return attention_figure(
        records(),
        QUERIES,
        image=photo(),
        labels=labels,
        shown=("input", "labels", "whole", "pairwise", "unary", "difference"),
        look=Look(dpi=120),
        caption="Two queries of two blocks, on one scale.",
    )


def logits():
    record = random_record(torch.Generator().manual_seed(7), "unnormalized")
    look = Look(dpi=120, width_in=3.25, backdrop="photo", arrows=3, marker="circle")
    return attention_figure({"dot product": record}, QUERIES, image=photo(), look=look)


def stretched():
    look = Look(dpi=60, style="slides", scale=Scale.parse("per-map"), marker="cell")
    return attention_figure(records(), QUERIES, image=photo(), look=look)


def logarithmic():
    look = Look(dpi=120, scale=Scale.parse("log"), colormap="viridis", marker="dot")
    shown = ("whole", "difference")
    return attention_figure(records(), QUERIES, image=photo(), shown=shown, look=look)


def sheet():
    look = Look(dpi=120, backdrop="gray")
    panels = panel_rows(Scene.of_picture(photo(), records(), {}), QUERIES, ("input", "whole"))
    rows = sheet_rows([panels, panels])
    return Plate(rows, color_ranges(maps_of(rows), look.scale), look, [photo()] * 2).figure


def statistics():
    bars = {
        "unary_share": {"first": Bar(0.4, 0.3, 0.45, 9), "second": Bar(0.1, 0.08, 0.13, 9)},
        "entropy_bits": {
            "first": Bar(9.5, 9.1, 9.8, 9),
            "second": Bar(float("nan"), float("nan"), float("nan"), 0),
        },
    }
    return statistics_figure(bars, look=Look(dpi=120))


DRAWN = {draw.__name__: draw for draw in (grid, logits, stretched, logarithmic, sheet, statistics)}


def perceived(data):
    """Return what is seen from a little further away: fine differences of rendering vanish."""
    picture = Image.open(io.BytesIO(data)).convert("RGB")
    return np.asarray(picture.reduce(4), float)


@pytest.mark.parametrize("name", DRAWN)
def test_figures_look_as_they_did(name):
    drawn = perceived(figure_bytes(DRAWN[name](), "png", note={}))
    golden = perceived((GOLDEN / f"{name}.png").read_bytes())
    assert drawn.shape == golden.shape
    difference = np.abs(drawn - golden)
    assert difference.mean() < 1
    assert np.quantile(difference, 0.999) < 40


if __name__ == "__main__":
    GOLDEN.mkdir(exist_ok=True)
    for name, draw in DRAWN.items():
        (GOLDEN / f"{name}.png").write_bytes(figure_bytes(draw(), "png", note={}))
