"""What the tests of batches run on: a tiny network in a file, a folder of noise."""

import numpy as np
from networks import tiny_architecture, tiny_network
from PIL import Image

from nonlocal_lens.app.batch import networks as batch_networks
from nonlocal_lens.app.batch.networks import LoadedNetwork
from nonlocal_lens.app.byte_cache import ByteCache
from nonlocal_lens.models.checkpoint import save_network


def saved_network(folder):
    path = folder / "tiny.safetensors"
    save_network(path, tiny_network("disentangled"), tiny_architecture("disentangled"))
    return path


def loaded(title, module, sha256):
    """Return a network as if it had been loaded."""
    return LoadedNetwork(title, module, sha256, module)


def know_by_name(monkeypatch, networks):
    """Let the names of some networks be loaded, as whatever part of a batch asks for them."""
    monkeypatch.setattr(batch_networks, "NETWORKS_KEPT", ByteCache(0, least=1))
    monkeypatch.setattr(batch_networks, "_loaded", networks.__getitem__)


def saved_photos(folder, count=3):
    photos = folder / "photos"
    photos.mkdir()
    draws = np.random.default_rng(0)
    for number in range(count):
        pixels = draws.integers(0, 256, (40, 56, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(photos / f"photo{number}.png")
    return photos


def assert_is_wrong_use(result, sentence):
    """Fail unless a command ended with status 2 and one line on stderr that says why."""
    assert result.exit_code == 2
    assert result.stderr.startswith("error: ")
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1
