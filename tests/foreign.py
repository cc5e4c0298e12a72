"""Blocks of other code to test adapters with: random weights, and networks that hold a block."""

import re
import warnings

import numpy as np
import pytest
import torch
from oracle import check_places
from torch import nn

from nonlocal_lens.analysis import capture, terms

CHANNELS, INNER = 12, 5
ROWS, COLUMNS = 5, 7


def noise(height, width):
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)


IMAGE = noise(8 * ROWS, 8 * COLUMNS)


def drawn(module, most=0.4):
    """Draw all parameters at random, also those that begin at 0."""
    torch.manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.uniform_(-most, most)
    return module.eval()


class Stem(nn.Module):
    """Cells of 8 x 8 pixels, then a block, maybe several times."""

    def __init__(self, block, times=1):
        super().__init__()
        self.image_size = 8 * ROWS, 8 * COLUMNS
        self.cells = nn.Conv2d(3, CHANNELS, 8, stride=8)
        self.block, self.times = block, times

    def forward(self, x):
        x = self.cells(x) / 4  # or some weights would be 1
        for _ in range(self.times):
            x = self.block(x)
        return x


def captured(network, image):
    """Return the records of a network of which nothing is left out, each token at its place."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        records = capture(network, image)
        if records[0].query_grid.positions > 1:  # else no cell is to be told from others
            check_places(network, image, records)
    return records


def whole(record):
    """Return all rows."""
    return terms.attention(record, range(len(record.query)))


def assert_same(record, seen):
    torch.testing.assert_close(whole(record), seen, rtol=1e-5, atol=1e-6)


def refused(network, image, sentence):
    with pytest.warns(UserWarning, match=re.escape(sentence)):
        assert capture(network, image) == ()
