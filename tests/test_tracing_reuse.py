"""What a network's next run reuses of the last: all that does not depend on values, and no more."""

from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy

import pytest
import torch
from test_tracing_trace import Around, Tokens, picture
from torch import Tensor, nn

from nonlocal_lens.analysis import terms
from nonlocal_lens.analysis.tracing import trace
from nonlocal_lens.analysis.tracing.provenance import Provenance


@pytest.fixture(autouse=True)
def _seeded():
    torch.manual_seed(0)


@pytest.fixture
def ruled(monkeypatch):
    """Return the names of operations whose labels are worked out, as they are."""
    names: list[str] = []
    original = Provenance._labels_of

    def counting(self, step, name):
        names.append(name)
        return original(self, step, name)

    monkeypatch.setattr(Provenance, "_labels_of", counting)
    return names


def same(one, other):
    """Assert that two runs gave the same records."""
    assert torch.equal(one.output, other.output)
    assert len(one.records) == len(other.records) > 0
    for ours, theirs in zip(one.records, other.records, strict=True):
        assert (ours.query_axis, ours.key_axis) == (theirs.query_axis, theirs.key_axis)
        queries = range(len(ours.query))
        assert torch.equal(terms.attention(ours, queries), terms.attention(theirs, queries))
        assert torch.equal(ours.value_norm, theirs.value_norm)
        assert ours.proof == theirs.proof


@pytest.mark.parametrize("network", [Tokens, lambda: Around(lambda x: x)], ids=["tokens", "cells"])
def test_another_run_works_no_label_out_anew_and_gives_the_same(network, ruled):
    network = network().eval()
    first = trace(network, picture())
    assert ruled
    ruled.clear()
    same(trace(network, picture()), first)
    assert not ruled


def test_values_are_those_of_the_run(ruled):
    network = Tokens().eval()
    trace(network, picture(seed=1))
    ruled.clear()
    (after,) = trace(network, picture(seed=2)).records
    assert not ruled
    (alone,) = trace(deepcopy(network), picture(seed=2)).records
    assert torch.equal(after.query, alone.query)
    assert after.proof == alone.proof


def test_a_size_between_others_does_not_matter():
    network = Tokens().eval()
    before = [trace(deepcopy(network), picture(side)) for side in (16, 24, 16)]
    for side, alone in zip((16, 24, 16), before, strict=True):
        same(trace(network, picture(side)), alone)


def test_moves_that_depend_on_values_are_followed_in_every_run():
    orders = iter([torch.arange(16), torch.arange(16).flip(0), torch.randperm(16)[:11]] * 2)
    network = Tokens(lambda x: x[:, next(orders)]).eval()
    alone = [trace(deepcopy(network), picture()) for _ in range(3)]
    for expected in alone:
        same(trace(network, picture()), expected)


def test_what_a_hook_or_a_new_layer_computes_is_seen():
    network = Tokens().eval()
    trace(network, picture())
    network.move = lambda x: x.flip(1)
    alone = trace(deepcopy(network), picture())
    same(trace(network, picture()), alone)
    network.cells = nn.Conv2d(3, 16, 8, stride=4)
    alone = trace(deepcopy(network), picture())
    same(trace(network, picture()), alone)


@pytest.mark.parametrize("how", ["in place", "past torch's count", "another parameter"])
def test_weights_that_changed_between_two_runs_count(how):
    network = Tokens().eval()
    trace(network, picture())
    weight = network.attn.out_proj.weight
    with torch.no_grad():
        if how == "in place":
            weight.mul_(2)
        elif how == "past torch's count":
            weight.data.mul_(2)
        else:
            network.attn.out_proj.weight = nn.Parameter(2 * weight)
    alone = trace(deepcopy(network), picture())
    same(trace(network, picture()), alone)


def test_runs_in_several_threads_do_not_meet():
    network = Tokens().eval()
    alone = [trace(deepcopy(network), picture(side)) for side in (16, 24)]
    with ThreadPoolExecutor(4) as pool:
        runs = list(pool.map(lambda at: trace(network, picture((16, 24)[at % 2])), range(16)))
    for at, run in enumerate(runs):
        same(run, alone[at % 2])


def test_a_run_that_was_broken_off_leaves_nothing_wrong():
    class Failing(Tokens):
        fails = False

        def forward(self, x: Tensor) -> Tensor:
            output = super().forward(x)
            if self.fails:
                raise RuntimeError("mine")
            return output

    network = Failing().eval()
    alone = trace(deepcopy(network), picture())
    trace(network, picture())
    network.fails = True
    with pytest.raises(RuntimeError, match="mine"):
        trace(network, picture(24))
    network.fails = False
    same(trace(network, picture()), alone)
