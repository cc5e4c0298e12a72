"""Interventions in blocks of other code, against blocks that compute the change themselves."""

import numpy as np
import pytest
import torch
from foreign import CHANNELS, IMAGE, INNER, Stem, drawn
from networks import tiny_network
from torch import nn
from torch.nn import functional as F

from nonlocal_lens.analysis import capture
from nonlocal_lens.analysis.changing import Changing
from nonlocal_lens.analysis.effects import effects
from nonlocal_lens.analysis.interventions import INTERVENTIONS, intervene
from nonlocal_lens.analysis.prepared import prepared

pytestmark = pytest.mark.slow

FOREIGN = ("off", "mean_row", "uniform", "unary_only", "pairwise_only")
CHANGES = FOREIGN[1:]
TOKENS, HEADS = 13, 3
PLACES = 1  # the first token that is one: a class token comes before


def changed(logits, how, normalize, first=0):
    """Return what rows of attention become, given all logits; means are of rows from `first` on."""
    shared = logits[..., first:, :].mean(dim=-2, keepdim=True)
    own = logits - shared
    weights = normalize(logits)
    return {
        "on": weights,
        "mean_row": weights[..., first:, :].mean(dim=-2, keepdim=True).expand_as(weights),
        "uniform": weights.mean(dim=-1, keepdim=True).expand_as(weights),
        "unary_only": normalize(shared - shared.mean(dim=-1, keepdim=True)).expand_as(weights),
        "pairwise_only": normalize(own - own.mean(dim=-1, keepdim=True)),
    }[how]


def softmax(logits):
    return logits.softmax(-1)


class Block(nn.Module):
    """A non-local block with names of others' code, that can change its own attention."""

    how, normal, adds, scale = "on", staticmethod(softmax), True, 1.0
    names = ("theta", "phi", "g", "W")

    def __init__(self):
        super().__init__()
        for name in self.names[:3]:
            self.add_module(name, nn.Conv2d(CHANNELS, INNER, 1))
        self.add_module(self.names[3], self.output_layer())
        self.pool = nn.MaxPool2d(2)

    def output_layer(self):
        return nn.Sequential(nn.Conv2d(INNER, CHANNELS, 1), nn.BatchNorm2d(CHANNELS))

    def forward(self, x):
        theta, phi, g = (self.get_submodule(name)(x).flatten(2) for name in self.names[:3])
        if self.how == "off":
            return x
        weights = changed(self.scale * theta.mT @ phi, self.how, self.normal)
        y = (weights @ g.mT).mT.unflatten(2, x.shape[2:])
        return x + self.get_submodule(self.names[3])(y)


class DotProduct(Block):
    normal = staticmethod(lambda logits: logits / logits.shape[-1])


class MMCV(Block):
    names = ("theta", "phi", "g", "conv_out")
    use_scale, scale = True, INNER**-0.5

    def output_layer(self):
        return nn.Conv2d(INNER, CHANNELS, 1)


class Disentangled(MMCV):
    def __init__(self):
        super().__init__()
        self.conv_mask = nn.Conv2d(CHANNELS, 1, 1)

    def forward(self, x):
        theta, phi, g = (self.get_submodule(name)(x).flatten(2) for name in self.names[:3])
        theta, phi = (side - side.mean(-1, keepdim=True) for side in (theta, phi))
        if self.how == "off":
            return x
        pairwise = (self.scale * theta.mT @ phi).softmax(-1)
        unary = self.conv_mask(x).flatten(2).softmax(-1).expand_as(pairwise)
        weights = {
            "on": pairwise + unary,
            "mean_row": (pairwise + unary).mean(-2, keepdim=True).expand_as(unary),
            "uniform": torch.full_like(unary, 2 / unary.shape[-1]),
            "unary_only": unary,
            "pairwise_only": pairwise,
        }[self.how]
        y = (weights @ g.mT).mT.unflatten(2, x.shape[2:])
        return x + self.conv_out(y)


class Generator(nn.Module):
    """SAGAN's block, with a learned gain and values as wide as its input."""

    how = "on"

    def __init__(self):
        super().__init__()
        self.query_conv, self.key_conv = (nn.Conv2d(CHANNELS, INNER, 1) for _ in range(2))
        self.value_conv = nn.Conv2d(CHANNELS, CHANNELS, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        if self.how == "off":
            return x
        query, key, value = (
            layer(x).flatten(2) for layer in (self.query_conv, self.key_conv, self.value_conv)
        )
        weights = changed(query.mT @ key, self.how, softmax)
        return x + self.gamma * (weights @ value.mT).mT.unflatten(2, x.shape[2:])


class Timm(nn.Module):
    """Attention among all cells and a class token, as timm writes it, in a residual."""

    how = "on"

    def __init__(self):
        super().__init__()
        self.token = nn.Parameter(torch.zeros(1, 1, CHANNELS))
        self.attn = TimmAttention()

    def forward(self, x):
        tokens = torch.cat((self.token.expand(len(x), -1, -1), x.flatten(2).mT), 1)
        if self.how == "off":
            return x
        self.attn.how = self.how
        y = self.attn(tokens)
        y = y[0] if isinstance(y, tuple) else y
        return (tokens + y)[:, 1:].mT.unflatten(2, x.shape[2:])


class TimmAttention(nn.Module):
    how = "on"

    def __init__(self):
        super().__init__()
        self.qkv, self.proj = nn.Linear(CHANNELS, 3 * CHANNELS), nn.Linear(CHANNELS, CHANNELS)
        self.num_heads, self.scale = HEADS, (CHANNELS / HEADS) ** -0.5

    def forward(self, x):
        query, key, value = self.qkv(x).unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
        weights = changed(self.scale * query @ key.mT, self.how, softmax, PLACES)
        return self.proj((weights @ value).transpose(1, 2).flatten(2))


class Multihead(Timm):
    """The same of torch's own attention; changed, it computes with the attention's weights."""

    batch_first = True

    def __init__(self):
        super().__init__()
        self.attn = nn.MultiheadAttention(CHANNELS, HEADS, batch_first=self.batch_first)

    def forward(self, x):
        tokens = torch.cat((self.token.expand(len(x), -1, -1), x.flatten(2).mT), 1)
        if self.how == "off":
            return x
        if self.how == "on":
            given = tokens if self.batch_first else tokens.transpose(0, 1)
            y = self.attn(given, given, given, need_weights=False)[0]
            y = y if self.batch_first else y.transpose(0, 1)
        else:
            packed = F.linear(tokens, self.attn.in_proj_weight, self.attn.in_proj_bias)
            query, key, value = packed.unflatten(2, (3, HEADS, -1)).permute(2, 0, 3, 1, 4)
            scale = (CHANNELS / HEADS) ** -0.5
            weights = changed(scale * query @ key.mT, self.how, softmax, PLACES)
            y = self.attn.out_proj((weights @ value).transpose(1, 2).flatten(2))
        return (tokens + y)[:, 1:].mT.unflatten(2, x.shape[2:])


class SequenceFirst(Multihead):
    batch_first = False


class HuggingFace(Timm):
    """The same with the layers of Hugging Face's models."""

    def __init__(self):
        super().__init__()
        self.attn = HuggingFaceAttention()


class HuggingFaceAttention(nn.Module):
    how = "on"

    def __init__(self):
        super().__init__()
        for name in ("q_proj", "k_proj", "v_proj", "out_proj"):
            self.add_module(name, nn.Linear(CHANNELS, CHANNELS))
        self.num_heads = HEADS

    def forward(self, x):
        query, key, value = (
            self.get_submodule(f"{name}_proj")(x).unflatten(2, (HEADS, -1)).transpose(1, 2)
            for name in "qkv"
        )
        scale = (CHANNELS / HEADS) ** -0.5
        weights = changed(scale * query @ key.mT, self.how, softmax, PLACES)
        return self.out_proj((weights @ value).transpose(1, 2).flatten(2)), None


class Context(nn.Module):
    """GCNet's block as mmcv writes it: one map for all queries."""

    how = "on"

    def __init__(self):
        super().__init__()
        self.conv_mask = nn.Conv2d(CHANNELS, 1, 1)
        self.channel_add_conv = nn.Sequential(
            nn.Conv2d(CHANNELS, 4, 1), nn.LayerNorm([4, 1, 1]), nn.ReLU(), nn.Conv2d(4, CHANNELS, 1)
        )

    def forward(self, x):
        if self.how == "off":
            return x
        weights = self.conv_mask(x).flatten(2).softmax(-1)
        if self.how in ("uniform", "pairwise_only"):
            weights = torch.full_like(weights, 1 / weights.shape[-1])
        context = (weights @ x.flatten(2).mT).mT[..., None]
        return x + self.channel_add_conv(context)


KINDS = [Block, DotProduct, MMCV, Disentangled, Generator, Timm, Multihead, HuggingFace, Context]


def network_of(kind):
    network = nn.Sequential(Stem(kind()), nn.Conv2d(CHANNELS, 11, 1))
    network.image_size = network[0].image_size
    return drawn(network)


@pytest.mark.parametrize("kind", [*KINDS, SequenceFirst])
@pytest.mark.parametrize("how", FOREIGN)
def test_a_changed_block_does_what_it_would_do_by_itself(kind, how):
    network = network_of(kind).double()
    x = prepared(network, IMAGE)[1]
    with torch.no_grad():
        before = network(x)
        with intervene(network, how):
            found = network(x)
        assert torch.equal(network(x), before), "the network comes back"
        network[0].block.how = how
        expected = network(x)
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)
    assert not torch.equal(expected, before) or (kind, how) in [
        (Context, "mean_row"),
        (Context, "unary_only"),
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_changed_image_by_image(kind):
    network = network_of(kind)
    x = torch.randn(2, 3, *network.image_size, generator=torch.manual_seed(1))
    with torch.no_grad(), intervene(network, "pairwise_only"):
        together = network(x)
        alone = torch.cat([network(image) for image in x.split(1)])
    torch.testing.assert_close(together, alone)


def test_effects_of_a_foreign_block_are_those_of_the_case():
    network = network_of(Block)
    network[0].block.W[0].weight.data *= 9
    assert len(capture(network, IMAGE)) == 1
    found = effects(network, IMAGE)
    x = prepared(network, IMAGE)[1]
    with torch.no_grad():
        here = network(x).argmax(1)
        without = network[1](network[0].cells(x) / 4).argmax(1)
    assert found["off"].flipped_share == (here != without).double().mean().item() > 0
    assert all(found[how].mean_kl_nats > 0 for how in INTERVENTIONS if how != "on")


def test_a_block_whose_heads_are_all_turned_off_is_left_out_with_its_output_layer():
    from torchvision.models.vision_transformer import VisionTransformer

    torch.manual_seed(0)
    network = VisionTransformer(56, 8, 1, 3, 24, 48, num_classes=5).eval()
    torch.nn.init.normal_(network.heads[0].weight)
    (layer,) = network.encoder.layers
    torch.nn.init.normal_(layer.self_attention.out_proj.bias)
    x = prepared(network, IMAGE)[1]
    changing = Changing(network, x)
    every = changing.output("off", list(changing.heads))
    two = changing.output("off", list(changing.heads)[:2])
    handle = layer.self_attention.register_forward_hook(lambda *_: (torch.zeros(1, 50, 24), None))
    with torch.no_grad():
        left_out = network(x)
    handle.remove()
    torch.testing.assert_close(every, left_out)
    torch.testing.assert_close(changing.output("off"), left_out)
    assert not torch.allclose(two, left_out)


@pytest.mark.parametrize("kind", ["vit", "swin"])
def test_torchvisions_transformers_are_changed_inside(kind, monkeypatch):
    from torchvision.models.swin_transformer import SwinTransformer
    from torchvision.models.vision_transformer import VisionTransformer

    torch.manual_seed(0)
    if kind == "vit":
        network = VisionTransformer(56, 8, 2, 3, 24, 48, num_classes=5).eval()
        blocks = [layer.self_attention for layer in network.encoder.layers]
    else:
        network = SwinTransformer([4, 4], 24, [2, 2], [3, 3], [7, 7], num_classes=5).eval()
        network.image_size = 56, 56
        blocks = [part.attn for stage in network.features[1::2] for part in stage]
    for parameter in network.parameters():
        parameter.data.uniform_(-0.3, 0.3)
    x = prepared(network, IMAGE)[1]

    def nothing(_module, _inputs, output):
        return (output[0] * 0, None) if isinstance(output, tuple) else output * 0

    with torch.no_grad():
        with intervene(network, "off"):
            found = network(x)
        for block in blocks:
            block.register_forward_hook(nothing)
        torch.testing.assert_close(found, network(x))


def test_windows_keep_their_own_terms(monkeypatch):
    from torchvision.models.swin_transformer import ShiftedWindowAttention

    class Maps(nn.Module):
        image_size = 56, 56

        def __init__(self):
            super().__init__()
            self.cells = nn.Conv2d(3, 24, 4, stride=4)
            self.attn = ShiftedWindowAttention(24, [7, 7], [0, 0], 3)

        def forward(self, x):
            return self.attn(self.cells(x).permute(0, 2, 3, 1))

    network = drawn(Maps())
    x = prepared(network, IMAGE)[1]
    for how in ("unary_only", "pairwise_only"):
        with torch.no_grad():
            with intervene(network, how):
                found = network(x)
            with monkeypatch.context() as patched:
                patched.setattr(F, "softmax", lambda y, dim, how=how, **_: changed(y, how, softmax))
                expected = network(x)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


class Unknown(nn.Module):
    """Normalizes over queries."""

    def __init__(self):
        super().__init__()
        self.theta, self.phi, self.g = (nn.Conv2d(CHANNELS, INNER, 1) for _ in range(3))
        self.W = nn.Conv2d(INNER, CHANNELS, 1)

    def forward(self, x):
        theta, phi, g = (layer(x).flatten(2) for layer in (self.theta, self.phi, self.g))
        return x + self.W(((theta.mT @ phi).softmax(1) @ g.mT).mT.unflatten(2, x.shape[2:]))


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        (Unknown, r"the attention of 0.block .*cannot be changed: its softmax runs over queries"),
    ],
)
def test_what_cannot_be_changed_is_refused_and_never_told_as_nothing(kind, sentence):
    with pytest.raises(ValueError, match=sentence):
        effects(network_of(kind), IMAGE)


def test_a_network_whose_blocks_cannot_be_seen_is_refused():
    class Around(nn.Module):
        image_size = 40, 56

        def __init__(self):
            super().__init__()
            self.kept = tiny_network("non_local")
            self.run = nn.Conv2d(3, 11, 1)

        def forward(self, x):
            return self.run(x)

    with pytest.raises(ValueError, match="none of its attention blocks did so where that can be"):
        effects(Around(), IMAGE)


def test_changes_within_changes_are_the_innermost():
    network = network_of(Block)
    x = prepared(network, IMAGE)[1]
    with torch.no_grad():
        with intervene(network, "uniform"):
            uniform = network(x)
        with intervene(network, "mean_row"):
            outer = network(x)
            with intervene(network, "uniform"):
                assert torch.equal(network(x), uniform)
            assert torch.equal(network(x), outer)


def test_half_precision_is_changed_too():
    network = network_of(Timm)
    single = effects(network, IMAGE)
    for dtype in (torch.bfloat16, torch.float16):
        half = effects(network_of(Timm).to(dtype), IMAGE)
        for how in CHANGES:
            assert half[how].mean_kl_nats == pytest.approx(
                single[how].mean_kl_nats, rel=0.5, abs=2e-2
            )


def test_effects_of_what_is_no_class_scores_are_refused():
    class Encoder(nn.Module):
        image_size = 40, 56

        def __init__(self):
            super().__init__()
            self.inner = tiny_network("non_local")

        def forward(self, x):
            return {"features": self.inner(x)}

    with pytest.raises(ValueError, match="the network gives dict with features, and effects are"):
        effects(Encoder(), IMAGE)
    network = tiny_network("non_local")

    class Wrapped(nn.Module):
        image_size = 40, 56

        def __init__(self):
            super().__init__()
            self.inner = network

        def forward(self, x):
            return {"out": self.inner(x), "aux": None}

    assert effects(Wrapped(), np.asarray(IMAGE))["off"].mean_kl_nats > 0
