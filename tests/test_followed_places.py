"""Where tokens lie is followed from the pixels: each at its own place, or its block is refused."""

import re
import warnings

import numpy as np
import pytest
import torch
from foreign import drawn, noise
from oracle import check_places, check_weights
from torch import nn

from nonlocal_lens.analysis import adapters, capture, terms
from nonlocal_lens.analysis.capture import recording
from nonlocal_lens.analysis.prepared import prepared
from nonlocal_lens.models.blocks import NonLocalBlock
from nonlocal_lens.models.preprocess import Preprocess

pytestmark = pytest.mark.slow

WIDTH = 24


class Patches(nn.Module):
    """Patches, what becomes of them, and attention by torch's own module."""

    def __init__(self, size, patch, change=lambda x: x, attention=None, *, times=1):
        super().__init__()
        self.image_size = size
        self.cells = nn.Conv2d(3, WIDTH, patch, stride=patch)
        self.change, self.times = change, times
        self.attn = attention or nn.MultiheadAttention(WIDTH, 3, batch_first=True)
        self.others = nn.Parameter(torch.rand(1, 3, WIDTH))

    def forward(self, x):
        x = self.change(self.cells(x).flatten(2).mT)
        for _ in range(self.times):
            x = x + self.attn(x, x, x)[0]
        return x


def refused(network, image, sentence):
    with pytest.warns(UserWarning, match=re.escape(sentence)) as caught:
        assert capture(network, image) == ()
    assert len(caught) == 1


def read(network, image):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        return capture(network, image)


@pytest.mark.parametrize(
    ("size", "patch", "cells"),
    [((56, 56), (14, 4), (4, 14)), ((32, 96), (32, 2), (1, 48)), ((24, 120), (4, 20), (6, 6))],
    ids=str,
)
def test_patches_need_not_be_square(size, patch, cells):
    network, image = drawn(Patches(size, patch)), noise(*size)
    records = read(network, image)
    assert records[0].query_grid.shape[1:] == cells
    check_places(network, image, records)
    check_weights(network, image, records)


@pytest.mark.parametrize("seed", range(3))
def test_attention_that_is_nearly_uniform_is_read(seed):
    """All places of a black picture are alike: what attention adds is less than rounding."""
    network = Patches((32, 96), (8, 2))
    torch.manual_seed(seed)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.02)
    records = read(network.eval(), np.zeros((32, 96, 3), np.uint8))
    assert records[0].query_grid.shape == (1, 4, 48)


@pytest.mark.parametrize(
    ("change", "placed"),
    [
        (lambda net, x: torch.cat((net.others[:, :1], x), 1), range(1, 36)),
        (lambda net, x: torch.cat((net.others[:, :1], x, net.others[:, 1:]), 1), range(1, 36)),
        (lambda net, x: torch.cat((x, net.others), 1), range(35)),
        (
            lambda net, x: torch.cat((x[:, :9], net.others, x[:, 9:]), 1),
            [*range(9), *range(12, 38)],
        ),
    ],
    ids=["class", "class, prompts after", "after", "between"],
)
def test_tokens_that_are_no_places_follow_those_that_are_wherever_they_stand(change, placed):
    network, image = Patches((40, 56), 8), noise(40, 56)
    network.change = lambda x: change(network, x)
    network = drawn(network)
    records = read(network, image)
    assert records[0].query_grid.shape == (1, 5, 7)
    check_places(network, image, records)
    check_weights(network, image, records, placed=list(placed))


def test_shuffled_places_come_back_into_their_order():
    order = torch.randperm(35, generator=torch.Generator().manual_seed(1))
    network, image = drawn(Patches((40, 56), 8, lambda x: x[:, order])), noise(40, 56)
    records = read(network, image)
    check_places(network, image, records)
    check_weights(network, image, records, placed=order.argsort().tolist())


def mean_of_pairs(x):
    """Merge tokens 3 and 20 as token merging does, into the second."""
    target = x[:, 20:21].scatter_reduce(
        1, torch.zeros(1, 1, WIDTH).long(), x[:, 3:4], "mean", include_self=True
    )
    return torch.cat((x[:, :3], x[:, 4:20], target, x[:, 21:]), 1)


SOME = torch.randperm(35, generator=torch.Generator().manual_seed(2))[:12]


@pytest.mark.parametrize("kept", [SOME, torch.arange(9, 35), torch.arange(14, 35)], ids=len)
def test_places_that_are_left_keep_where_they_were(kept):
    network, image = drawn(Patches((40, 56), 8, lambda x: x[:, kept])), noise(40, 56)
    records = read(network, image)
    axis = records[0].query_axis
    found = [axis.center(token) for token in range(axis.placed)]
    assert found == [(8 * (i % 7) + 4, 8 * (i // 7) + 4) for i in sorted(kept.tolist())]
    check_weights(network, image, records, placed=kept.argsort().tolist())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (mean_of_pairs, "merged tokens"),
        (lambda x: torch.cat((x, x[:, :1]), 1), "several of its tokens have the same place"),
        (lambda x: (x + x.flip(1)) / 2, "joined places apart"),
        (lambda x: torch.fft.fft(x, dim=1).real, "`_fft_r2c`"),
        (lambda x: torch.cat((x.mean(1, keepdim=True), x), 1), "mixed all places"),
    ],
)
def test_tokens_whose_places_were_mixed_are_refused(change, sentence):
    refused(drawn(Patches((40, 56), 8, change)), noise(40, 56), sentence)


def test_queries_that_are_no_places_have_names():
    class Objects(nn.Module):
        image_size = (40, 56)

        def __init__(self):
            super().__init__()
            self.cells = nn.Conv2d(3, WIDTH, 8, stride=8)
            self.transformer = nn.Transformer(WIDTH, 3, 1, 1, 32)
            self.objects = nn.Parameter(torch.rand(50, 1, WIDTH))

        def forward(self, x):
            return self.transformer(self.cells(x).flatten(2).permute(2, 0, 1), self.objects)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch, on the order of its sides
        network = Objects().eval()
    *own, cross = read(network, noise(40, 56))[::3]
    assert [r.block.removeprefix("transformer.") for r in (*own, cross)] == [
        "encoder.layers.0.self_attn",
        "decoder.layers.0.self_attn",
        "decoder.layers.0.multihead_attn",
    ]
    assert own[0].query_grid.shape == cross.key_grid.shape == (1, 5, 7)
    assert cross.query_axis.names[49] == "objects 50"


def test_attention_along_rows_is_told_as_that():
    class Rows(Patches):
        def forward(self, x):
            x = self.cells(x).permute(0, 2, 3, 1).flatten(0, 1)
            return self.attn(x, x, x)[0]

    (record, *_) = read(drawn(Rows((40, 56), 8)), noise(40, 56))
    assert (record.query_grid.shape, record.reach.kind) == ((1, 5, 7), "row")


@pytest.mark.parametrize("hidden", [False, True])
def test_a_padding_mask_hides_what_it_says(hidden):
    class Masked(Patches):
        def forward(self, x):
            x = self.cells(x).flatten(2).mT
            mask = torch.zeros(1, 35, dtype=torch.bool)
            mask[0, 34] = hidden
            return self.attn(x, x, x, key_padding_mask=mask)[0]

    network, image = drawn(Masked((40, 56), 8)), noise(40, 56)
    records = read(network, image)
    check_weights(network, image, records)
    assert (terms.attention(records[0], range(35))[:, 34] == 0).all() == hidden


class Other(nn.MultiheadAttention):
    """Torch's attention with something of its own."""

    def __init__(self, change):
        super().__init__(WIDTH, 3, batch_first=True)
        self.change = change

    def forward(self, q, k, v, **_):
        return super().forward(*self.change(q, k, v)[:3], **self.change(q, k, v)[3])


@pytest.mark.parametrize(
    "change",
    [
        lambda q, k, v: (q, k, v, {"attn_mask": -torch.cdist(torch.arange(35.0)[:, None],
                                                            torch.arange(35.0)[:, None])}),
        lambda q, k, v: (q, 1.5 * k, v, {}),
        lambda q, k, v: (q, k, v.roll(1, 1), {}),
        lambda q, k, v: (1.002 * q, k, v, {}),
    ],
    ids=["near", "keys", "values", "a little"],
)  # fmt: skip
def test_classes_that_compute_something_else_are_read_as_what_they_compute(change):
    network = drawn(Patches((40, 56), 8, attention=Other(change)))
    with torch.no_grad():
        network.attn.in_proj_bias[2 * WIDTH :] = 3.0  # values are nearly alike
    image = noise(40, 56)
    check_weights(network, image, read(network, image))


def test_an_own_class_that_computes_the_same_is_read():
    network = drawn(Patches((40, 56), 8, attention=Other(lambda q, k, v: (q, k, v, {}))))
    check_weights(network, noise(40, 56), read(network, noise(40, 56)))


class Convolved(nn.Module):
    """A block after a convolution, on what is made of its features."""

    preprocess = Preprocess(stride=1, long_side=(8, 64))

    def __init__(self, layer, run):
        super().__init__()
        self.head, self.block, self.run = layer, NonLocalBlock(8, init="awake"), run

    def forward(self, x):
        return self.run(self.block, self.head(x))


def quarters(block, x):
    return [block(part) for half in x.chunk(2, 2) for part in half.chunk(2, 3)]


@pytest.mark.parametrize(
    ("run", "bounds"),
    [
        (quarters, [(0, 0, 15, 16), (15, 0, 30, 16), (0, 16, 15, 32), (15, 16, 30, 32)]),
        (lambda block, x: (block(x), block(x.flip(3))), [(0, 0, 30, 32)] * 2),
        (
            lambda block, x: [block(part) for part in x.chunk(3, 2)],
            [(0, 0, 30, 11), (0, 11, 30, 22), (0, 22, 30, 32)],
        ),
        (
            lambda block, x: (block(x), block(x[:, :, 2:-2, 2:-2])),
            [(0, 0, 30, 32), (2, 2, 28, 30)],
        ),
    ],
    ids=["quarters", "flips", "tiles", "crops"],
)
def test_a_block_on_several_parts_gives_each_run_its_place(run, bounds):
    network = Convolved(nn.Conv2d(3, 8, 1), run).eval()
    records = read(network, noise(32, 30))
    assert [(r.call, r.query_grid.bounds) for r in records] == list(enumerate(bounds))


def test_a_block_that_is_given_noise_is_refused():
    def run(block, x):
        return block(x), block(torch.rand_like(x))

    network = Convolved(nn.Conv2d(3, 8, 1), run).eval()
    with pytest.warns(UserWarning, match=r"block \(NonLocalBlock\) is left out: .* no input"):
        assert len(capture(network, noise(32, 30))) == 1


def test_a_block_that_runs_again_on_the_same_places_is_read_each_time():
    network = Convolved(nn.Conv2d(3, 8, 1), lambda block, x: block(block(x))).eval()
    assert len(read(network, noise(32, 30))) == 2


@pytest.mark.parametrize(
    ("layer", "run", "first", "step"),
    [
        (nn.Conv2d(3, 8, 5), lambda block, x: block(x), (2.5, 2.5), 1),
        (nn.Conv2d(3, 8, 7, 7), lambda block, x: block(x), (3.5, 3.5), 7),
        (nn.Conv2d(3, 8, 4, 4), lambda block, x: block(x[:, :, 1:, 2:]), (10, 6), 4),
        (nn.Conv2d(3, 8, 2, 2), lambda block, x: block(x[:, :, ::3, 1::3]), (3, 1), 6),
        (nn.Conv2d(3, 8, 2, 2), lambda block, x: block(x.flip(2)), (1, 1), 2),
        (nn.Conv2d(3, 8, 5, 4), lambda block, x: block(nn.functional.pad(x, (1, 1, 1, 1))),
         (2.5, 2.5), 4),
    ],
    ids=["no padding", "a remainder", "a crop", "every third", "mirrored", "padded"],
)  # fmt: skip
def test_cells_lie_where_they_are(layer, run, first, step):
    network, image = Convolved(layer, run).eval(), noise(37, 41)
    (record,) = read(network, image)
    grid = record.query_grid
    assert grid.center(grid.cell(0)) == pytest.approx(first)
    assert (grid.cell_height, grid.cell_width) == pytest.approx((step, step))
    if min(first) > 0:
        overlap = layer.kernel_size[0] > layer.stride[0]
        check_places(network, image, (record,), within=2 if overlap else 0)


def test_a_block_on_a_part_alone_covers_no_pixel_beside_it():
    network = Convolved(nn.Conv2d(3, 8, 1), lambda block, x: block(x[:, :, 16:, 15:])).eval()
    (record,) = read(network, noise(32, 30))
    grid = record.query_grid
    assert grid.cell_at(x=15, y=16) == (0, 0, 0)
    assert grid.cell_at(x=29.5, y=31.5) == (15, 14, 0)
    for x, y in ((14.9, 20), (20, 15.9), (0, 0)):
        with pytest.raises(ValueError, match="under no cell"):
            grid.cell_at(x=x, y=y)


class Around(nn.Module):
    image_size = (40, 56)

    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return self.inner(x)


def test_compiled_networks_are_run_as_they_are_written():
    image, network = noise(40, 56), drawn(Patches((40, 56), 8))
    expected = capture(network, image)
    compiled = torch.compile(network, backend="eager")
    inside = Around(torch.compile(network, backend="eager"))
    for each in (compiled, inside):
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            each(prepared(network, image)[1])
        for record, own in zip(read(each, image), expected, strict=True):
            assert torch.equal(record.query, own.query)


def scripted(network, x):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.trace(network, x, check_trace=False)


def rewritten(network, _x):
    return torch.fx.symbolic_trace(network)


class Plain(nn.Module):
    """What fx can follow: attention written out."""

    def __init__(self):
        super().__init__()
        self.query, self.key, self.value = (nn.Conv2d(3, 3, 1) for _ in range(3))

    def forward(self, x):
        weights = (self.query(x).flatten(2).mT @ self.key(x).flatten(2)).softmax(2)
        return self.value(x).flatten(2) @ weights.mT


@pytest.mark.parametrize("how", [scripted, rewritten])
def test_what_runs_without_its_modules_is_read(how):
    preprocess = Preprocess(stride=1, long_side=(8, 64))
    network = nn.Sequential(Plain()).eval()
    network = how(network, torch.rand(1, 3, 8, 9))
    network.preprocess = preprocess
    (record,) = read(network, noise(8, 9))
    assert record.query_grid.shape == (1, 8, 9)


def test_a_reader_that_raises_takes_nothing_down(monkeypatch):
    class Broken(nn.Module):
        def forward(self, x):
            return x

    def reader(module, call):
        raise KeyError("gone")

    def recognizes(module):
        if isinstance(module, Broken):
            return True
        raise AttributeError("no such thing")

    monkeypatch.setattr(adapters, "ADAPTERS", [(recognizes, reader)])
    network = Convolved(nn.Sequential(nn.Conv2d(3, 8, 1), Broken()), lambda block, x: block(x))
    with pytest.warns(UserWarning, match=r"head.1 \(Broken\) is left out: .* KeyError: 'gone'"):
        assert len(capture(network.eval(), noise(8, 9))) == 1


class TwoInputs(nn.Module):
    def __init__(self):
        super().__init__()
        self.vision_model = Patches((40, 56), 8)

    def forward(self, pixels, words):
        return self.vision_model(pixels)


class Pathways(nn.Module):
    def forward(self, x):
        assert isinstance(x, list)


@pytest.mark.parametrize(
    ("network", "sentence"),
    [
        (
            TwoInputs(),
            r"missing 1 required positional argument: 'words'.*`vision_model` \(Patches\)",
        ),
        (Pathways(), "does not run on one picture of 3 x .*AssertionError.* inside nonlocal_lens"),
    ],
)
def test_what_takes_more_than_a_picture_is_told_the_way(network, sentence):
    with pytest.raises(ValueError, match=sentence):
        capture(network.eval(), noise(40, 56))


class Gained(nn.Module):
    """AlexHex7's block with a dot product, as before training: its last gain is 0."""

    def __init__(self, weigh):
        super().__init__()
        self.theta, self.phi, self.g = (nn.Conv2d(8, 4, 1) for _ in range(3))
        self.W, self.weigh = nn.Sequential(nn.Conv2d(4, 8, 1), nn.BatchNorm2d(8)), weigh
        nn.init.zeros_(self.W[1].weight)

    def forward(self, x):
        theta, phi, g = (layer(x).flatten(2) for layer in (self.theta, self.phi, self.g))
        self.seen = self.weigh(theta.mT @ phi)
        return x + self.W((g @ self.seen.mT).unflatten(2, x.shape[2:]))


@pytest.mark.parametrize(
    ("weigh", "coupling"),
    [
        (lambda s: s / s.shape[2], "unnormalized"),
        (lambda s: s.softmax(2), "coupled"),
        (lambda s: (s / 2).softmax(2), "coupled"),
    ],
)
def test_a_block_that_adds_nothing_yet_is_told_by_what_it_computes(weigh, coupling):
    network = nn.Sequential(nn.Conv2d(3, 8, 8, 8), Gained(weigh)).eval()
    network.image_size = (40, 56)
    (record,) = read(network, noise(40, 56))
    assert record.coupling == coupling
    torch.testing.assert_close(
        terms.attention(record, range(35)), network[1].seen[0], rtol=1e-4, atol=1e-6
    )


def test_the_picture_is_the_first_of_a_batch_wherever_it_goes():
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.head, self.block = nn.Conv2d(3, 8, 1), NonLocalBlock(8)

        def forward(self, x):
            return self.block(self.head(x).flip(0))

    network, x = Pair().eval(), torch.rand(2, 3, 8, 9)
    with torch.no_grad(), recording(network, (8, 9)) as records:
        network(x)
    (record,) = records
    torch.testing.assert_close(record.query, network.block.project(network.head(x)).query[0])


def test_dinov2_of_another_size_has_its_patches_where_they_are():
    transformers = pytest.importorskip("transformers")
    options = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 3, "mlp_ratio": 1}
    config = transformers.Dinov2WithRegistersConfig(image_size=74, patch_size=14, **options)
    torch.manual_seed(0)
    network = transformers.Dinov2WithRegistersModel(config).eval()
    image = np.random.default_rng(0).integers(0, 256, (74, 74, 3), dtype=np.uint8)
    records = read(network, image)
    grid = records[0].query_grid
    assert grid.shape == (1, 5, 5)
    assert grid.center(grid.cell(24)) == (63.0, 63.0)
    check_places(network, image, records, blocks={r.block for r in records})


def test_the_dropped_and_shuffled_patches_of_autoencoders_lie_where_they_came_from():
    transformers = pytest.importorskip("transformers")
    options = {"hidden_size": 24, "num_hidden_layers": 1, "num_attention_heads": 3}
    config = transformers.ViTMAEConfig(image_size=56, patch_size=8, intermediate_size=24, **options)
    network = transformers.ViTMAEModel(config).eval()
    record = read(network, np.zeros((56, 56, 3), np.uint8))[0]
    assert record.query_axis.grid.shape == (1, 7, 7)
    assert record.query_axis.placed == 12
    assert record.query_axis.names == ("class",)
