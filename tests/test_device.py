"""Devices by name, and networks that compute on another one than everything else."""

import numpy as np
import pytest
import torch
from networks import tiny_network
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from typer.testing import CliRunner

from nonlocal_lens.analysis.capture import observe, record_of
from nonlocal_lens.analysis.interventions import intervene
from nonlocal_lens.analysis.prepared import prepared
from nonlocal_lens.app.cli import cli
from nonlocal_lens.models import load_network
from nonlocal_lens.models.blocks import NonLocalBlock
from nonlocal_lens.models.device import VARIABLE, chosen_device
from nonlocal_lens.models.placement import brought_back

IMAGE = np.random.default_rng(0).integers(0, 256, (41, 59, 3), dtype=np.uint8)


def gpus(monkeypatch, *free):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(free))
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda index: (free[index], 80 << 30))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)


def test_auto_takes_the_gpu_with_most_room_or_none(monkeypatch):
    gpus(monkeypatch)
    assert chosen_device("auto") == torch.device("cpu")
    gpus(monkeypatch, 1 << 30)
    assert chosen_device("auto") == torch.device("cpu"), "a full one is left alone"
    gpus(monkeypatch, 4 << 30, 9 << 30, 3 << 30)
    assert chosen_device("auto") == torch.device("cuda", 1)
    assert chosen_device("auto", needed=8 << 30) == torch.device("cpu")
    assert chosen_device("cuda") == torch.device("cuda", 0)
    assert chosen_device(" CUDA:2 ") == torch.device("cuda", 2)


def test_the_environment_says_where_nothing_is_said(monkeypatch):
    gpus(monkeypatch, 9 << 30)
    monkeypatch.delenv(VARIABLE, raising=False)
    assert chosen_device() == torch.device("cpu")
    monkeypatch.setenv(VARIABLE, "auto")
    assert chosen_device() == torch.device("cuda", 0)
    assert chosen_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("cuda:1", "device cuda:1: it has 1 GPUs, numbered from 0; use auto or cpu"),
        ("tpu", "the device must be auto, cpu, cuda, cuda:N or mps, got 'tpu'"),
        ("mps", "this machine or this torch has none; use cpu"),
        ("cuda:-1", "must be auto, cpu"),
    ],
)
def test_a_device_that_is_not_there_is_refused(monkeypatch, name, sentence):
    gpus(monkeypatch, 9 << 30)
    with pytest.raises(ValueError, match=sentence):
        chosen_device(name)
    with pytest.raises(ValueError, match=sentence):
        load_network("streets-nl", device=name)
    monkeypatch.setenv(VARIABLE, name)
    with pytest.raises(ValueError, match=VARIABLE):
        load_network("streets-nl")


def test_commands_take_a_device_and_refuse_one_that_is_not_there(monkeypatch):
    gpus(monkeypatch)
    monkeypatch.setenv(VARIABLE, "cpu")
    runner = CliRunner()
    assert runner.invoke(cli, ["layers", "streets-nl", "--device", "auto"]).exit_code == 0
    for command in (["layers", "streets-nl"], ["stats", "samples"], ["export", "samples"]):
        result = runner.invoke(cli, [*command, "--device", "cuda"])
        assert result.exit_code == 2
        assert "it has no GPU for torch" in result.stderr.replace("\n", " ").replace("│ ", "")


class Cells(nn.Module):
    image_size = 40, 56

    def __init__(self):
        super().__init__()
        self.cells = nn.Conv2d(3, 8, 8, stride=8)
        self.block = NonLocalBlock(8, init="awake")

    def forward(self, x):
        return self.block(self.cells(x))


def test_on_a_gpu_nothing_mixes_devices_and_records_come_back(as_users_run):
    with FakeTensorMode(allow_non_fake_inputs=True):
        with torch.device("cuda"):
            network = Cells().eval()
        x = prepared(network, IMAGE)[1]
        assert x.device.type == "cuda"
        with pytest.raises(RuntimeError, match="device"):
            network(x.cpu())
        for how in ("on", "off", "mean_row", "uniform"):  # the terms ask for numbers
            with torch.no_grad(), intervene(network, how):
                assert network(x).device.type == "cuda"
        assert brought_back(network(x)).device.type == "cpu"
        projections = network.block.project(network.cells(x))
        # where the values go is found by their numbers, and fake tensors have none
        record = record_of("block", network.block, projections, (40, 56), keeps_value=False)
        assert record.query.device.type == record.key.device.type == "cpu"
        assert record.query.shape == (35, 4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU at hand")
def test_a_gpu_reads_what_the_processor_reads():
    network = tiny_network("disentangled")
    (expected,) = observe(network, IMAGE).records
    (found,) = observe(network.cuda(), IMAGE).records
    torch.testing.assert_close(found.query, expected.query, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(found.value_norm, expected.value_norm, rtol=1e-3, atol=1e-4)
