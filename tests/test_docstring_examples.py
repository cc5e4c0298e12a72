"""The examples in docstrings run, with what they take for granted."""

import doctest
import inspect

import numpy as np
import pytest
import torch
from networks import tiny_network
from PIL import Image
from torch import nn
from videos import write_video

from nonlocal_lens.analysis import adapters
from nonlocal_lens.analysis.plots import plot_watch
from nonlocal_lens.analysis.watch import watch
from nonlocal_lens.app.notebook import explore


def run(function, **known):
    """Run the examples of a function's docstring; a difference is told as doctest tells it."""
    names = {**inspect.getmodule(function).__dict__, **known}
    (test,) = (
        found
        for found in doctest.DocTestFinder(recurse=False).find(function, globs=names)
        if found.examples
    )
    told = []
    result = doctest.DocTestRunner().run(test, out=told.append, clear_globs=False)
    assert result.attempted
    assert not result.failed, "".join(told)


def test_explore(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (240, 320, 3), dtype=np.uint8)
    Image.fromarray(noise).save("street.png")
    write_video(tmp_path / "street.mp4", frames=24, height=240, width=320)
    run(explore)


def test_watch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    batches = [torch.rand(2, 3, 32, 48) for _ in range(3)]
    trained = []
    run(
        watch,
        model=tiny_network("non_local"),
        validation_loader=batches,
        training_loader=batches,
        train_on=trained.append,
        plot_watch=plot_watch,
    )
    assert len(trained) == 3
    assert (tmp_path / "degeneracy.csv").is_file()


def test_register(monkeypatch):
    monkeypatch.setattr(adapters, "ADAPTERS", [])

    class MyAttention(nn.Module):
        def __init__(self):
            super().__init__()
            self.to_query, self.to_key = nn.Linear(5, 7), nn.Linear(5, 7)

    run(adapters.register, MyAttention=MyAttention)
    module = MyAttention()
    reader = adapters.reader_for(module)
    heads = reader(module, adapters.Call((torch.rand(1, 11, 5),), {}, None))
    assert heads.query.shape == heads.key.shape == (1, 11, 7)
    assert heads.scale == pytest.approx(7**-0.5)
