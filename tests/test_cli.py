import json
import pickle
import zipfile
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from networks import tiny_architecture, tiny_network
from published_files import drawn, mmsegmentation
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
    assert {"name", "url", "megabytes", "license", "downloaded"} <= set(rows[-1])
    line = next(line for line in result.stdout.splitlines() if line.startswith("I3D_NLN_8x8_R50"))
    assert line.endswith("every 8, Kinetics-400  142 MB or more  Apache-2.0")


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


def write_text(path):
    path.write_text("<html>not found</html>")


def write_bomb(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10_000_000))


class Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def write_code(path):
    path.write_bytes(pickle.dumps({"blobs": {"a": Touch(path.with_name("touched"))}}))


def write_absurd(path):
    torch.save({"a": torch.zeros(1).expand(10**12)}, path)


def write_no_numbers(path):
    tensors = drawn(mmsegmentation("dnl_block"), torch.Generator().manual_seed(0))
    tensors["decode_head.conv_seg.bias"].fill_(float("nan"))
    torch.save(tensors, path)


def write_cut(path):
    write_no_numbers(path)
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (write_text, "is not a readable safetensors file, PyTorch or Caffe2 checkpoint"),
        (write_bomb, "archive/data.pkl in it is compressed"),
        (write_code, "so it stays unread: to load that could run code"),
        (write_absurd, "claims the shape (1000000000000,), for which the file holds too few"),
        (write_no_numbers, "decode_head.conv_seg.bias holds NaN or infinite values"),
        (write_cut, "damaged or truncated"),
    ],
)
def test_a_file_that_is_refused_ends_in_one_sentence_and_status_2(tmp_path, write, reason):
    path = tmp_path / "weights.pth"
    write(path)
    result = run("layers", str(path))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: {path}")
    assert reason in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "touched").exists()


def test_models_lists_what_others_published_with_its_source(monkeypatch):
    monkeypatch.setattr("models.list_networks", tuple)
    rows = {row["name"]: row for row in json.loads(run("models", "--json").stdout)}
    row = rows["dnl_r50-d8_512x1024_80k_cityscapes"]
    assert (row["metric"], row["score"]) == ("mIoU", pytest.approx(0.7933))
    assert rows["I3D_NLN_8x8_R50"]["metric"] == "top-1"
    assert row["url"].startswith("https://")
    assert "dnl_r50-d8_512x1024_80k_cityscapes" in run("models").stdout


def test_layers_of_a_published_file_says_what_was_decided(tmp_path, generator):
    path = tmp_path / "dnl.pth"
    torch.save(drawn(mmsegmentation("dnl_block"), generator), path)
    result = run("layers", str(path))
    assert result.exit_code == 0
    assert "head.block  DisentangledNonLocalBlock" in result.stdout
    assert "note: temperature 0.05" in result.stderr


def test_a_published_network_that_cannot_be_downloaded_is_one_sentence(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise URLError("no route to host")

    monkeypatch.setenv("NONLOCAL_LENS_CACHE", str(tmp_path))
    monkeypatch.setattr("models.checkpoints.download.urlopen", refuse)
    result = run("layers", "dnl_r50-d8_512x1024_80k_cityscapes")
    assert result.exit_code == 2
    assert "cannot be downloaded (no route to host)" in result.stderr
    assert result.stderr.count("\n") == 1
