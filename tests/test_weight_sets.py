"""Weights wherever training programs put them, and what lies beside them as inert data."""

import argparse
import collections
import datetime
import enum
import json
import pathlib
import subprocess
import types

import numpy as np
import pytest
import torch
from published_files import drawn
from safetensors.torch import save_file
from test_mnist_network import table
from torch import nn
from video_files import drawn as drawn_video
from video_files import mmaction2, video

from nonlocal_lens.models import load_block, load_network
from nonlocal_lens.models.checkpoints.reading import read_contents


@pytest.fixture
def weights(generator):
    return drawn(table("non_local"), generator)


@pytest.fixture
def other(weights):
    return {name: each + 1 if each.ndim else each for name, each in weights.items()}


def under(prefix, tensors):
    return {f"{prefix}{name}": tensor for name, tensor in tensors.items()}


def loaded(tmp_path, content, **options):
    path = tmp_path / "some.pth"
    torch.save(content, path)
    return load_network(path, **options), load_block(path, "nl_1.", **options)


def holds(found, tensors):
    network, block = found
    same = torch.equal(network.get_parameter("fc.0.weight"), tensors["fc.0.weight"])
    assert torch.equal(block.query.weight, tensors["nl_1.theta.weight"]) == same
    return same


PLACES = [
    *("state_dict", "model_state_dict", "model_state", "model", "params", "params_ema", "teacher"),
    *("student", "ema", "state_dict_ema", "module", "net", "network", "generator", "weights"),
    *("model_ema", "g_ema", "shadow", "my_very_own_key"),
]


@pytest.mark.parametrize("place", PLACES)
def test_weights_are_found_under_any_key(tmp_path, weights, place):
    beside = {"epoch": 3, "optimizer": {"state": {0: {"exp_avg": torch.zeros(3)}}, "lr": 0.1}}
    assert holds(loaded(tmp_path, {**beside, place: weights, "best": 0.5}), weights)
    assert holds(loaded(tmp_path, {"model": {place: weights}, "scaler": {}}), weights)


PREFIXES = [
    *("module.", "_orig_mod.", "module._orig_mod.", "_orig_mod.module.", "model.", "net."),
    *("model._orig_mod.", "generator.", "_fsdp_wrapped_module.", "model.module.", "a.b.c."),
]


@pytest.mark.parametrize("prefix", PREFIXES)
def test_wrappers_lengthen_names_in_vain(tmp_path, weights, prefix):
    assert holds(loaded(tmp_path, {"state_dict": under(prefix, weights)}), weights)
    assert torch.equal(
        load_block(tmp_path / "some.pth", f"{prefix}nl_2.").query.weight,
        weights["nl_2.theta.weight"],
    )


def test_wrappers_inside_a_network_are_taken_off_its_names_too(tmp_path, weights):
    inside = {
        name.replace("nl_1.", "nl_1._orig_mod.").replace("conv_2.", "conv_2.module."): each
        for name, each in weights.items()
    }
    path = tmp_path / "some.pth"
    torch.save(inside, path)
    found = load_network(path).get_parameter("conv_2.0.weight")
    assert torch.equal(found, weights["conv_2.0.weight"])


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("state_dict", "state_dict_ema"),
        ("params_ema", "params"),
        ("teacher", "student"),
        ("model", "ema"),
        ("generator", "mine"),
    ],
)
def test_which_of_two_was_taken_is_said_with_the_option_for_the_other(
    tmp_path, weights, other, first, second
):
    content = {second: other, first: weights}
    found = loaded(tmp_path, content)
    assert holds(found, weights)
    for one in found:
        said = next(each for each in one.decisions if "weights at" in each)
        assert f"{first!r}, not those at {second!r}: weights={second!r} takes these" in said
    assert holds(loaded(tmp_path, content, weights=second), other)
    with pytest.raises(ValueError, match=r"has no weights at 'third'; there are those at"):
        loaded(tmp_path, content, weights="third")


def test_lightnings_teacher_and_losses_lie_in_one_dictionary(tmp_path, weights, other):
    flat = {
        **under("student.", other),
        **under("teacher.", weights),
        "criterion.gain": torch.ones(3),
    }
    path = tmp_path / "some.ckpt"
    torch.save({"state_dict": flat, "hyper_parameters": {"lr": 1}}, path)
    network = load_network(path)
    assert torch.equal(network.get_parameter("fc.0.weight"), weights["fc.0.weight"])
    said = "; ".join(network.decisions)
    assert "weights at 'state_dict.teacher', not those at 'state_dict.student'" in said
    again = load_network(path, weights="student")
    assert torch.equal(again.get_parameter("fc.0.weight"), other["fc.0.weight"])
    torch.save({"state_dict": {**under("model.", weights), "loss.gain": torch.ones(3)}}, path)
    said = "; ".join(load_network(path).decisions)
    assert "the weights of 'model' alone: 1 others are left out (loss.gain)" in said


class Mode(enum.Enum):
    SLOW = "slow"


class Options(dict):
    """A dictionary with a class of its own, as EasyDict, yacs and mmcv have them."""


class Config:
    """An object with attributes, one of them another object, as OmegaConf's are."""

    def __init__(self):
        self._content = {"lr": Options(base=0.1)}
        self._parent = self


@pytest.mark.parametrize("zipped", [True, False])
def test_what_lies_beside_the_weights_is_inert(tmp_path, weights, zipped):
    options = Options(depth=3)
    options.extra = [1, 2]
    beside = {
        "args": argparse.Namespace(out=pathlib.Path("runs/a"), mode=Mode.SLOW),
        "cfg": Config(),
        "opts": options,
        "simple": types.SimpleNamespace(a=1),
        "paths": {pathlib.PurePosixPath("a"), pathlib.PurePosixPath("b")},
        "best": np.float64(0.25),
        "log": np.arange(5),
        "names": np.array(["a", "b"]),
        "objects": np.array([{"a": 1}], dtype=object),
        "when": datetime.datetime(2026, 1, 1),
        "counts": collections.Counter("aab"),
        "default": collections.defaultdict(list, a=[1]),
        "rng_state": torch.get_rng_state(),
        "numpy_rng": np.random.get_state(),  # noqa: NPY002
        "generator": np.random.default_rng(0),
        "kind": torch.float16,
        "shape": torch.Size([2, 3]),
        "device": torch.device("cpu"),
        "set": {1, 2},
        "type": nn.Linear,
    }
    path = tmp_path / "some.pth"
    torch.save({**beside, "state_dict": weights}, path, _use_new_zipfile_serialization=zipped)
    found = read_contents(path).tensors
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], weights[name]) for name in weights)
    assert torch.equal(load_network(path).get_parameter("fc.0.weight"), weights["fc.0.weight"])


class Shared(nn.Module):
    """Holds tensors that are views, of several types, and one that is shared."""

    def __init__(self):
        super().__init__()
        base = torch.arange(24.0).reshape(4, 6)
        self.first = nn.Parameter(base[1:, ::2])
        self.short = nn.Parameter(torch.arange(5).half())
        self.again = self.first
        self.register_buffer("turned", base.T)
        self.register_buffer("count", torch.tensor(7))
        self.register_buffer("empty", torch.zeros(0, 3))
        self.register_buffer("flags", torch.tensor([True, False]))
        self.register_buffer("brain", torch.arange(3).bfloat16())


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("as_object", [True, False])
def test_tensors_are_what_torch_reads_them_as(tmp_path, zipped, as_object):
    module = Shared()
    path = tmp_path / "some.pth"
    content = module if as_object else module.state_dict()
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    found = read_contents(path).tensors
    expected = module.state_dict()
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        wide = tensor.float() if tensor.is_floating_point() else tensor
        assert found[name].dtype == wide.dtype
        assert torch.equal(found[name], wide), name


class Call:
    """Wants a function called when it is unpickled."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def touch(path):
    """Touch a file: what a file of weights must never do."""
    pathlib.Path(path).touch()


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize(
    "call",
    [
        lambda path: Call(touch, str(path)),
        lambda path: Call(subprocess.Popen, ["touch", str(path)]),
        lambda path: Call(eval, f"open({str(path)!r}, 'w')"),
        lambda path: Call(getattr(pathlib.Path(path), "touch")),  # noqa: B009
        lambda path: Call(torch.load, str(path)),
        lambda path: Call(np.load, str(path)),
    ],
)
def test_what_would_have_to_be_called_is_refused_uncalled(tmp_path, weights, zipped, call):
    path, touched = tmp_path / "some.pth", tmp_path / "touched"
    content = {"state_dict": weights, "args": call(touched)}
    torch.save(content, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match="could run code"):
        load_network(path)
    with pytest.raises(ValueError, match="could run code"):
        load_block(path, "nl_1.")
    assert not touched.exists()


@pytest.mark.parametrize("suffix", ["safetensors", "bin"])
def test_shards_are_read_by_their_index(tmp_path, weights, suffix):
    halves = {name: f"part-{'nl_1' in name}.{suffix}" for name in weights}
    for shard in set(halves.values()):
        part = {name: weights[name] for name in weights if halves[name] == shard}
        (save_file if suffix == "safetensors" else torch.save)(part, tmp_path / shard)
    index = tmp_path / f"model.{suffix}.index.json"
    index.write_text(json.dumps({"metadata": {"total_size": 1}, "weight_map": halves}))
    network = load_network(index)
    assert torch.equal(network.get_parameter("fc.0.weight"), weights["fc.0.weight"])
    assert torch.equal(load_block(index, "nl_1.").query.weight, weights["nl_1.theta.weight"])
    (tmp_path / f"part-True.{suffix}").unlink()
    with pytest.raises(FileNotFoundError, match=r"there is no file .*part-True.* says that it"):
        load_network(index)
    index.write_text(json.dumps({"weight_map": {"a": "../elsewhere.bin"}}))
    with pytest.raises(ValueError, match="names a shard that is no file beside it"):
        load_network(index)
    index.write_text("[]")
    with pytest.raises(ValueError, match="is no index of shards"):
        load_network(index)


def test_where_no_weights_are_the_keys_are_told_and_what_was_looked_for(tmp_path):
    path = tmp_path / "some.pth"
    torch.save({"epoch": 3, "optimizer": {"state": torch.zeros(3)}, "config": {"a": 1}}, path)
    with pytest.raises(ValueError, match=r"the keys 'epoch', 'optimizer', 'config', .* state_dict"):
        load_network(path)


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_a_program_is_no_file_of_weights(tmp_path):
    path = tmp_path / "some.pt"
    torch.jit.script(nn.Linear(3, 3)).save(path)
    with pytest.raises(ValueError, match=r"program \(TorchScript\); save the network's state_dict"):
        load_network(path)


@pytest.mark.parametrize(
    ("name", "meta", "source"),
    [
        ("i3d_nl_dot_product_r50_32x2x1_100e.pth", {}, "the file's name"),
        ("i3d_imagenet-pretrained-r50-nl-dot-product_8xb8.pth", {}, "the file's name"),
        ("mine.pth", {"config": "non_local_cfg=dict(mode='dot_product')"}, "its configuration"),
        ("mine.pth", {"experiment_name": "i3d-nl-dot-product_2026"}, "its metadata"),
        ("mine.pth", {}, None),
    ],
)
def test_the_form_is_inferred_where_a_name_tells_it_and_said(
    tmp_path, generator, name, meta, source
):
    tensors = drawn_video(video("i3d"), generator)
    content = {
        "meta": meta,
        "state_dict": {mmaction2(key): value for key, value in tensors.items()},
    }
    torch.save(content, tmp_path / name)
    network = load_network(tmp_path / name)
    (block, *_) = [each for each in network.modules() if hasattr(each, "coupling")]
    said = "; ".join(network.decisions)
    if source is None:
        assert block.coupling == "coupled"
        assert "no tensor tells; form='dot_product' sets another" in said
    else:
        assert block.coupling == "unnormalized"
        assert f"form='dot_product', as {source} says; form= sets another" in said
    assert load_network(tmp_path / name, form="dot_product").decisions
    for option in ("mean=", "frames=", "classes="):
        assert option in said


def test_normalization_is_an_option_of_every_layout(tmp_path, weights):
    path = tmp_path / "some.pth"
    torch.save(weights, path)
    network = load_network(path, mean=[0.1307], std=[0.3081])
    image = np.full((28, 28, 3), 51, np.uint8)
    torch.testing.assert_close(
        network.preprocess(image), torch.full((1, 1, 28, 28), (0.2 - 0.1307) / 0.3081)
    )
    assert "mean=" in "; ".join(load_network(path).decisions)
    with pytest.raises(ValueError, match="mean must be 1 numbers, got 3"):
        load_network(path, mean=[0.5] * 3)
