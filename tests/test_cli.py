import json

import pytest
from networks import tiny_architecture, tiny_network
from typer.testing import CliRunner

from app.cli import cli
from models.checkpoint import save_network


def run(*arguments):
    return CliRunner().invoke(cli, list(arguments))


def test_models_lists_every_bundled_network():
    result = run("models")
    assert result.exit_code == 0
    for name in ("streets-dnl", "streets-nl", "streets-base"):
        assert name in result.stdout
    rows = json.loads(run("models", "--json").stdout)
    assert {"name", "sha256", "val_miou", "license", "recipe"} <= set(rows[0])


@pytest.mark.parametrize(
    ("network", "coupling"), [("streets-nl", "coupled"), ("streets-dnl", "disentangled")]
)
def test_layers_names_the_blocks_that_capture_finds(network, coupling):
    assert run("layers", network).stdout.startswith("head.block  ")
    (row,) = json.loads(run("layers", network, "--json").stdout)
    assert row["block"] == "head.block"
    assert row["coupling"] == coupling


def test_layers_reads_a_file(tmp_path):
    path = tmp_path / "tiny.safetensors"
    save_network(path, tiny_network("non_local"), tiny_architecture("non_local"))
    assert "NonLocalBlock" in run("layers", str(path)).stdout


def test_a_network_without_attention_is_said_to_have_none():
    result = run("layers", "streets-base")
    assert result.exit_code == 0
    assert "streets-base has no attention block" in result.stderr
    assert json.loads(run("layers", "streets-base", "--json").stdout) == []


@pytest.mark.parametrize("wrong", ["resnet", "no/such/file.safetensors", "README.md"])
def test_what_cannot_be_loaded_ends_in_one_sentence_and_status_2(wrong):
    result = run("layers", wrong)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1
