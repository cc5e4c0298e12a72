import json
import shutil

import numpy as np
import pytest
import torch
from networks import tiny_architecture, tiny_network
from safetensors.torch import load_file, save_file

from nonlocal_lens.analysis import capture, terms
from nonlocal_lens.models import checkpoint, list_networks, load_network
from nonlocal_lens.models.bundled import ModelCard
from nonlocal_lens.models.checkpoint import HEADER_KEY, save_network
from nonlocal_lens.models.file_hash import file_sha256
from nonlocal_lens.models.networks.architecture import BLOCKS
from nonlocal_lens.models.networks.description import read_architecture
from nonlocal_lens.models.zoo import NETWORKS


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "tiny.safetensors"
    save_network(path, tiny_network("disentangled"), tiny_architecture("disentangled"))
    return path


def test_a_saved_network_loads_as_it_was_up_to_half_precision(saved):
    x = torch.randn(1, 3, 64, 72)
    loaded = load_network(saved)
    assert not loaded.training
    assert loaded.classes == ("a", "b", "c")
    torch.testing.assert_close(loaded(x), tiny_network("disentangled")(x), rtol=1e-2, atol=1e-2)
    assert load_file(saved)["head.block.query.weight"].dtype == torch.float16


@pytest.mark.parametrize("block", BLOCKS)
def test_every_block_survives_its_weight_file(tmp_path, block):
    network, path = tiny_network(block), tmp_path / "tiny.safetensors"
    save_network(path, network, tiny_architecture(block))
    x = torch.randn(1, 3, 64, 72)
    torch.testing.assert_close(load_network(path)(x), network(x), rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("block", [None, "non_local", "disentangled"])
def test_an_architecture_survives_its_header(block):
    architecture = tiny_architecture(block)
    assert read_architecture(architecture.to_json()) == architecture


def test_a_header_without_a_task_is_a_segmentation_network_of_the_time_before_clips():
    fields = json.loads(tiny_architecture().to_json())
    assert fields.pop("task") == "segmentation"
    assert read_architecture(json.dumps(fields)) == tiny_architecture()


def test_every_bundled_network_is_listed_small_and_what_its_card_says():
    assert {"streets-base", "streets-nl", "streets-dnl"} <= set(list_networks()) <= set(NETWORKS)
    for name in list_networks():
        path, card = checkpoint.WEIGHTS / f"{name}.safetensors", ModelCard.read(name)
        network = load_network(name)
        assert path.stat().st_size < 5_000_000
        assert card.sha256 == file_sha256(path)
        assert (
            card.parameters
            == sum(parameter.numel() for parameter in network.parameters())
            <= 2_500_000
        )
        assert len(network.classes) == (11 if NETWORKS[name].task == "segmentation" else 6)
        assert (card.accuracy is None) == (card.val_miou is not None)
        assert not network.training


def test_a_bundled_file_that_was_changed_is_refused(tmp_path, monkeypatch):
    name = list_networks()[0]
    for suffix in (".safetensors", ".json"):
        shutil.copy(checkpoint.WEIGHTS / f"{name}{suffix}", tmp_path)
    monkeypatch.setattr(checkpoint, "WEIGHTS", tmp_path)
    path = tmp_path / f"{name}.safetensors"
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(
        ValueError, match=r"is damaged: its sha256 must begin with [0-9a-f]{64}, got [0-9a-f]{64}"
    ):
        load_network(name)


def test_an_unknown_name_lists_the_known_ones():
    with pytest.raises(
        ValueError, match="unknown network 'resnet'; available: streets-dnl, streets-nl"
    ):
        load_network("resnet")
    with pytest.raises(
        FileNotFoundError, match=r"there is no file .*nowhere\.safetensors; available:"
    ):
        load_network("weights/nowhere.safetensors")


def rewrite(path, *, tensors=None, header=None):
    metadata = (
        {HEADER_KEY: tiny_architecture("disentangled").to_json()} if header is None else header
    )
    save_file(load_file(path) if tensors is None else tensors, path, metadata=metadata)


def narrow(tensors, dtype):
    tensors["head.classify.weight"] = tensors["head.classify.weight"].to(dtype)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.pop("head.classify.bias"), "head.classify.bias is missing"),
        (lambda t: t.update(extra=torch.zeros(2)), "extra is not used"),
        (lambda t: t.update({"head.classify.bias": torch.zeros(5)}), r"shape \(3,\), got \(5,\)"),
        (lambda t: t["head.classify.bias"].fill_(float("nan")), "holds NaN or infinite values"),
        (lambda t: [t.pop(name) for name in list(t)[:9]], "and 3 more"),
        (lambda t: narrow(t, torch.int8), "holds int8, of which only a scale makes weights"),
        (lambda t: narrow(t, torch.bool), "holds bool, of which only a scale makes weights"),
        (lambda t: narrow(t, torch.float8_e4m3fn), "is not a plain tensor, but torch.float8"),
    ],
)
def test_tensors_that_do_not_fit_are_named(saved, change, message):
    tensors = load_file(saved)
    change(tensors)
    rewrite(saved, tensors=tensors)
    with pytest.raises(ValueError, match=message):
        load_network(saved)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({}, "does not name its architecture"),
        ({HEADER_KEY: "{"}, "header cannot be read"),
        ({HEADER_KEY: "[1]"}, "header cannot be read"),
        ({HEADER_KEY: json.dumps({"classes": ["a"]})}, "header has no 'widths'"),
        (
            {HEADER_KEY: tiny_architecture().to_json().replace("segmentation", "poetry")},
            "unknown task 'poetry'; available: segmentation, clips",
        ),
        (
            {HEADER_KEY: tiny_architecture().to_json().replace("null", '"warp"')},
            "unknown block 'warp'; available: .*disentangled, .*non_local",
        ),
    ],
)
def test_a_header_that_says_nothing_useful_is_refused(saved, header, message):
    rewrite(saved, header=header)
    with pytest.raises(ValueError, match=message) as caught:
        load_network(saved)
    assert str(saved) in str(caught.value)


@pytest.mark.parametrize(
    ("claim", "message"),
    [
        ({"widths": [10**6] * 4}, "does not fit its architecture"),  # 36 terabytes of weights
        ({"widths": [10**10] * 4}, "describes no network that can be built"),
        ({"widths": [-3] * 4}, "describes no network that can be built: .*negative"),
        ({"depths": [10**8] * 4}, "built: 400000000 residual blocks are more than its tensors"),
        ({"block_options": {"warp": 1}}, "describes no network .* argument 'warp'"),
    ],
)
def test_a_header_is_believed_no_more_than_the_tensors(saved, claim, message):
    header = json.loads(tiny_architecture("non_local").to_json()) | claim
    rewrite(saved, header={HEADER_KEY: json.dumps(header)})
    with pytest.raises(ValueError, match=message) as info:
        load_network(saved)
    assert "\n" not in str(info.value)
    assert str(saved) in str(info.value)


@pytest.mark.parametrize("kept", [0, 4, 100, 2000])
def test_truncated_files_are_refused(saved, kept):
    saved.write_bytes(saved.read_bytes()[:kept])
    with pytest.raises(ValueError, match="not a readable"):
        load_network(saved)


@pytest.mark.parametrize("name", ["streets-dnl", "streets-nl", "streets-base"])
def test_channels_last_changes_what_a_network_says_by_rounding_alone(name):
    network = load_network(name)
    weights = [one for one in network.parameters() if one.ndim == 4 and min(one.shape[1:3]) > 1]
    assert all(one.is_contiguous(memory_format=torch.channels_last) for one in weights)
    plain = load_network(name).to(memory_format=torch.contiguous_format)
    picture = np.random.default_rng(0).integers(0, 256, (101, 149, 3), dtype=np.uint8)
    x = network.preprocess(picture)
    with torch.inference_mode():
        scores, expected = network(x), plain(x.contiguous())
    assert (scores - expected).abs().max() < 1e-5 * expected.abs().max()
    for one, other in zip(capture(network, picture), capture(plain, picture), strict=True):
        rows, expected_rows = (terms.attention(record, [7]) for record in (one, other))
        assert (rows - expected_rows).abs().max() < 1e-4 * expected_rows.abs().max()
