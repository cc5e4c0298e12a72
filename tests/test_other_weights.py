"""Weights that are no softmax of products are refused in words; what weights nothing is not."""

import warnings

import numpy as np
import pytest
import torch
from torch import nn

from nonlocal_lens.analysis import capture
from nonlocal_lens.models.preprocess import Preprocess

CHANNELS = 5
IMAGE = np.random.default_rng(0).integers(0, 256, (9, 11, 3), dtype=np.uint8)


class Block(nn.Module):
    """Adds what `attend` makes of queries, keys and values, (batch, channels, places)."""

    def __init__(self, attend):
        super().__init__()
        self.query, self.key, self.value, self.out = (
            nn.Conv2d(CHANNELS, CHANNELS, 1) for _ in range(4)
        )
        self.both = nn.Conv2d(2 * CHANNELS, 1, 1)
        self.parts = nn.Parameter(torch.randn(1, CHANNELS, 3 * CHANNELS))
        self.attend = attend

    def forward(self, x):
        sides = (side(x).flatten(2) for side in (self.query, self.key, self.value))
        return x + self.out(self.attend(self, *sides).reshape(x.shape))


def concatenation(block, query, key, value):
    count = query.shape[-1]
    both = query[..., None].expand(-1, -1, -1, count), key[:, :, None].expand(-1, -1, count, -1)
    weights = block.both(torch.cat(both, 1)).relu()[:, 0] / count
    return (weights @ value.mT).mT


def sigmoid(block, query, key, value):
    return value @ (query.mT @ key).sigmoid().mT


def squared(block, query, key, value):
    return torch.einsum("bqk,bck->bcq", (query.mT @ key).relu() ** 2, value)


def bilinear(block, query, key, value):
    return (query @ key.mT).tanh() @ value


def linear(block, query, key, value):
    """Sum features of places, with a column of ones beside, as linear attention does."""
    beside = nn.functional.pad(value, (0, 0, 0, 1), value=1.0)
    return (beside @ key.relu().mT).tanh()[:, :CHANNELS] @ query


def parts_of_one_product(block, query, key, value):
    """Take queries, keys and values of one product with a weight that is repeated, not a layer."""
    layer = block.parts.expand(len(query), -1, -1)
    parts = (query.mT @ layer).unflatten(2, (3, CHANNELS)).permute(2, 0, 1, 3)
    query, key, value = parts.unbind(0)
    return ((query @ key.mT).softmax(-1) @ value).mT


def of_channels(block, query, key, value):
    return (query @ key.mT).softmax(-1) @ value


def fixed(block, query, key, value):
    count = query.shape[-1]
    return value @ torch.arange(count * count).reshape(count, count).div(count**2)


def network_of(attend):
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, CHANNELS, 1), Block(attend)).eval()
    network.preprocess = Preprocess(stride=1, long_side=(8, 64))
    return network


@pytest.mark.parametrize(
    ("attend", "why"),
    [
        (concatenation, "they are no product of queries and keys"),
        (sigmoid, "the operation 'sigmoid' is not followed"),
        (squared, "the operation 'relu' is not followed"),
    ],
)
def test_weights_that_are_no_softmax_are_refused_in_words(attend, why):
    with pytest.warns(UserWarning, match=f"1 .*computed from tokens, but are no softmax: {why}"):
        assert not capture(network_of(attend), IMAGE)


@pytest.mark.parametrize("attend", [bilinear, linear, fixed])
def test_what_weights_no_places_by_the_picture_is_not_spoken_of(attend):
    assert not capture(network_of(attend), IMAGE)


def test_attention_among_channels_is_told_as_that():
    with pytest.warns(UserWarning, match="its channels come from different places"):
        assert not capture(network_of(of_channels), IMAGE)


def test_values_that_are_not_followed_do_not_hide_the_softmax_that_weights_them():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (record,) = capture(network_of(parts_of_one_product), IMAGE)
    assert record.coupling == "coupled"
