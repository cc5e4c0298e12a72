import torch
from networks import tiny_architecture, tiny_network

from nonlocal_lens.app.batch.networks import load
from nonlocal_lens.models.checkpoint import save_network


def test_a_file_is_loaded_once_and_again_when_it_is_another_one(tmp_path, monkeypatch):
    for folder, block in (("here", "non_local"), ("there", "disentangled")):
        (tmp_path / folder).mkdir()
        path = tmp_path / folder / "tiny.safetensors"
        save_network(path, tiny_network(block), tiny_architecture(block))
    monkeypatch.chdir(tmp_path / "here")
    first = load("tiny.safetensors")
    assert load("tiny.safetensors") is first
    monkeypatch.chdir(tmp_path / "there")
    other = load("tiny.safetensors")
    assert other.module.head.block.coupling == "disentangled"
    with torch.no_grad():
        other.module.head.block.out[0].weight.add_(1)
    save_network(path, other.module, tiny_architecture("disentangled"))
    again = load("tiny.safetensors")
    assert again.sha256 != other.sha256
    assert again.title == "tiny"
