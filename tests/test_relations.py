"""What the non-local operation is related to, each relation an exact law.

Wang et al. 2018, section 3.1: y_i = sum over j of f(x_i, x_j) g(x_j) / C(x). With the right f, g
and C it is the operation named by each test. Where f is a block's, the block itself is compared,
else the bare operation below.
"""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nonlocal_lens.models.blocks import (
    DotProductNonLocalBlock,
    GaussianNonLocalBlock,
    NonLocalBlock,
)

POSITIONS, CHANNELS, INNER = 11, 6, 3


@pytest.fixture
def x(generator):
    """Return one sequence of features, (1, channels, positions)."""
    return torch.randn(1, CHANNELS, POSITIONS, generator=generator, dtype=torch.float64)


def non_local(f, g):
    """Return the operation with pairwise weights f (queries, keys), already divided by C, and g."""
    return f @ g


def block_1d(cls, **options):
    torch.manual_seed(0)
    options = {"dimension": 1, "batch_norm": False, "init": "awake", **options}
    return cls(CHANNELS, inner_channels=INNER, **options).double().eval()


def test_with_a_softmax_over_embeddings_it_is_self_attention(x):
    """One head, no feed-forward layer, no positions: Vaswani et al. 2017, as the paper says."""
    block = block_1d(NonLocalBlock, scale=CHANNELS**-0.5)
    attention = nn.MultiheadAttention(CHANNELS, 1, batch_first=True).double()
    pad = CHANNELS - INNER  # torch's layer has no bottleneck: rows of zeros stand for what is cut

    def matrix(layer):
        return F.pad(layer.weight[:, :, 0], (0, 0, 0, pad))

    embeddings = (block.query, block.key, block.value)
    with torch.no_grad():
        attention.in_proj_weight.copy_(torch.cat([matrix(layer) for layer in embeddings]))
        attention.in_proj_bias.copy_(torch.cat([F.pad(e.bias, (0, pad)) for e in embeddings]))
        attention.out_proj.weight.copy_(F.pad(block.out[0].weight[:, :, 0], (0, pad)))
        attention.out_proj.bias.copy_(block.out[0].bias)
    sequence = x.transpose(1, 2)
    attended, _ = attention(sequence, sequence, sequence, need_weights=False)
    assert (block(x) - x - attended.transpose(1, 2)).abs().max() < 1e-12


def test_with_the_features_themselves_it_is_a_kernel_mean(x):
    """Gaussian f: every position becomes a mean weighted by similarity, as in non-local means."""
    block = block_1d(GaussianNonLocalBlock, scale=0.7)
    features = x[0].T
    distance = torch.cdist(features, features).square()
    # exp(-|a - b|^2 / 2h^2) is exp(a . b / h^2) times factors of a and of b
    kernel = (0.7 * (features @ features.T)).exp()
    of_one = (0.35 * features.square().sum(dim=1)).exp()
    assert torch.allclose(kernel, (-0.35 * distance).exp() * of_one * of_one[:, None])
    value = block.value(x)[0].T
    expected = block.out(((kernel / kernel.sum(dim=1, keepdim=True)) @ value).T[None])
    assert (block(x) - x - expected).abs().max() < 1e-12


def test_with_weights_learned_per_pair_it_is_a_fully_connected_layer_over_positions(x, generator):
    """The paper: f is then a function of i and j, not of what is there."""
    layer = nn.Linear(POSITIONS, POSITIONS, bias=False).double()
    assert (non_local(layer.weight, x[0].T).T - layer(x[0])).abs().max() < 1e-12


def test_with_a_local_kernel_it_is_a_convolution(x):
    """Depthwise: f is fixed, 1 / C = 1, and nonzero only for neighbors j = i + offset."""
    kernel = torch.tensor([0.5, -2.0, 3.0], dtype=torch.float64)
    offset = torch.arange(POSITIONS)[None] - torch.arange(POSITIONS)[:, None]
    f = sum(weight * (offset == at - 1) for at, weight in enumerate(kernel))
    depthwise = F.conv1d(x, kernel.expand(CHANNELS, 1, -1), padding=1, groups=CHANNELS)
    assert (non_local(f, x[0].T).T - depthwise[0]).abs().max() < 1e-12


def test_with_a_g_for_every_offset_it_is_any_convolution(x, generator):
    """A full convolution is a sum of non-local operations: one-hot f, and one g per offset."""
    convolution = nn.Conv1d(CHANNELS, INNER, 3, padding=1, bias=False).double()
    offset = torch.arange(POSITIONS)[None] - torch.arange(POSITIONS)[:, None]
    y = sum(
        non_local((offset == at - 1).double(), x[0].T @ convolution.weight[:, :, at].T)
        for at in range(3)
    )
    assert (y.T - convolution(x)[0]).abs().max() < 1e-12


def test_with_an_adjacency_matrix_it_is_one_step_of_a_graph_convolution(x, generator):
    """Kipf and Welling 2017: D^-1/2 (A + I) D^-1/2 X W; f is the graph's, g is linear."""
    links = torch.rand(POSITIONS, POSITIONS, generator=generator).double() > 0.7
    adjacency = (links | links.T | torch.eye(POSITIONS, dtype=torch.bool)).double()
    degree = adjacency.sum(dim=1)
    weight = torch.randn(CHANNELS, INNER, generator=generator, dtype=torch.float64)
    features = x[0].T

    step = torch.zeros(POSITIONS, INNER, dtype=torch.float64)
    for i, j in adjacency.nonzero().tolist():  # messages along links
        step[i] += features[j] @ weight / (degree[i] * degree[j]).sqrt()

    f = adjacency / (degree[:, None] * degree).sqrt()
    assert (non_local(f, features @ weight) - step).abs().max() < 1e-12


def test_without_a_softmax_it_is_a_linear_map_of_second_moments(x):
    """Dot product: (Q K') V = Q (K' V), linear attention, whose sum over keys is a C x C matrix."""
    block = block_1d(DotProductNonLocalBlock)
    query, key, value = (layer(x)[0].T for layer in (block.query, block.key, block.value))
    moments = sum(torch.outer(k, v) for k, v in zip(key, value, strict=True)) / POSITIONS
    assert (block(x) - x - block.out((query @ moments).T[None])).abs().max() < 1e-12
