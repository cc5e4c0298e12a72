"""One way from a value to its color, the same in Python and in the viewer."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from nonlocal_lens.analysis.render import NOT_A_NUMBER, colorize, palette_table

COLOR_JS = Path(__file__).parents[1] / "app" / "viewer" / "color.js"
(PALETTE,) = palette_table(("inferno",))
PROGRAM = """
import { colorize, paletteWords } from "%s";
const { values, range, palette } = JSON.parse(process.argv[1]);
const pixels = new Uint32Array(values.length);
colorize(values.map((value) => value ?? NaN), range, paletteWords(palette.flat(), 0), pixels);
const parts = (word) => [word & 255, (word >> 8) & 255, (word >> 16) & 255];
console.log(JSON.stringify([...pixels].map(parts)));
"""


def test_ends_middle_and_what_is_no_number_by_hand():
    values = np.array([[-1.0, 0.0, 2.0], [4.0, 9.0, np.nan]])
    colors = colorize(values, 0.0, 4.0, PALETTE)
    expected = [[PALETTE[0], PALETTE[0], PALETTE[128]], [PALETTE[255], PALETTE[255], NOT_A_NUMBER]]
    np.testing.assert_array_equal(colors, np.array(expected))
    assert (
        colorize(np.array([0.0, 0.01, 1.0, 100.0]), 0.01, 100.0, PALETTE, log=True)
        == PALETTE[[0, 0, 128, 255]]
    ).all()
    assert not (PALETTE == NOT_A_NUMBER).all(axis=1).any()


@pytest.mark.skipif(shutil.which("node") is None, reason="node runs the viewer's own function")
@pytest.mark.parametrize(("low", "high", "log"), [(0, 3, False), (-7, 7, False), (0.01, 50, True)])
def test_the_viewer_has_the_same_colors(low, high, log):
    drawn = np.random.default_rng(0).uniform(low - 0.2 * abs(high), 1.2 * high, 997)
    steps = low + (high - low) * (np.arange(256) + 0.5) / 255  # where colors change
    values = np.concatenate([drawn, steps * (1 + 1e-9), steps * (1 - 1e-9), [low, high, np.nan, 0]])
    given = {
        "values": [None if value != value else value for value in values.tolist()],
        "range": {"low": low, "high": high, "log": log},
        "palette": PALETTE.tolist(),
    }
    program = PROGRAM % COLOR_JS.as_uri()
    command = ["node", "--input-type=module", "-e", program, "--", json.dumps(given)]
    found = json.loads(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    np.testing.assert_array_equal(colorize(values, low, high, PALETTE, log=log), found)
