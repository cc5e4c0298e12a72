import numpy as np
import pytest
import torch
from foreign import CHANNELS, drawn, noise
from oracle import check_places
from torch import nn
from torch.nn import functional as F
from torchvision.models import VisionTransformer

from nonlocal_lens.analysis import adapters, capture, terms
from nonlocal_lens.analysis.capture import observe
from nonlocal_lens.analysis.grid import Cell
from nonlocal_lens.models import load_network
from nonlocal_lens.models.foreign_preprocess import foreign_preprocess

INNER, HEADS = 5, 3


@pytest.fixture
def image():
    return noise(56, 56)


def assert_ends_same(record, seen):
    """Compare the first row, one near it and the last with a module's own."""
    rows = [0, 5, record.query_grid.positions - 1]
    torch.testing.assert_close(terms.attention(record, rows), seen[rows], rtol=1e-5, atol=1e-6)


class Stem(nn.Module):
    """Cells of 8 x 8 pixels, then a block."""

    def __init__(self, block, cin=CHANNELS):
        super().__init__()
        self.cells = nn.Conv2d(3, cin, 8, stride=8)
        self.block = block

    def forward(self, x):
        output = self.block(self.cells(x))
        return output[0] if isinstance(output, tuple) else output


class Tokens(nn.Module):
    """Patches of 8 x 8 pixels and two tokens before them, then self-attention."""

    def __init__(self, attention, **names):
        super().__init__()
        self.image_size = 56
        self.cells = nn.Conv2d(3, CHANNELS, 8, stride=8)
        self.first = nn.Parameter(torch.zeros(1, 2, CHANNELS))
        self.attention = attention

    def forward(self, x):
        patches = self.cells(x).flatten(2).transpose(1, 2)
        output = self.attention(torch.cat((self.first, patches), dim=1))
        return output[0] if isinstance(output, tuple) else output


class TimmLike(nn.Module):
    def __init__(self, normalized):
        super().__init__()
        self.num_heads, self.scale = HEADS, (CHANNELS // HEADS) ** -0.5
        self.qkv, self.proj = nn.Linear(CHANNELS, 3 * CHANNELS), nn.Linear(CHANNELS, CHANNELS)
        norm = nn.LayerNorm(CHANNELS // HEADS) if normalized else nn.Identity()
        self.q_norm = self.k_norm = norm

    def forward(self, x):
        qkv = self.qkv(x).reshape(*x.shape[:2], 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        query, key = self.q_norm(qkv[0]), self.k_norm(qkv[1])
        self.seen = (query @ key.transpose(2, 3) * self.scale).softmax(3)
        y = F.scaled_dot_product_attention(query, key, qkv[2])
        return self.proj(y.transpose(1, 2).flatten(2))


class HuggingFaceLike(nn.Module):
    def __init__(self, version):
        super().__init__()
        self.num_attention_heads = HEADS
        self.names = ("q_proj", "k_proj", "v_proj") if version == 5 else ("query", "key", "value")
        for name in self.names:
            self.add_module(name, nn.Linear(CHANNELS, CHANNELS))
        if version == 5:
            self.scaling = 0.3

    def forward(self, hidden_states, attention_mask=None):
        query, key, value = (
            self.get_submodule(name)(hidden_states).unflatten(2, (HEADS, -1)).transpose(1, 2)
            for name in self.names
        )
        scale = getattr(self, "scaling", query.shape[3] ** -0.5)
        self.seen = (query @ key.transpose(2, 3) * scale).softmax(3)
        return (self.seen @ value).transpose(1, 2).flatten(2)


class ClipLike(HuggingFaceLike):
    """Hugging Face's CLIP: other names for the heads and the scale, and a layer after them."""

    def __init__(self):
        super().__init__(5)
        del self.scaling, self.num_attention_heads
        self.num_heads, self.scale = HEADS, (CHANNELS // HEADS) ** -0.5
        self.out_proj = nn.Linear(CHANNELS, CHANNELS)

    def forward(self, hidden_states, attention_mask=None):
        return self.out_proj(super().forward(hidden_states)), None


class TurnedLike(ClipLike):
    """Hugging Face's DINOv3: queries and keys of patches are turned by angles of their place."""

    def __init__(self):
        super().__init__()
        self.angles = nn.Parameter(torch.zeros(49, CHANNELS // HEADS // 2))

    def __call__(self, x):
        angles = torch.cat((self.angles, self.angles), dim=1)
        return super().__call__(x, position_embeddings=(angles.cos(), angles.sin()))

    def forward(self, hidden_states, position_embeddings):
        query, key, value = (
            self.get_submodule(name)(hidden_states).unflatten(2, (HEADS, -1)).transpose(1, 2)
            for name in self.names
        )
        cosine, sine = position_embeddings
        for side in (query, key):
            patches = side[:, :, 2:].clone()
            first, second = patches.chunk(2, dim=3)
            side[:, :, 2:] = patches * cosine + torch.cat((-second, first), dim=3) * sine
        self.seen = (query @ key.mT * self.scale).softmax(3)
        return self.out_proj((self.seen @ value).transpose(1, 2).flatten(2)), None


class MultiheadLike(nn.MultiheadAttention):
    def __init__(self, **options):
        super().__init__(CHANNELS, HEADS, batch_first=True, **options)

    def forward(self, x):
        self.seen = super().forward(x, x, x, need_weights=True, average_attn_weights=False)[1]
        return super().forward(x, x, x, need_weights=False)[0]


ATTENTIONS = {
    "timm": lambda: TimmLike(False),
    "timm, normalized": lambda: TimmLike(True),
    "Hugging Face 4": lambda: HuggingFaceLike(4),
    "Hugging Face 5": lambda: HuggingFaceLike(5),
    "CLIP": ClipLike,
    "DINOv3": TurnedLike,
}


def patches_first(attention, others=2):
    """Return a head's attention with the tokens that are no patches after those that are."""
    return attention.roll((-others, -others), (0, 1))


@pytest.mark.parametrize("kind", ATTENTIONS)
def test_every_head_of_a_transformer_is_the_modules_own(image, kind):
    network = drawn(Tokens(ATTENTIONS[kind]()))
    records = capture(network, image)
    assert [record.head for record in records] == list(range(HEADS))
    for record in records:
        assert record.block == "attention"
        assert record.query_grid.shape == (1, 7, 7)
        assert record.query_axis.names == ("first 1", "first 2")
        expected = patches_first(network.attention.seen[0, record.head])
        rebuilt = terms.attention(record, range(51))
        torch.testing.assert_close(rebuilt, expected, rtol=1e-5, atol=1e-6)
    check_places(network, image, records)


def test_torchvisions_transformer_is_captured_per_layer_and_head(image):
    torch.manual_seed(0)
    network = VisionTransformer(56, 8, 2, HEADS, CHANNELS, 7).eval()
    seen = []

    def ask(module, args, kwargs, output):
        weights = F.multi_head_attention_forward(
            *(x.transpose(0, 1) for x in args),
            CHANNELS,
            HEADS,
            module.in_proj_weight,
            module.in_proj_bias,
            None,
            None,
            False,
            0.0,
            module.out_proj.weight,
            module.out_proj.bias,
            average_attn_weights=False,
        )[1]
        seen.append(weights[0])

    hooks = [
        layer.self_attention.register_forward_hook(ask, with_kwargs=True)
        for layer in network.encoder.layers
    ]
    with torch.no_grad():
        network(foreign_preprocess(network)(image))
    for hook in hooks:
        hook.remove()
    records = capture(network, image)
    assert [(record.block, record.head) for record in records] == [
        (f"encoder.layers.encoder_layer_{layer}.self_attention", head)
        for layer in range(2)
        for head in range(HEADS)
    ]
    for index, record in enumerate(records):
        expected = patches_first(seen[index // HEADS][index % HEADS], 1)
        rebuilt = terms.attention(record, range(50))
        torch.testing.assert_close(rebuilt, expected, rtol=1e-5, atol=1e-6)


def test_output_with_capture_is_bit_identical_and_no_hook_stays(image):
    network = VisionTransformer(56, 8, 2, HEADS, CHANNELS, 7).eval()
    with torch.no_grad():
        plain = network(foreign_preprocess(network)(image))
    assert torch.equal(observe(network, image).output, plain)
    for module in network.modules():
        assert not module._forward_hooks
        assert not module._forward_pre_hooks


def test_the_fast_path_of_torchs_encoder_is_captured_too(image):
    layer = nn.TransformerEncoderLayer(CHANNELS, HEADS, 7, batch_first=True)
    records = capture(drawn(Tokens(layer)), image)
    assert [record.block for record in records] == ["attention.self_attn"] * HEADS


class MaskedMultihead(nn.MultiheadAttention):
    def __init__(self):
        super().__init__(CHANNELS, HEADS, batch_first=True)

    def __call__(self, x):
        mask = torch.zeros(x.shape[1], x.shape[1])
        return super().__call__(x, x, x, attn_mask=mask)[0]


class Causal(TimmLike):
    """What no attribute tells: each position looks at those before it."""

    def __init__(self):
        super().__init__(False)

    def forward(self, x):
        qkv = self.qkv(x).reshape(*x.shape[:2], 3, HEADS, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(*qkv, is_causal=True)
        return self.proj(y.transpose(1, 2).flatten(2))


class InWindows(nn.Module):
    """Attention inside seven windows of the tokens, one after another."""

    def __init__(self, attention):
        super().__init__()
        self.attention = attention

    def forward(self, x):
        return self.attention(x[:, 2:].unflatten(1, (7, 7)).flatten(0, 1))


class Pooling(nn.Module):
    """One learned query for all tokens, as in SigLIP's last layer."""

    def __init__(self):
        super().__init__()
        self.probe = nn.Parameter(torch.zeros(1, 1, CHANNELS))
        self.pool = nn.MultiheadAttention(CHANNELS, HEADS, batch_first=True)

    def forward(self, x):
        return self.pool(self.probe, x[:, 2:], x[:, 2:])[0]


def test_a_mask_that_hides_nothing_changes_nothing(image):
    assert len(capture(drawn(Tokens(MaskedMultihead())), image)) == HEADS


def test_what_no_attribute_tells_is_read_from_what_is_computed(image):
    network = drawn(Tokens(Causal()))
    records = capture(network, image)
    for record in records:
        rows = terms.attention(record, range(51)).roll((2, 2), (0, 1))
        assert (rows.triu(1) == 0).all()
        torch.testing.assert_close(rows.sum(1), torch.ones(51))


@pytest.mark.parametrize("make", [lambda: TimmLike(False), lambda: HuggingFaceLike(5)])
def test_windows_that_only_the_caller_knows_are_told_by_where_their_tokens_lie(image, make):
    network = drawn(Tokens(InWindows(make())))
    records = capture(network, image)
    assert len(records) == HEADS
    for record in records:
        assert (record.block, record.reach.kind) == ("attention.attention", "row")
        own = torch.block_diag(*network.attention.attention.seen[:, record.head])
        torch.testing.assert_close(terms.attention(record, range(49)), own, rtol=1e-5, atol=1e-6)


def test_a_learned_query_has_a_name_and_its_keys_have_places(image):
    records = capture(drawn(Tokens(Pooling())), image)
    assert len(records) == HEADS
    for record in records:
        assert record.query_axis.names == ("probe",)
        assert record.query_axis.grid is None
        assert record.key_axis.grid.shape == (1, 7, 7)


class NonLocalLike(nn.Module):
    """A block of other code: names, scale, axis and coupling can be chosen."""

    def __init__(self, names, *, scale=1.0, dim=2, pool=False, mask=False, divide=False):
        super().__init__()
        self.names, self.factor, self.dim, self.divide = names, scale, dim, divide
        for name in names[:3]:
            self.add_module(name, nn.Conv2d(CHANNELS, INNER, 1))
        for name, layer in zip(
            names[3:], (nn.Conv2d(INNER, CHANNELS, 1), nn.BatchNorm2d(CHANNELS)), strict=False
        ):
            self.add_module(name, layer)
        if mask:
            self.conv_mask = nn.Conv2d(CHANNELS, 1, 1)
            self.temperature = 0.5
        if pool:
            self.pool = nn.MaxPool2d(2)

    def forward(self, x):
        pooled = self.pool(x) if hasattr(self, "pool") else x
        theta, phi, g = (
            self.get_submodule(name)(y).flatten(2)
            for name, y in zip(self.names, (x, pooled, pooled), strict=False)
        )
        query, key = theta.transpose(1, 2), phi
        if hasattr(self, "conv_mask"):
            query -= query.mean(1, keepdim=True)
            key -= key.mean(2, keepdim=True)
        logits = self.factor * query @ key
        self.seen = logits / key.shape[2] if self.divide else logits.softmax(self.dim)
        if hasattr(self, "conv_mask"):
            self.seen = self.seen + self.conv_mask(x).flatten(2).softmax(2)
        y = (self.seen @ g.transpose(1, 2)).transpose(1, 2).unflatten(2, x.shape[2:])
        for name in self.names[3:]:
            y = self.get_submodule(name)(y)
        return x + y


MMCV = ("theta", "phi", "g", "conv_out")
BLOCKS = {
    "mmcv": NonLocalLike(MMCV, scale=INNER**-0.5),
    "mmaction2": NonLocalLike(MMCV),
    "mmdetection's slip": NonLocalLike(MMCV, scale=INNER**0.5),
    "disentangled": NonLocalLike(MMCV, scale=INNER**-0.5 / 0.5, mask=True),
    "AlexHex7": NonLocalLike(("theta", "phi", "g", "W")),
    "AlexHex7's dot product": NonLocalLike(("theta", "phi", "g", "W"), divide=True),
    "SlowFast": NonLocalLike(
        ("conv_theta", "conv_phi", "conv_g", "conv_out", "bn"), scale=INNER**-0.5, pool=True
    ),
    "timm": NonLocalLike(("t", "p", "g", "z", "norm"), scale=INNER**-0.5),
}


@pytest.mark.parametrize("kind", BLOCKS)
def test_how_a_block_computes_is_proved_by_its_output(image, kind):
    image = np.resize(image, (256, 264, 3))
    network = drawn(Stem(BLOCKS[kind]))
    (record,) = capture(network, image)
    assert record.block == "block"
    assert record.query_grid.shape == (1, 32, 33)
    assert record.key_grid.shape == ((1, 16, 16) if kind == "SlowFast" else (1, 32, 33))
    assert record.coupling == {
        "disentangled": "disentangled",
        "AlexHex7's dot product": "unnormalized",
    }.get(kind, "coupled")
    rows = terms.attention(record, [0, 7, 1055])
    torch.testing.assert_close(rows, network.block.seen[0, [0, 7, 1055]], rtol=1e-5, atol=1e-6)
    check_places(network, image, (record,))


class OtherForm(nn.Module):
    """A block whose logits are no dot product of embeddings, as mmcv and AlexHex7 write it."""

    def __init__(self, form, out):
        super().__init__()
        self.form, self.inter_channels = form, INNER
        self.g = nn.Sequential(nn.Conv2d(CHANNELS, INNER, 1), nn.MaxPool2d(2))
        self.add_module(out, nn.Conv2d(INNER, CHANNELS, 1))
        self.phi: nn.Module = nn.MaxPool2d(2)
        if form == "concatenation":
            self.theta = nn.Conv2d(CHANNELS, INNER, 1)
            self.phi = nn.Sequential(nn.Conv2d(CHANNELS, INNER, 1), nn.MaxPool2d(2))
            project = nn.Conv2d(2 * INNER, 1, 1, bias=out == "W_z")
            self.add_module("W_f" if out == "W_z" else "concat_project", project)

    def forward(self, x):
        key, value = self.phi(x).flatten(2), self.g(x).flatten(2)
        if self.form == "gaussian":
            self.seen = (x.flatten(2).transpose(1, 2) @ key).softmax(2)
        else:
            query = self.theta(x).flatten(2)
            project = self.W_f if hasattr(self, "W_f") else self.concat_project
            pairs = query[..., None].expand(-1, -1, -1, key.shape[2]), key[:, :, None]
            both = torch.cat([pair.expand_as(pairs[0]) for pair in pairs], dim=1)
            self.seen = project(both)[:, 0].relu() / key.shape[2]
        y = (self.seen @ value.transpose(1, 2)).transpose(1, 2).unflatten(2, x.shape[2:])
        return x + list(self.children())[1](y)


@pytest.mark.parametrize(
    ("form", "out"),
    [
        ("gaussian", "W"),
        ("gaussian", "conv_out"),
    ],
)
def test_forms_without_a_dot_product_of_embeddings_are_read(image, form, out):
    network = drawn(Stem(OtherForm(form, out)))
    (record,) = capture(network, image)
    assert record.form == form
    assert record.key_grid.positions < record.query_grid.positions
    assert_ends_same(record, network.block.seen[0])


class GeneratorLike(nn.Module):
    """BigGAN's block: keys and values are pooled by a function, and a gain weighs the output."""

    def __init__(self, names):
        super().__init__()
        self.names, self.gamma = names, nn.Parameter(torch.tensor(0.7))
        widths = (2, 2, INNER)
        for name, width in zip(names, widths, strict=False):
            self.add_module(name, nn.Conv2d(CHANNELS, width, 1, bias=False))
        self.add_module(names[3], nn.Conv2d(INNER, CHANNELS, 1, bias=False))

    def forward(self, x):
        query, key, value = (self.get_submodule(name)(x) for name in self.names[:3])
        key, value = (F.max_pool2d(y, 2).flatten(2) for y in (key, value))
        self.seen = (query.flatten(2).transpose(1, 2) @ key).softmax(2)
        y = (value @ self.seen.transpose(1, 2)).unflatten(2, x.shape[2:])
        return self.gamma * self.get_submodule(self.names[3])(y) + x


class ContextLike(nn.Module):
    """OCNet's block: queries and keys are of one layer, and nothing is added to its output."""

    def __init__(self):
        super().__init__()
        layer = nn.Sequential(nn.Conv2d(CHANNELS, INNER, 1), nn.BatchNorm2d(INNER), nn.ReLU())
        self.f_query = self.f_key = layer
        self.f_value, self.W = nn.Conv2d(CHANNELS, INNER, 1), nn.Conv2d(INNER, CHANNELS, 1)

    def forward(self, x):
        query, key, value = (f(x).flatten(2) for f in (self.f_query, self.f_key, self.f_value))
        self.seen = (INNER**-0.5 * query.transpose(1, 2) @ key).softmax(2)
        return self.W((value @ self.seen.transpose(1, 2)).unflatten(2, x.shape[2:]))


@pytest.mark.parametrize(
    "block",
    [
        GeneratorLike(("theta", "phi", "g", "o")),
        GeneratorLike(tuple(f"snconv1x1_{name}" for name in ("theta", "phi", "g", "o_conv"))),
        ContextLike(),
    ],
    ids=["BigGAN", "Hugging Face's BigGAN", "OCNet"],
)
def test_blocks_that_pool_by_a_function_or_add_nothing_are_read(image, block):
    network = drawn(Stem(block))
    (record,) = capture(network, image)
    assert_ends_same(record, block.seen[0])
    check_places(network, image, (record,), within=1)  # cells are smaller than two pixels


class ProjectLike(nn.Module):
    """mmsegmentation's block for several networks: nothing added, keys may be of elsewhere."""

    def __init__(self, out=None, pooled=False):
        super().__init__()
        self.query_project = nn.Sequential(nn.Conv2d(CHANNELS, INNER, 1), nn.ReLU())
        self.key_project = nn.Sequential(nn.Conv2d(CHANNELS, INNER, 1), nn.ReLU())
        self.value_project = nn.Conv2d(CHANNELS, CHANNELS, 1)
        self.register_module("out_project", None)
        self.key_downsample = nn.AvgPool2d(3) if pooled else None
        self.out = out
        if out is not None:
            setattr(self, out, nn.Conv2d(CHANNELS, CHANNELS, 1))

    def forward(self, x, other=None):
        other = x if other is None else other
        query, key = self.query_project(x).flatten(2).mT, self.key_project(other)
        value = self.value_project(other)
        if self.key_downsample is not None:
            key, value = self.key_downsample(key), self.key_downsample(value)
        self.seen = (INNER**-0.5 * query @ key.flatten(2)).softmax(2)
        y = (self.seen @ value.flatten(2).mT).mT.unflatten(2, x.shape[2:])
        return y if self.out is None else self.get_submodule(self.out)(y)


@pytest.mark.parametrize("out", [None, "out_project", "output_project"])
def test_mmsegmentations_block_without_a_gain_is_read(image, out):
    network = drawn(Stem(ProjectLike(out)))
    (record,) = capture(network, image)
    assert_ends_same(record, network.block.seen[0])


class WithOther(nn.Module):
    """Give a block something else to look at than what it looks from."""

    def __init__(self, make):
        super().__init__()
        self.inner, self.make = ProjectLike("out_project"), make

    def forward(self, x):
        return self.inner(*self.make(x))


@pytest.mark.parametrize(
    ("make", "count"),
    [(lambda x: (x, x + 1), 1), (lambda x: (torch.cat((x, x.flip(3))),), 2)],
)
def test_several_runs_on_the_same_places_are_told_apart(image, make, count):
    network = drawn(Stem(WithOther(make)))
    records = capture(network, image)
    assert [(record.block, record.call) for record in records] == [
        ("block.inner", call) for call in range(count)
    ]
    own = network.block.inner.seen
    assert_ends_same(records[0], own[0])
    if count == 2:
        side = records[0].query_grid.width
        turned = own[1].unflatten(0, (-1, side)).unflatten(2, (-1, side)).flip((1, 3))
        assert_ends_same(records[1], turned.flatten(2).flatten(0, 1))


def test_pooled_keys_lie_in_the_middle_of_what_they_pool(image):
    network = drawn(Stem(ProjectLike(pooled=True)))
    (record,) = capture(network, image)
    middle = record.query_grid.position(Cell(4, 7))
    assert record.key_grid.center(Cell(1, 2)) == record.query_axis.center(middle)
    assert_ends_same(record, network.block.seen[0])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("name", ["streets-base", "streets-gc", "streets-dnl"])
def test_nothing_is_said_of_networks_that_are_read_whole(image, name):
    assert len(capture(load_network(name), image)) == (name != "streets-base")


def test_a_softmax_over_the_wrong_axis_is_reported_as_what_it_is(image):
    network = drawn(Stem(NonLocalLike(MMCV, dim=1)))
    with pytest.warns(UserWarning, match=r"block \(NonLocalLike\).*its softmax runs over queries"):
        assert capture(network, image) == ()


class FoldingLike(nn.Module):
    """PyTorch-Networks' block: half the channels, viewed as if they were all of them."""

    def __init__(self, axis):
        super().__init__()
        self.conv_phi, self.conv_theta, self.conv_g = (
            nn.Conv2d(CHANNELS, CHANNELS // 2, 1, bias=False) for _ in range(3)
        )
        self.softmax = nn.Softmax(dim=axis)
        self.conv_mask = nn.Conv2d(CHANNELS // 2, CHANNELS, 1, bias=False)

    def forward(self, x):
        phi, theta, g = (
            layer(x).contiguous().view(len(x), CHANNELS, -1)
            for layer in (self.conv_phi, self.conv_theta, self.conv_g)
        )
        attended = g @ self.softmax(theta.mT @ phi).mT
        return x + self.conv_mask(attended.reshape(len(x), CHANNELS // 2, *x.shape[2:]))


@pytest.mark.parametrize(
    ("axis", "sentence"),
    [(2, "its channels come from different places"), (1, "its softmax runs over queries")],
)
def test_channels_that_are_folded_wrongly_are_reported_as_what_they_are(axis, sentence):
    picture = np.random.default_rng(0).integers(0, 256, (56, 80, 3), dtype=np.uint8)
    with pytest.warns(UserWarning, match=rf"block \(FoldingLike\) is left out: .*{sentence}"):
        assert capture(drawn(Stem(FoldingLike(axis))), picture) == ()


def test_what_a_block_does_with_its_output_is_no_part_of_its_attention(image):
    class Rolling(NonLocalLike):
        def forward(self, x):
            return super().forward(x).flatten(1).roll(1).unflatten(1, x.shape[1:])

    network = drawn(Stem(Rolling(MMCV)))
    (record,) = capture(network, image)
    assert_ends_same(record, network.block.seen[0])


class SAGANLike(nn.Module):
    def __init__(self):
        super().__init__()
        self.query_conv, self.key_conv = (nn.Conv2d(CHANNELS, 2, 1) for _ in range(2))
        self.value_conv = nn.Conv2d(CHANNELS, CHANNELS, 1)
        self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        query, key = self.query_conv(x).flatten(2).transpose(1, 2), self.key_conv(x).flatten(2)
        attention = (query @ key).softmax(2)
        y = self.value_conv(x).flatten(2) @ attention.transpose(1, 2)
        return self.gamma * y.view(x.shape) + x, attention


@pytest.mark.parametrize("gain", [0.0, 0.7])
def test_blocks_of_generators_are_read_with_and_without_a_gain(image, gain):
    network = drawn(Stem(SAGANLike()))
    with torch.no_grad():
        network.block.gamma.fill_(gain)
    (record,) = capture(network, image)
    assert (record.coupling, record.scale) == ("coupled", 1.0)


@pytest.mark.parametrize("layer", ["conv_attn", "conv_mask"])
def test_the_one_map_of_global_context_is_read(image, layer):
    class Context(nn.Module):
        def __init__(self):
            super().__init__()
            self.add_module(layer, nn.Conv2d(CHANNELS, 1, 1))
            self.channel_add_conv = nn.Conv2d(CHANNELS, CHANNELS, 1)

        def forward(self, x):
            self.seen = self.get_submodule(layer)(x).flatten(2).softmax(2)
            context = (x.flatten(2) @ self.seen.transpose(1, 2)).unsqueeze(3)
            return x + self.channel_add_conv(context)

    network = drawn(Stem(Context()))
    (record,) = capture(network, image)
    assert record.coupling == "unary"
    torch.testing.assert_close(terms.attention(record, [5])[0], network.block.seen[0, 0])


class MyAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.to_query, self.to_key = nn.Linear(CHANNELS, INNER), nn.Linear(CHANNELS, INNER)

    def forward(self, x):
        self.seen = (self.to_query(x) @ self.to_key(x).mT / INNER**0.5).softmax(2)
        return self.seen @ x


def test_the_example_of_register_is_true(image, monkeypatch):
    monkeypatch.setattr(adapters, "ADAPTERS", [])
    example = [
        line.strip()[4:]
        for line in adapters.register.__doc__.splitlines()
        if line.strip().startswith((">>>", "..."))
    ]
    assert len(example) <= 5
    scope = {"register": adapters.register, "Heads": adapters.Heads, "MyAttention": MyAttention}
    exec("\n".join(example), scope)
    network = drawn(Tokens(MyAttention()))
    (record,) = capture(network, image)
    assert record.head is None
    expected = patches_first(network.attention.seen[0])
    torch.testing.assert_close(terms.attention(record, range(51)), expected)
    assert record.proof.error < 1e-5
    assert not torch.nn.modules.module._has_any_global_hook(), "nothing is left behind"


def test_preprocessing_is_what_the_attributes_say():
    network = nn.Identity()
    network.patch_embed = nn.Identity()
    network.patch_embed.img_size = (64, 96)
    network.pretrained_cfg = {"mean": (0.5, 0.5, 0.5), "std": (0.25, 0.5, 0.5)}
    preprocess = foreign_preprocess(network)
    pixels = preprocess(np.full((50, 70, 3), 255, np.uint8))
    assert pixels.shape == (1, 3, 64, 96)
    torch.testing.assert_close(pixels[0, :, 3, 5], torch.tensor([2.0, 1.0, 1.0]))
    assert foreign_preprocess(nn.Identity()).input_hw((360, 480)) == (360, 480)
    network = nn.Identity()
    network.pretrained_cfg = {"input_size": (3, 256, 192), "fixed_input_size": True}
    assert foreign_preprocess(network).input_hw((360, 480)) == (256, 192)
    network.pretrained_cfg["fixed_input_size"] = False
    assert foreign_preprocess(network).input_hw((360, 480)) == (360, 480)
