import collections
import io
import pickle
import subprocess

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from nonlocal_lens.models.checkpoints import load_block
from nonlocal_lens.models.checkpoints.caffe2 import read_blobs
from nonlocal_lens.models.checkpoints.reading import read_contents

CHANNELS, INNER = 7, 3


def blobs(seed=0):
    random = np.random.default_rng(seed)
    table = {}
    for name in ("theta", "phi", "g"):
        table[f"{name}_w"], table[f"{name}_b"] = (INNER, CHANNELS, 1, 1, 1), (INNER,)
    table |= {"out_w": (CHANNELS, INNER, 1, 1, 1), "out_b": (CHANNELS,)}
    table |= {f"bn_{part}": (CHANNELS,) for part in ("s", "b", "rm", "riv")}
    found = {
        f"nonlocal_conv3_1_{name}": random.random(shape, np.float32) + 0.1
        for name, shape in table.items()
    }
    found |= {f"{name}_momentum": blob for name, blob in list(found.items())[:2]}
    return found | {"conv1_w": random.random((5, 3, 1, 7, 7), np.float32), "lr": np.float32(0.1)}


@pytest.fixture
def write(tmp_path):
    def written(content, protocol=2):
        path = tmp_path / "c2.pkl"
        path.write_bytes(pickle.dumps(content, protocol))
        return path

    return written


@pytest.mark.parametrize("protocol", range(5))
def test_arrays_come_back_and_bookkeeping_does_not(write, protocol):
    expected = blobs()
    found = read_blobs(write({"blobs": expected}, protocol))
    assert torch.equal(found["conv1_w"], torch.from_numpy(expected["conv1_w"]))
    assert found.keys() >= {"nonlocal_conv3_1.conv_theta.weight", "nonlocal_conv3_1.bn.running_var"}
    assert not [name for name in found if "momentum" in name or name == "lr"]


@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f2", ">i8", "u1"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_order_and_type_of_numbers_are_kept(write, dtype, order):
    array = np.asarray(np.arange(35).reshape(5, 7), dtype=dtype, order=order)
    found = read_blobs(write({"a": array}))["a"]
    assert found.tolist() == array.tolist()


def test_files_of_python_2_are_read(tmp_path):
    """Strings of Python 2 hold bytes; they are what its pickles keep arrays in."""
    data = np.array([1.5, -2.0], "<f4").tobytes()
    stream = (
        b"\x80\x02}U\x01acnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\nK\x00\x85U\x01bt"
        b"R(K\x01K\x02\x85cnumpy\ndtype\n(U\x02f4K\x00K\x01tR(K\x03U\x01<NNNJ\xff\xff\xff\xff"
        b"J\xff\xff\xff\xffK\x00tb\x89U\x08" + data + b"tbs."
    )
    path = tmp_path / "old.pkl"
    path.write_bytes(stream)
    assert read_blobs(path)["a"].tolist() == [1.5, -2.0]


def test_a_block_of_the_first_release_computes_what_it_did(write, generator):
    t = {name.removeprefix("nonlocal_conv3_1_"): torch.tensor(b) for name, b in blobs().items()}
    x = torch.randn(1, CHANNELS, 2, 5, 7, generator=generator)
    pooled = F.max_pool3d(x, (1, 2, 2))
    query, key, value = (
        F.conv3d(y, t[f"{name}_w"], t[f"{name}_b"]).flatten(2)
        for name, y in (("theta", x), ("phi", pooled), ("g", pooled))
    )
    weights = (query.transpose(1, 2) @ key * INNER**-0.5).softmax(2)
    y = (value @ weights.transpose(1, 2)).unflatten(2, x.shape[2:])
    y = F.conv3d(y, t["out_w"], t["out_b"])
    expected = x + F.batch_norm(y, t["bn_rm"], t["bn_riv"], t["bn_s"], t["bn_b"])
    block = load_block(write({"blobs": blobs()}), "nonlocal_conv3_1.")
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-5)


class Call:
    def __init__(self, function, *args):
        self.reduced = function, args

    def __reduce__(self):
        return self.reduced

    def __repr__(self):  # names the test, the same in every process
        return f"a call of {self.reduced[0].__name__}"


@pytest.mark.parametrize("protocol", [2, 4])
@pytest.mark.parametrize(
    "harm",
    [
        Call(subprocess.check_output, "true"),
        Call(eval, "1 + 1"),
        Call(np.zeros, (3,)),
        Call(getattr, "a", "upper"),
        np.array([collections.Counter()], dtype=object),
        np.zeros(3, [("a", "f4")]),
        np.array(["text"]),
        np.datetime64("2020-01-01"),
    ],
    ids=str,
)
def test_anything_but_arrays_of_numbers_is_refused(write, harm, protocol):
    path = write({"blobs": {"a": harm}}, protocol)
    if isinstance(harm, np.datetime64):  # a number that is no weight is not even read
        assert read_blobs(path) == {}
        return
    with pytest.raises(ValueError, match="so it stays unread: to load that could run code") as info:
        read_contents(path)
    assert "\n" not in str(info.value)


def test_an_array_of_absurd_size_is_refused_before_it_is_made(write, tmp_path):
    stream = io.BytesIO(pickle.dumps({"a": np.zeros(2, "<f4")}, 2)).getvalue()
    absurd = stream.replace(b"K\x01K\x02\x85", b"K\x01J\xff\xff\xff\x7f\x85")
    assert absurd != stream
    path = tmp_path / "absurd.pkl"
    path.write_bytes(absurd)
    with pytest.raises(ValueError, match=r"an array of shape \(2147483647,\) with 2 numbers"):
        read_contents(path)


@pytest.mark.parametrize("kept", [2, 9, 0.5, 0.99])
def test_truncated_pickles_are_refused(write, kept):
    path = write({"blobs": blobs()})
    data = path.read_bytes()
    path.write_bytes(data[: int(kept * len(data)) if isinstance(kept, float) else kept])
    with pytest.raises(ValueError, match="is not a readable checkpoint"):
        read_contents(path)


def test_a_list_is_no_checkpoint(write):
    with pytest.raises(ValueError, match="must hold a dictionary of arrays, got list"):
        read_contents(write([1, 2]))
