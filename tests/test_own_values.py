"""Values of this package's own blocks: what they are, where they go, and the kinds of sinks."""

from dataclasses import replace
from math import isnan, prod

import numpy as np
import pytest
import torch
from networks import tiny_network
from torch import nn
from torch.nn import functional as F

from nonlocal_lens.analysis import degeneracy, terms
from nonlocal_lens.analysis.capture import capture, recording
from nonlocal_lens.analysis.early_exit import observe_blocks
from nonlocal_lens.analysis.own_blocks import record_of
from nonlocal_lens.analysis.record import AttentionRecord
from nonlocal_lens.analysis.some_keys import without_keys
from nonlocal_lens.analysis.tracing.reading import trace
from nonlocal_lens.models.blocks import AttentionBlock, NonLocalBlock
from nonlocal_lens.models.blocks.attention_block import flatten
from nonlocal_lens.models.blocks.released_disentangled import (
    ReleasedDisentangledBlock,
    ReleasedUnaryBlock,
)
from nonlocal_lens.models.networks.architecture import BLOCKS

CHANNELS, SHAPE = 13, (5, 7)
IMAGE_HW = (35, 49)
EVERY = {
    **BLOCKS,
    "released": ReleasedDisentangledBlock,
    "released, thin": lambda *a, **k: ReleasedDisentangledBlock(*a, projects_out=True, **k),
    "released, pairwise": lambda *a, **k: ReleasedDisentangledBlock(*a, unary="none", **k),
    "released, unary": lambda *a, init, **k: ReleasedUnaryBlock(*a, **k),
}


def block_of(kind: str, **options) -> AttentionBlock:
    """Return a block that acts, whose normalization, if it has one, has learned something."""
    torch.manual_seed(3)
    block = EVERY[kind](CHANNELS, init="awake", **options).eval()
    for module in block.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            nn.init.uniform_(module.weight, 0.3, 2.0)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.normal_(module.running_mean)
    return block


def record_in(block: AttentionBlock, x: torch.Tensor) -> AttentionRecord:
    """Return what a run of the block leaves."""
    with torch.no_grad(), recording(block, IMAGE_HW) as records:
        block(x)
    (record,) = records
    return record


def convolved(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Return a convolution of 1 x 1 of a list of vectors, without its bias."""
    return x if isinstance(layer, nn.Identity) else x @ layer.weight.flatten(1).T


def values_by_hand(block: AttentionBlock, x: torch.Tensor) -> torch.Tensor:
    """Return g(x) of every key, and what the next layer makes of it, from the weights alone."""
    pooled = F.max_pool2d(x, 2) if pools(block)[0] else x
    vectors = convolved(block.value, flatten(pooled)[0])
    bias = getattr(block.value, "bias", None)
    vectors = vectors if bias is None else vectors + bias
    if pools(block)[1]:
        grid = vectors.T.unflatten(1, x.shape[2:])[None]
        vectors = flatten(F.max_pool2d(grid, 2))[0]
    return convolved(block.out[0], vectors)


def pools(block: AttentionBlock) -> tuple[bool, bool]:
    return tuple(not isinstance(one, nn.Identity) for one in (block.pool_input, block.pool))


def assert_alike(one: torch.Tensor, other: torch.Tensor) -> None:
    """Hold all lengths and angles of two lists of vectors to be the same."""
    one, other = one.double(), other.double()
    torch.testing.assert_close(one @ one.T, other @ other.T, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", EVERY)
def test_values_are_those_that_the_blocks_own_weights_make(generator, kind):
    block = block_of(kind)
    x = torch.randn(1, CHANNELS, *SHAPE, generator=generator)
    record = record_in(block, x)
    with torch.no_grad():
        by_hand = values_by_hand(block, x)
    assert_alike(record.value, by_hand)
    torch.testing.assert_close(record.value_norm, by_hand.norm(dim=1))
    assert record.value.shape[1] <= block.project(x).value.shape[2]


@pytest.mark.parametrize("kind", ["non_local", "disentangled", "concatenation", "released"])
@pytest.mark.parametrize("order", ["before", "after"])
def test_values_of_pooled_keys_are_pooled_with_them(generator, kind, order):
    options = {} if kind == "released" else {"pool_order": order}
    block = block_of(kind, subsample=True, **options)
    x = torch.randn(1, CHANNELS, *SHAPE, generator=generator)
    record = record_in(block, x)
    assert len(record.value) == len(record.key) == 6
    with torch.no_grad():
        assert_alike(record.value, values_by_hand(block, x))


@pytest.mark.parametrize("kind", ["non_local", "dot_product", "disentangled", "sum", "pairwise"])
@pytest.mark.parametrize("batch_norm", [True, False])
def test_a_block_is_told_the_same_values_as_the_same_computation_of_other_code(
    generator, kind, batch_norm
):
    block = block_of(kind, batch_norm=batch_norm)
    x = torch.randn(1, CHANNELS, *SHAPE, generator=generator)
    with torch.no_grad():
        (traced,) = trace(block, x).records
    record = record_in(block, x)
    assert_alike(record.value, traced.value)
    mine, other = (degeneracy.measure(one, shuffles=False) for one in (record, traced))
    for name in ("sink_value_ratio", "update_stable_rank"):
        assert getattr(mine, name) == pytest.approx(getattr(other, name), rel=1e-4)


@pytest.mark.parametrize("kind", ["space_only", "time_only"])
def test_values_of_a_clip_are_those_of_every_frame(generator, kind):
    block = block_of(kind, dimension=3)
    x = torch.randn(1, CHANNELS, 3, *SHAPE, generator=generator)
    record = record_in(block, x)
    with torch.no_grad():
        assert_alike(record.value, values_by_hand(block, x))


@pytest.mark.parametrize(
    ("dtype", "kept"),
    [
        (torch.float64, torch.float64),
        (torch.float32, torch.float32),
        (torch.bfloat16, torch.float32),
    ],
)
def test_values_are_kept_like_queries_in_single_precision_at_least(generator, dtype, kept):
    block = block_of("disentangled", batch_norm=False).to(dtype)
    x = torch.randn(1, CHANNELS, *SHAPE, generator=generator).to(dtype)
    with torch.no_grad():
        projections = block.project(x)
        record = record_of("b", block, projections, IMAGE_HW)
        by_hand = projections.value[0].to(kept) @ block.out[0].weight.to(kept).flatten(1).T
    assert {record.query.dtype, record.value.dtype, record.value_norm.dtype} == {kept}
    assert_alike(record.value, by_hand)


def test_values_are_in_single_precision_whatever_autocast_says(generator):
    block = block_of("non_local")
    x = torch.randn(1, CHANNELS, *SHAPE, generator=generator)
    with torch.no_grad():
        projections = block.project(x)
        expected = record_of("b", block, projections, IMAGE_HW).value
        with torch.autocast("cpu", dtype=torch.bfloat16):
            assert torch.equal(record_of("b", block, projections, IMAGE_HW).value, expected)


def test_weights_that_changed_make_other_values(generator):
    block = block_of("non_local", batch_norm=False)
    x = torch.randn(1, CHANNELS, *SHAPE, generator=generator)
    before = record_in(block, x).value
    with torch.no_grad():
        block.out[0].weight[:, 1:] *= 5
        assert_alike(record_in(block, x).value, values_by_hand(block, x))
    assert not torch.allclose(before.norm(dim=1), record_in(block, x).value_norm)


@pytest.mark.parametrize("kind", ["kernel", "unknown"])
def test_values_whose_way_out_is_not_known_are_not_said(generator, kind):
    class OtherWay(NonLocalBlock):
        def transforms(self, channels, inner, batch_norm):
            value, _ = super().transforms(channels, inner, batch_norm)
            if kind == "kernel":
                return value, nn.Sequential(nn.Conv2d(inner, channels, 3, padding=1))
            return value, nn.Sequential(nn.Softplus(), nn.Conv2d(inner, channels, 1))

    record = record_in(OtherWay(CHANNELS, init="awake").eval(), torch.randn(1, CHANNELS, *SHAPE))
    assert record.value is None
    assert isnan(degeneracy.measure(record, shuffles=False).update_stable_rank)


AT = 17
SINK, OUTLIER, FIRST = 0, 1, 3
"""Channels of a picture in which a sink is planted: what tells it, what tells one query apart, and
the first of those that values are read from."""


def planted(kind: str, length: float, generator: torch.Generator):
    """Return a block, and an input in which one key takes nearly all attention that it can.

    Args:
        kind: Of the block.
        length: Of the sink's value on its way out; all others have length 1.
        generator: Where values come from.
    """
    block = block_of(kind)
    with torch.no_grad():
        positions = prod(SHAPE)
        x = torch.zeros(positions, CHANNELS)
        x[AT, SINK] = 1
        if kind == "gaussian":  # features are their own queries and keys
            x[:, SINK] = 0.5
            x[AT, SINK] = 60
        for name, layer in (("query", block.query), ("key", block.key), ("mask", block.mask)):
            if layer is None or isinstance(layer, nn.Identity):
                continue
            weight, bias = torch.zeros_like(layer.weight), torch.zeros_like(layer.bias)
            if name == "query" and kind.endswith("pairwise"):  # what all queries share is no query
                x[:, OUTLIER] = 1
                x[0, OUTLIER] = 1 - positions
                weight[0, OUTLIER] = 1
            elif kind == "shared_key":  # queries are keys
                weight[0, SINK], bias[0] = 40, 1
            elif name == "query":
                bias[0] = 1
            else:
                weight[0, SINK] = 40 if name == "mask" else 40 / block.scale
            layer.bias.copy_(bias)
            set_weight(layer, weight)
        if kind == "concatenation":
            half = block.compare.weight.shape[1] // 2
            block.compare.weight.zero_()
            block.compare.weight[0, half] = 1
        width = block.project(x.T.reshape(1, -1, *SHAPE)).value.shape[2]
        width = min(width, CHANNELS - FIRST)
        if not isinstance(block.value, nn.Identity):
            weight = torch.zeros_like(block.value.weight)
            weight[:width, FIRST : FIRST + width] = torch.eye(width)[:, :, None, None]
            set_weight(block.value, weight)
            if block.value.bias is not None:
                block.value.bias.zero_()
        x[:, FIRST : FIRST + width] = torch.randn(positions, width, generator=generator)
        if isinstance(block.value, nn.Identity):  # what tells the sink is no part of what it brings
            block.out[0].weight[:, :FIRST] = 0
        x[:, FIRST:] /= values_by_hand(block, x.T.reshape(1, -1, *SHAPE)).norm(dim=1)[:, None]
        x[AT, FIRST:] *= length
    return block, x.T.reshape(1, -1, *SHAPE).contiguous()


def set_weight(layer: nn.Module, weight: torch.Tensor) -> None:
    """Set a layer's weight, be it parametrized or not."""
    if "weight" not in dict(layer.named_parameters()):
        nn.utils.parametrize.remove_parametrizations(layer, "weight")
    layer.weight.copy_(weight)


@pytest.mark.parametrize("length", [3.0, 0.1, 0.35])
@pytest.mark.parametrize("kind", [kind for kind in EVERY if kind != "time_only"])  # one key each
def test_planted_sinks_of_every_block_are_told_without_an_error(generator, tmp_path, kind, length):
    block, x = planted(kind, length, generator)
    record = record_in(block, x)
    report = degeneracy.measure(record, shuffles=False)
    assert (report.sink, report.sink_cell) == (AT, (2, 3, 0))
    others = len(record.key) - 1
    assert report.sink_value_ratio == pytest.approx(length * (others + 1) / (others + length), 1e-3)
    expected = {3.0: "broadcast", 0.1: "no-operation", 0.35: ""}[length]
    assert report.sink_kind == expected
    place = "The key at x 24, y 18 (row 2, column 3) is a sink: it takes "
    assert report.verdict.count("sink") == report.sink_sentence.startswith(place) == 1
    record.save(tmp_path / "a.safetensors")
    again = degeneracy.measure(AttentionRecord.load(tmp_path / "a.safetensors"), shuffles=False)
    assert (again.sink, again.sink_kind) == (AT, expected)


def test_the_way_out_decides_and_not_the_value_before_it(generator):
    block, x = planted("disentangled", 3.0, generator)
    with torch.no_grad():
        long = block.project(x).value[0, AT]
        weight = block.out[0].weight[:, :, 0, 0]
        weight -= torch.outer(weight @ long, long) / long.square().sum()
    assert degeneracy.measure(record_in(block, x), shuffles=False).sink_kind == "no-operation"


@pytest.mark.parametrize("term", ["pairwise", "unary"])
def test_terms_of_a_disentangled_block_weight_one_set_of_values(generator, term):
    block = block_of("disentangled", batch_norm=False)
    x = torch.randn(1, CHANNELS, *SHAPE, generator=generator)
    record = record_in(block, x)
    with torch.no_grad():
        projections = block.project(x)
        query, key, value, unary, *_ = projections
        weights = unary.softmax(dim=1).expand(len(record.query), -1)
        if term == "pairwise":
            query, key = (one[0] - one[0].mean(dim=0) for one in (query, key))
            weights = (block.scale * query @ key.T).softmax(dim=1)
        by_hand = weights @ value[0] @ block.out[0].weight[:, :, 0, 0].T
    rows = terms.attention(record, range(len(record.query)), term)
    assert_alike(rows @ record.value, by_hand)
    whole = terms.attention(record, range(len(record.query)))
    with torch.no_grad():
        added = block(x)[0] - x[0]
    without_bias = added.flatten(1).T - block.out[0].bias
    assert_alike(whole @ record.value, without_bias)


@pytest.mark.parametrize("kind", ["non_local", "disentangled", "concatenation", "global_context"])
def test_a_pass_that_ends_before_the_block_attends_tells_the_same_kind_of_sink(kind):
    network = tiny_network(kind)
    image = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    (record,) = capture(network, image)
    expected = degeneracy.measure(record, shuffles=False)
    assert expected.sink_value_ratio > 0
    for _ in range(2):  # the second time it is known where its tokens lie
        observed = observe_blocks(network, image, to_the_end=False)
        (unattended,) = observed.vectors.values()
        assert torch.equal(observed.records[0].value, record.value)
        report = degeneracy.measure(observed.records[0], vectors=unattended, shuffles=False)
        assert report.sink_value_ratio == pytest.approx(expected.sink_value_ratio)
        assert report.update_stable_rank == pytest.approx(expected.update_stable_rank, rel=1e-5)
        assert report.sink_kind == expected.sink_kind


def test_values_go_with_their_keys(generator):
    record = record_in(block_of("concatenation"), torch.randn(1, CHANNELS, *SHAPE))
    left = without_keys(record, [0, 3])
    assert torch.equal(left.value, record.value[[1, 2, *range(4, 35)]])


def test_numbers_that_overflow_leave_the_kind_of_a_sink_open(generator):
    record = record_in(block_of("non_local"), torch.randn(1, CHANNELS, *SHAPE, generator=generator))
    report = degeneracy.measure(replace(record, value=record.value * 1e38, value_norm=None))
    assert isnan(report.update_stable_rank)
    assert report.sink_kind == ""
