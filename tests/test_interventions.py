import json

import cv2
import numpy as np
import pytest
import torch
from networks import tiny_architecture, tiny_network
from typer.testing import CliRunner

from analysis import evaluate
from analysis.interventions import blocks_off
from models.checkpoint import save_network


def test_a_block_that_is_off_adds_nothing_and_comes_back():
    network = tiny_network("disentangled")
    x = torch.randn(1, 3, 64, 72)
    with torch.no_grad():
        on = network(x)
        with blocks_off(network):
            off = network(x)
        network_without = tiny_network()
        network_without.load_state_dict(network.state_dict(), strict=False)
        assert torch.equal(off, network_without(x))
        assert not torch.equal(off, on)
        assert torch.equal(network(x), on)


def test_the_evaluation_command_reports_on_off_masses_and_degeneracy(tmp_path):
    path = tmp_path / "tiny.safetensors"
    save_network(path, tiny_network("disentangled"), tiny_architecture("disentangled"))
    for kind, image in {
        "images": np.zeros((40, 56, 3), np.uint8),
        "labels": np.ones((40, 56), np.uint8),
    }.items():
        (tmp_path / "val" / kind).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "val" / kind / "a.png"), image)
    result = CliRunner().invoke(evaluate.cli, [str(path), "--root", str(tmp_path), "--json"])
    assert result.exit_code == 0, result.output
    figures = json.loads(result.stdout)
    assert set(figures["own_category"]) == {"whole", "pairwise", "unary"}
    assert figures["own_category"]["pairwise"]["mass"] == pytest.approx(1, abs=1e-5)
    assert {"miou", "miou_block_off", "degeneracy"} <= set(figures)

    save_network(path, tiny_network(), tiny_architecture())
    result = CliRunner().invoke(evaluate.cli, [str(path), "--root", str(tmp_path)])
    assert result.exit_code == 2
    assert "has no attention block" in result.stderr
