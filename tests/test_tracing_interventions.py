"""Changed attention, against networks that are written with the change."""

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from nonlocal_lens.analysis.interventions import intervene
from nonlocal_lens.analysis.tracing.interventions import noise, run_changed, without_key
from nonlocal_lens.models import blocks
from nonlocal_lens.models.blocks.released_disentangled import ReleasedDisentangledBlock

CHANNELS, PLACES = 12, 23


class Heads(nn.Module):
    """Three heads, fused or not, and a way to do something else with the weights."""

    def __init__(self, fused, change=None, mask=None):
        super().__init__()
        torch.manual_seed(3)
        self.qkv, self.out = nn.Linear(CHANNELS, 3 * CHANNELS), nn.Linear(CHANNELS, CHANNELS)
        nn.init.normal_(self.qkv.weight, std=0.5)
        self.fused, self.change, self.mask = fused, change, mask

    def forward(self, x):
        q, k, v = self.qkv(x).unflatten(2, (3, 3, -1)).permute(2, 0, 3, 1, 4)
        if self.fused:
            x = F.scaled_dot_product_attention(q, k, v, attn_mask=self.mask)
        else:
            logits = q @ k.mT * q.shape[-1] ** -0.5
            if self.mask is not None:
                logits = logits.masked_fill(~self.mask, -torch.inf)
            weights = logits.softmax(-1)
            if self.change is not None:
                weights = self.change(weights, logits)
            x = weights @ v
        return self.out(x.transpose(1, 2).flatten(2))


def tokens(seed=0):
    return torch.randn(1, PLACES, CHANNELS, generator=torch.Generator().manual_seed(seed))


def unary(weights, logits):
    return logits.mean(dim=2, keepdim=True).expand_as(logits).softmax(-1)


def pairwise(weights, logits):
    return (logits - logits.mean(dim=2, keepdim=True)).softmax(-1)


def dropped(weights, logits):
    logits = logits.clone()
    logits[..., 5] = -torch.inf
    return logits.softmax(-1)


EXPECTED = {
    "off": lambda weights, _: weights * 0,
    "mean_row": lambda weights, _: weights.mean(dim=2, keepdim=True).expand_as(weights),
    "uniform": lambda weights, _: torch.full_like(weights, 1 / PLACES),
    "unary_only": unary,
    "pairwise_only": pairwise,
    "key 5": dropped,
}


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "written out"])
@pytest.mark.parametrize("how", EXPECTED)
def test_a_change_is_what_a_network_with_it_computes(how, fused):
    change = without_key(5) if how == "key 5" else how
    out = run_changed(Heads(fused), tokens(), how=change)
    own = Heads(False, EXPECTED[how])(tokens()).detach()
    assert torch.allclose(out, own, atol=1e-5)
    assert not torch.allclose(out, Heads(fused)(tokens()), atol=1e-3)


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "written out"])
def test_the_identity_changes_no_bit(fused):
    network = Heads(fused)
    assert torch.equal(run_changed(network, tokens(), how="on"), network(tokens()))
    assert torch.allclose(
        run_changed(network, tokens(), how=lambda rows: rows.own), network(tokens()), atol=1e-6
    )


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "written out"])
def test_one_head_is_changed_and_the_others_stay(fused):
    def change(weights, _):
        weights = weights.clone()
        weights[:, 1] = 1 / PLACES
        return weights

    out = run_changed(Heads(fused), tokens(), how="uniform", where=[("", 1)])
    assert torch.allclose(out, Heads(False, change)(tokens()), atol=1e-5)


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "written out"])
def test_attention_another_image_weights_this_ones_values(fused):
    kept = []
    Heads(False, lambda weights, _: kept.append(weights) or weights)(tokens(1))
    own = Heads(False, lambda *_: kept[0])(tokens())
    out = run_changed(Heads(fused), tokens(), how="another_image", another=tokens(1))
    assert torch.allclose(out, own, atol=1e-5)


@pytest.mark.parametrize("masked", [False, True])
def test_noise_keeps_the_sum_and_the_entropy_of_every_row(masked):
    kept = []
    mask = torch.ones(PLACES, PLACES).tril().bool() if masked else None

    def spy(rows):
        kept.append((rows.own, noise(rows)))
        return kept[-1][1]

    run_changed(Heads(False, mask=mask), tokens(), how=spy)
    own, other = kept[0]
    assert torch.allclose(own.sort().values, other.sort().values)
    assert not torch.allclose(own, other)
    if masked:
        assert (other.triu(1) == 0).all()


@pytest.mark.parametrize("how", ["mean_row", "uniform", "unary_only", "pairwise_only"])
@pytest.mark.parametrize(
    "name",
    [
        "NonLocalBlock",
        "DisentangledNonLocalBlock",
        "PairwiseNonLocalBlock",
        "UnaryNonLocalBlock",
        "released",
    ],
)
def test_our_own_blocks_are_changed_as_by_hand(name, how):
    torch.manual_seed(5)
    if name == "released":
        block = ReleasedDisentangledBlock(CHANNELS).eval()
        for parameter in block.parameters():
            if parameter.numel() == 1:
                nn.init.constant_(parameter, 0.7)
    else:
        block = getattr(blocks, name)(CHANNELS, init="awake").eval()
    x = torch.randn(1, CHANNELS, 5, 7, generator=torch.Generator().manual_seed(1))
    with intervene(block, how), torch.no_grad():
        own = block(x)
    assert torch.allclose(run_changed(block, x, how=how), own, atol=1e-5)


def test_products_without_a_softmax_are_changed_in_both_orders():
    class Products(nn.Module):
        def __init__(self, first):
            super().__init__()
            torch.manual_seed(3)
            self.q, self.k, self.v = (nn.Conv2d(CHANNELS, 6, 1) for _ in range(3))
            self.first = first

        def forward(self, x):
            q, k, v = (layer(x).flatten(2).mT for layer in (self.q, self.k, self.v))
            return (q @ k.mT / 35) @ v if self.first else q @ (k.mT @ (v / 35))

    x = torch.randn(1, CHANNELS, 5, 7, generator=torch.Generator().manual_seed(1))
    outputs = [run_changed(Products(first), x, how="mean_row") for first in (True, False)]
    own = Products(True)(x).mean(dim=1, keepdim=True).expand_as(outputs[0])
    for out in outputs:
        assert torch.allclose(out, own, atol=1e-5)


def test_what_is_unknown_is_refused():
    with pytest.raises(ValueError, match="unknown intervention 'of'; available: on, off,"):
        run_changed(Heads(True), tokens(), how="of")
    with pytest.raises(ValueError, match="unknown block 'x'; available: "):
        run_changed(Heads(True), tokens(), how="off", where=[("x", None)])
    with pytest.raises(ValueError, match="has no attention that can be changed"):
        run_changed(nn.Linear(3, 3), torch.ones(1, 3), how="off")
    with pytest.raises(ValueError, match="another image must be given"):
        run_changed(Heads(False), tokens(), how="another_image")


class WithClass(nn.Module):
    """Patches after a class token, and one block."""

    def __init__(self, fused, change=None):
        super().__init__()
        self.block = Heads(fused, change)
        self.patches = nn.Conv2d(3, CHANNELS, 4, 4)
        self.token = nn.Parameter(torch.full((1, 1, CHANNELS), 3.0))

    def forward(self, x):
        return self.block(torch.cat([self.token, self.patches(x).flatten(2).mT], 1))


def of_places(how):
    """Return the change whose means leave out the query of the class token, written by hand."""

    def change(weights, logits):
        if how == "mean_row":
            return weights[:, :, 1:].mean(dim=2, keepdim=True).expand_as(weights)
        common = logits[:, :, 1:].mean(dim=2, keepdim=True).expand_as(logits)
        if how == "unary_only":
            return common.softmax(-1)
        own = logits - common
        return (own - own.mean(dim=3, keepdim=True)).softmax(-1)

    return change


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "written out"])
@pytest.mark.parametrize("how", ["mean_row", "unary_only", "pairwise_only"])
def test_means_are_over_the_queries_that_are_places(how, fused):
    network, x = WithClass(fused), torch.rand(1, 3, 12, 20)
    by_hand = WithClass(False, of_places(how))
    by_hand.load_state_dict(network.state_dict())
    with torch.no_grad():
        expected = by_hand(x)
    torch.testing.assert_close(run_changed(network, x, how=how), expected, rtol=1e-5, atol=1e-5)
