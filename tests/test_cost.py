import json

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from nonlocal_lens.models import cost

pytestmark = pytest.mark.slow


def ratios(rows):
    first = rows[0]
    return {
        row.network: (
            row.parameters / first.parameters,
            row.multiply_adds / first.multiply_adds,
        )
        for row in rows
    }


def test_the_figures_of_the_papers_table_2e_are_met():
    """ResNet-101 on 32 x 224 x 224: parameters and FLOPs of each network over those of C2D."""
    rows = cost.compare("resnet101")
    assert rows[0].parameters / 1e6 == pytest.approx(43.2, abs=0.2)
    assert rows[0].multiply_adds / 1e9 == pytest.approx(34.2, rel=0.04)
    paper = {
        "C2D": (1.0, 1.0),
        "I3D 3x3x3": (1.5, 1.8),
        "I3D 3x1x1": (1.2, 1.5),
        "C2D + 5 non_local": (1.2, 1.2),
    }
    ours = ratios(rows)
    for network, expected in paper.items():
        assert ours[network] == pytest.approx(expected, abs=0.07), network


def test_blocks_cost_less_than_convolutions_over_time():
    rows = ratios(cost.compare())
    assert rows["C2D + 5 non_local"][1] < rows["I3D 3x1x1"][1] < rows["I3D 3x3x3"][1]


def test_costs_worked_by_hand():
    network = nn.Sequential(nn.Conv3d(2, 5, (1, 3, 3), padding=(0, 1, 1)), nn.Conv3d(5, 7, 1))
    row = cost.cost("two", network, torch.zeros(1, 2, 3, 11, 13))
    assert row.parameters == 2 * 9 * 5 + 5 + 5 * 7 + 7
    assert row.multiply_adds == 3 * 11 * 13 * (2 * 9 * 5 + 5 * 7)


@pytest.mark.parametrize("block", ["concatenation", "global_context", "shared_key"])
def test_other_blocks_can_be_counted(block):
    rows = cost.compare(block=block, frames=4, size=32)
    assert [row.network for row in rows][1:4] == [f"C2D + {n} {block}" for n in (1, 5, 10)]
    assert [row.parameters for row in rows[:4]] == sorted({row.parameters for row in rows[:4]})


def test_the_command_prints_a_table_json_or_one_sentence():
    small = ["--frames", "4", "--size", "32"]
    table = CliRunner().invoke(cost.cli, small).stdout.splitlines()
    assert table[0] == "resnet50 on 4 frames of 32 x 32, 400 classes"
    assert table[2].split() == ["C2D", "24.3", "M", "1.00x", "0.1", "G", "1.00x"]
    rows = json.loads(CliRunner().invoke(cost.cli, [*small, "--json"]).stdout)
    assert rows[0] == {
        "network": "C2D",
        "parameters": 24327632,
        "multiply_adds": rows[0]["multiply_adds"],
    }
    failed = CliRunner().invoke(cost.cli, ["--block", "local"])
    assert (failed.exit_code, "error: unknown block 'local'; available: " in failed.stderr) == (
        2,
        True,
    )
