"""Files that mean harm, are damaged or are something else are refused with a sentence."""

import pickle
import struct
import zipfile

import numpy as np
import pytest
import torch
from nasty_pickles import archived, poisoned, stated, text

from nonlocal_lens.models import load_network
from nonlocal_lens.models.checkpoints import bounded_pickle, caffe2, pickles, reading
from nonlocal_lens.models.checkpoints.reading import Inert, read_contents

WEIGHTS = {"a.weight": torch.arange(6.0).reshape(2, 3), "count": torch.tensor(3)}


class Bomb:
    """Touches a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (type(self.path).touch, (self.path,))


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("suffix", [".pth", ".pkl", ".safetensors"])
def test_what_would_run_code_is_refused_unrun(tmp_path, zipped, suffix):
    path, touched = tmp_path / f"bomb{suffix}", tmp_path / "touched"
    torch.save({**WEIGHTS, "b": Bomb(touched)}, path, _use_new_zipfile_serialization=zipped)
    with pytest.raises(ValueError, match=r"could run code|not a readable safetensors file") as info:
        load_network(path)
    assert not touched.exists()
    assert "\n" not in str(info.value)


@pytest.mark.parametrize("protocol", range(6))
def test_a_plain_pickle_is_refused_unrun(tmp_path, protocol):
    path, touched = tmp_path / "bomb.pkl", tmp_path / "touched"
    path.write_bytes(pickle.dumps(Bomb(touched), protocol))
    with pytest.raises(ValueError, match=r"not a readable|could run code"):
        load_network(path)
    assert not touched.exists()


def test_arrays_of_objects_are_refused(tmp_path):
    path, touched = tmp_path / "bomb.npz", tmp_path / "touched"
    np.savez(path, a=np.array([Bomb(touched)], dtype=object))
    with pytest.raises(ValueError, match="is not a readable PyTorch checkpoint"):
        load_network(path)
    assert not touched.exists()


def test_a_header_that_lies_about_its_length_is_refused(tmp_path):
    path = tmp_path / "lie.safetensors"
    path.write_bytes(struct.pack("<Q", 1 << 62) + b'{"a":1}')
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        load_network(path)
    header = b'{"a":{"dtype":"F32","shape":[9,9],"data_offsets":[0,4]}}'
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with pytest.raises(ValueError, match="not a readable safetensors file"):
        load_network(path)


def test_a_packed_archive_is_refused(tmp_path):
    path, packed = tmp_path / "plain.pth", tmp_path / "packed.pth"
    torch.save({"a": torch.zeros(100_000)}, path)
    with (
        zipfile.ZipFile(path) as source,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as target,
    ):
        for member in source.namelist():
            target.writestr(member, source.read(member))
    with pytest.raises(ValueError, match="in it is compressed"):
        load_network(packed)


def test_a_tensor_that_claims_more_numbers_than_the_file_holds_is_refused(tmp_path):
    path = tmp_path / "absurd.pth"
    torch.save({"a": torch.zeros(1).expand(1 << 20, 1 << 20)}, path)
    with pytest.raises(ValueError, match="too few numbers"):
        load_network(path)


def test_more_than_fits_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "large.pth"
    torch.save({"a": torch.zeros(100)}, path)
    monkeypatch.setattr(reading, "MAX_BYTES", 399)
    with pytest.raises(ValueError, match="at most 4 are possible"):
        load_network(path)


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("kept", [0, 3, 40, 0.5, 0.99])
def test_truncated_checkpoints_are_refused(tmp_path, zipped, kept):
    path = tmp_path / "short.pth"
    torch.save(WEIGHTS, path, _use_new_zipfile_serialization=zipped)
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    with pytest.raises(ValueError, match=r"damaged or truncated|not a readable"):
        load_network(path)


@pytest.mark.filterwarnings("ignore:Validating sparse")
@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1, 2], "must hold a dictionary of tensors, got list"),
        ({}, "it is empty"),
        ({"a": 3}, "'a' is none"),
        ({"a": torch.zeros(2, 2).to_sparse()}, "is not a plain tensor"),
        ({"a": torch.zeros(2)}, "have the names of no known layout: mmsegmentation"),
    ],
)
def test_what_is_no_network_is_refused(tmp_path, content, message):
    path = tmp_path / "other.pth"
    torch.save(content, path)
    with pytest.raises(ValueError, match=message):
        load_network(path)


def test_bookkeeping_beside_the_weights_does_not_matter(tmp_path):
    path = tmp_path / "logged.pth"
    log = {"loss": np.float64(0.25), "lr": np.arange(3)}
    torch.save({"state_dict": WEIGHTS, "meta": {"log": log}, "epoch": 3}, path)
    tensors = read_contents(path).tensors
    assert tensors.keys() == WEIGHTS.keys()
    assert all(torch.equal(tensors[name], WEIGHTS[name]) for name in WEIGHTS)
    assert tensors["count"].dtype == torch.int64


class Method:
    """Is written as mmengine's log writes its own methods: by the name of a function."""

    def __reduce__(self):
        return getattr, (torch.Tensor, "mean")


def test_the_methods_in_a_training_log_are_not_looked_up(tmp_path):
    path = tmp_path / "logged.pth"
    torch.save({"state_dict": WEIGHTS, "message_hub": {"mean": Method()}}, path)
    assert read_contents(path).tensors.keys() == WEIGHTS.keys()


def test_half_precision_is_widened(tmp_path):
    path = tmp_path / "half.pth"
    torch.save({"a": torch.ones(2).half(), "b": torch.ones(2).bfloat16()}, path)
    assert {tensor.dtype for tensor in read_contents(path).tensors.values()} == {torch.float32}


def test_what_stands_for_bookkeeping_does_nothing():
    inert = Inert(1, a=2)
    inert.__setstate__({"b": 3})
    assert vars(inert) == {}


@pytest.mark.parametrize(
    "name", ["numpy.core.multiarray.scalar", "numpy.dtype", "collections.OrderedDict", "torch.Size"]
)
@pytest.mark.parametrize("suffix", [".pkl", ".pth"])
def test_no_file_changes_what_reads_the_next(tmp_path, suffix, name):
    """A pickle may set attributes of an object, also of a class of the reader's own."""
    kinds = [
        kind
        for module in (bounded_pickle, caffe2, pickles)
        for kind in vars(module).values()
        if isinstance(kind, type)
    ]
    before = [dict(vars(kind)) for kind in kinds]
    code = b"}" + text("w") + poisoned(name) + b"s."
    path = tmp_path / f"poison{suffix}"
    path.write_bytes(archived(code) if suffix == ".pth" else b"\x80\x04" + code)
    with pytest.raises(ValueError, match=path.name):
        load_network(path)
    assert [dict(vars(kind)) for kind in kinds] == before


def test_a_tensor_takes_no_state_from_a_file(tmp_path):
    """`Tensor.__setstate__` would make it as large as the state says."""
    path = tmp_path / "state.pth"
    large = b"\x8a\x05" + (10**9).to_bytes(5, "little")
    path.write_bytes(archived(stated(b"(NK\x00" + large + b"\x85K\x01\x85t")))
    assert read_contents(path).tensors["w"].shape == (1,)


def test_numbers_that_are_not_in_an_old_file_are_not_made_up(tmp_path):
    path = tmp_path / "old.pth"
    torch.save({"w": torch.ones(100)}, path, _use_new_zipfile_serialization=False)
    data = path.read_bytes()
    named = data.rindex(b"\x80\x02]")
    path.write_bytes(data[:named] + b"\x80\x02]." + bytes(408))
    with pytest.raises(ValueError, match="it ends before 1 of its storages"):
        read_contents(path)
