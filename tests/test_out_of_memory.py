"""A GPU without memory, played by fake tensors: the processor goes on, and that is said."""

import warnings

import pytest
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode

from nonlocal_lens.analysis.out_of_memory import or_on_processor


def devices_of(x, fails_on):
    """Return the devices on which something was begun, and what it gave."""
    begun = []

    def compute(given):
        begun.append(given.device.type)
        if given.device.type == fails_on:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return given + 1

    return begun, or_on_processor(nn.Identity(), x, compute)


def test_what_fits_stays_on_its_device_without_a_word():
    with FakeTensorMode(), warnings.catch_warnings():
        warnings.simplefilter("error")
        begun, y = devices_of(torch.zeros(3, device="cuda"), fails_on="nowhere")
    assert begun == ["cuda"]
    assert y.device.type == "cuda"


def test_what_does_not_fit_is_begun_anew_on_the_processor_and_said():
    said = r"Identity and its input do not fit into the memory of cuda:0: it computes on the proc"
    with FakeTensorMode():
        x = torch.zeros(3, device="cuda")
        with pytest.warns(UserWarning, match=said):
            begun, y = devices_of(x, fails_on="cuda")
    assert begun == ["cuda", "cpu"]
    assert y.device.type == "cpu"


def test_where_the_processor_has_too_little_there_is_nothing_to_fall_back_to():
    with pytest.raises(torch.OutOfMemoryError):
        devices_of(torch.zeros(3), fails_on="cpu")
