import pytest
import torch
from published_files import attention_block, biased, drawn
from torch import nn
from torch.nn import functional as F

from nonlocal_lens.analysis import capture, terms
from nonlocal_lens.analysis.capture import record_of
from nonlocal_lens.models import load_network
from nonlocal_lens.models.checkpoints import load_block
from nonlocal_lens.models.preprocess import Preprocess

CHANNELS, INNER = 11, 5
GRID = {1: (13,), 2: (7, 9), 3: (2, 5, 7)}
CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
POOL = {
    1: lambda x: F.max_pool1d(x, 2),
    2: lambda x: F.max_pool2d(x, 2),
    3: lambda x: F.max_pool3d(x, (1, 2, 2)),
}


@pytest.fixture
def write(tmp_path, generator):
    def written(table, prefix=""):
        tensors = drawn(table, generator)
        path = tmp_path / "blocks.pth"
        torch.save({f"{prefix}{name}": tensor for name, tensor in tensors.items()}, path)
        return path, tensors

    return written


def alexhex7(form, dimension=2, subsample=True, normalized=True):
    """The keys of section "Keys per variant" in any dimension: a table of names and shapes."""
    nested = ".0" if subsample else ""
    table = biased(f"g{nested}", INNER, CHANNELS, dimension)
    if form != "gaussian":
        table |= biased("theta", INNER, CHANNELS, dimension)
        table |= biased(f"phi{nested}", INNER, CHANNELS, dimension)
    if form == "concatenation":
        table["concat_project.0.weight"] = (1, 2 * INNER, 1, 1)
    table |= biased("W.0" if normalized else "W", CHANNELS, INNER, dimension)
    if normalized:
        table |= {f"W.1.{part}": (CHANNELS,) for part in ("weight", "bias", "running_mean")}
        table |= {"W.1.running_var": (CHANNELS,), "W.1.num_batches_tracked": ()}
    return table


def alexhex7_forward(x, t, form, dimension, subsample, normalized):
    """The repository's forward as a function of its own names; returns output and weights."""
    nested = ".0" if subsample else ""
    pool = POOL[dimension] if subsample else lambda y: y

    def conv(y, name):
        return CONV[dimension](y, t[f"{name}.weight"], t[f"{name}.bias"])

    def flat(y):
        return y.flatten(2).transpose(1, 2)

    value = flat(pool(conv(x, f"g{nested}")))
    if form == "gaussian":
        query, key = flat(x), flat(pool(x))
    else:
        query, key = flat(conv(x, "theta")), flat(pool(conv(x, f"phi{nested}")))
    if form == "concatenation":
        weight = t["concat_project.0.weight"].flatten()
        first, second = query @ weight[:INNER], key @ weight[INNER:]
        weights = (first[:, :, None] + second[:, None, :]).relu() / key.shape[1]
    else:
        logits = query @ key.transpose(1, 2)
        weights = logits / key.shape[1] if form == "dot_product" else logits.softmax(2)
    y = conv(
        (weights @ value).transpose(1, 2).unflatten(2, x.shape[2:]), "W.0" if normalized else "W"
    )
    if normalized:
        parts = ("running_mean", "running_var", "weight", "bias")
        y = F.batch_norm(y, *(t[f"W.1.{part}"] for part in parts))
    return x + y


@pytest.mark.parametrize("normalized", [True, False])
@pytest.mark.parametrize("subsample", [True, False])
@pytest.mark.parametrize("form", ["non_local", "gaussian", "dot_product", "concatenation"])
def test_alexhex7s_blocks_compute_what_they_did(write, generator, form, subsample, normalized):
    for dimension in (1, 2, 3):
        path, tensors = write(alexhex7(form, dimension, subsample, normalized), "module.")
        x = torch.randn(2, CHANNELS, *GRID[dimension], generator=generator)
        options = {"form": form} if form == "dot_product" else {}
        block = load_block(path, **options)
        expected = alexhex7_forward(x, tensors, form, dimension, subsample, normalized)
        torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-5)
        assert not block.training


def slowfast():
    table = {}
    for name in ("conv_theta", "conv_phi", "conv_g"):
        table |= biased(name, INNER, CHANNELS, 3)
    table |= biased("conv_out", CHANNELS, INNER, 3)
    table |= {f"bn.{part}": (CHANNELS,) for part in ("weight", "bias")}
    table |= {f"bn.{part}": (CHANNELS,) for part in ("running_mean", "running_var")}
    return table


@pytest.mark.parametrize("form", ["non_local", "dot_product"])
def test_slowfasts_blocks_pool_before_and_scale(write, generator, form):
    path, t = write(slowfast(), "s3.pathway0_nonlocal1.")
    x = torch.randn(1, CHANNELS, 2, 5, 7, generator=generator)

    def flat(y, name):
        return F.conv3d(y, t[f"{name}.weight"], t[f"{name}.bias"]).flatten(2)

    pooled = F.max_pool3d(x, (1, 2, 2))
    logits = torch.einsum("nct,ncp->ntp", flat(x, "conv_theta"), flat(pooled, "conv_phi"))
    keys = logits.shape[2]
    weights = (logits * INNER**-0.5).softmax(2) if form == "non_local" else logits / keys
    y = torch.einsum("ntp,ncp->nct", weights, flat(pooled, "conv_g")).unflatten(2, x.shape[2:])
    y = F.conv3d(y, t["conv_out.weight"], t["conv_out.bias"])
    parts = ("running_mean", "running_var", "weight", "bias")
    expected = x + F.batch_norm(y, *(t[f"bn.{part}"] for part in parts))

    block = load_block(path, "s3.pathway0_nonlocal1.", form=form)
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-5)


def released(*, masked=False, thin=False, normalized=False, batches=""):
    """The names of the disentangled block's authors: a table of names and shapes."""
    table = biased("conv_query", INNER, CHANNELS) | biased("conv_key", INNER, CHANNELS)
    table |= {"gamma": (1,), "conv_value.weight": (INNER if thin else CHANNELS, CHANNELS, 1, 1)}
    if thin:
        table |= {"conv_value.bias": (INNER,), "conv_out.weight": (CHANNELS, INNER, 1, 1)}
    if masked:
        table |= biased("conv_mask", 1, CHANNELS)
    parts = ("weight", "bias", "running_mean", "running_var")
    if normalized:
        table |= {f"out_bn.{part}": (CHANNELS,) for part in parts}
    if batches:
        parts = parts if batches == "bn_affine" else parts[2:]
        names = (f"{side}_{batches}" for side in ("query", "key"))
        table |= {f"{name}.{part}": (INNER,) for name in names for part in parts}
    return table


def whitened(x, how, t, side):
    """What the authors' code does to (1, channels, positions), by its `whiten_type`."""
    if how in ("bn", "bn_affine"):
        parts = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(x, *(t.get(f"{side}_{how}.{part}") for part in parts))
    over = {"channel": (2,), "in": (2,), "in_nostd": (2,), "spatial": (1,)}.get(how, (1, 2))
    if how == "none":
        return x
    x = x - x.mean(over, keepdim=True)
    return x / (x.var(over, keepdim=True) + 1e-5).sqrt() if how in ("in", "ln") else x


def released_forward(x, t, how, *, scale, pooled=False, with_unary=False):
    """The authors' forward as a function of their names; returns output and attention."""
    y = F.max_pool2d(x, 2) if pooled else x
    raw, key = (
        F.conv2d(z, t[f"conv_{side}.weight"], t[f"conv_{side}.bias"]).flatten(2)
        for side, z in (("query", x), ("key", y))
    )
    query, key = whitened(raw, how, t, "query"), whitened(key, how, t, "key")
    value = F.conv2d(y, t["conv_value.weight"], t.get("conv_value.bias")).flatten(2)
    weights = t["gamma"] * (scale * query.transpose(1, 2) @ key).softmax(2)
    if "conv_mask.weight" in t:
        mask = F.conv2d(y, t["conv_mask.weight"], t["conv_mask.bias"])
        weights = weights + mask.flatten(2).softmax(2)
    if with_unary:
        mean = raw.mean((1, 2) if how == "ln_nostd" else 2, keepdim=True).expand(-1, INNER, -1)
        weights = weights + (mean.transpose(1, 2) @ key).softmax(2)
    z = (value @ weights.transpose(1, 2)).unflatten(2, x.shape[2:])
    z = F.conv2d(z, t["conv_out.weight"]) if "conv_out.weight" in t else z
    if "out_bn.weight" in t:
        parts = ("running_mean", "running_var", "weight", "bias")
        z = F.batch_norm(z, *(t[f"out_bn.{part}"] for part in parts))
    return x + z, weights[0]


def in_image(block):
    """Put a block behind cells of 8 x 8 pixels."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, CHANNELS, 8, stride=8), block).eval().requires_grad_(False)


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize(
    "how", ["none", "channel", "in_nostd", "in", "spatial", "ln_nostd", "ln", "bn", "bn_affine"]
)
def test_the_authors_own_block_in_every_whitening(write, generator, how, masked):
    batches = how if how.startswith("bn") else ""
    path, t = write(released(masked=masked, batches=batches), "nlm.ctb.")
    t["gamma"].fill_(0.7)
    torch.save(t, path)
    options = {} if batches else {"whiten": how}
    block = load_block(path, "", temperature=0.1, **options)
    x = torch.randn(1, CHANNELS, 6, 7, generator=generator)
    expected, _ = released_forward(x, t, how, scale=INNER**-0.5 / 0.1)
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-5)

    network = in_image(block)
    image = torch.rand(3, 256, 264, generator=generator)
    (record,) = capture(network, image)
    pixels = (image.permute(1, 2, 0) * 255).round().byte().numpy()
    _, weights = released_forward(network[0](Preprocess()(pixels)), t, how, scale=record.scale)
    rows = terms.attention(record, [0, 40, 1055])
    gain = 1 if masked else 0.7  # without a mask there is nothing for it to be weighed against
    torch.testing.assert_close(gain * rows, weights[[0, 40, 1055]], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(rows.sum(1), torch.full((3,), float(record.row_sum)))
    assert record.row_sum == pytest.approx(1.7 if masked else 1)


@pytest.mark.parametrize(
    ("table", "how", "options"),
    [
        (released(masked=True, thin=True, normalized=True), "channel", {"temperature": 0.05}),
        (released(masked=True), "ln_nostd", {"whiten": "ln_nostd", "use_scale": False}),
        (released(masked=True), "channel", {"subsample": True}),
        (released(), "channel", {"with_unary": True}),
        (released(), "ln_nostd", {"with_unary": True, "whiten": "ln_nostd"}),
    ],
)
def test_the_authors_own_block_in_the_configurations_they_trained(
    write, generator, table, how, options
):
    path, t = write(table)
    block = load_block(path, **options)
    x = torch.randn(1, CHANNELS, 6, 8, generator=generator)
    scale = 1 if options.get("use_scale") is False else INNER**-0.5 / options.get("temperature", 1)
    more = {"pooled": "subsample" in options, "with_unary": "with_unary" in options}
    expected, weights = released_forward(x, t, how, scale=scale, **more)
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-5)
    record = record_of("b", block, block.project(x), (48, 64))
    rows = terms.attention(record, range(48))
    torch.testing.assert_close(rows, weights, rtol=1e-4, atol=1e-6)
    assert record.row_sum == pytest.approx(1 + t["gamma"].item())


class Unary(nn.Module):
    """The authors' block without queries and keys, by their names; keeps what it attends to."""

    def __init__(self, *, thin=False, normalized=False, pooled=False, gain=False):
        super().__init__()
        self.conv_value = nn.Conv2d(CHANNELS, INNER if thin else CHANNELS, 1, bias=thin)
        self.conv_out = nn.Conv2d(INNER, CHANNELS, 1, bias=False) if thin else None
        self.out_bn = nn.BatchNorm2d(CHANNELS) if normalized else None
        self.conv_mask = nn.Conv2d(CHANNELS, 1, 1)
        self.downsample = nn.MaxPool2d(2) if pooled else None
        if gain:
            self.gamma = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        pooled = x if self.downsample is None else self.downsample(x)
        self.seen = self.conv_mask(pooled).flatten(2).softmax(2)
        added = (self.conv_value(pooled).flatten(2) @ self.seen.transpose(1, 2)).unsqueeze(3)
        for layer in (self.conv_out, self.out_bn):
            added = added if layer is None else layer(added)
        return x + added


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"gain": True},  # as in the block without weight decay, where it weighs nothing
        {"thin": True, "normalized": True},
        {"pooled": True, "normalized": True},
    ],
)
def test_the_authors_unary_term_alone_is_loaded_and_captured(tmp_path, generator, options):
    theirs = Unary(**options).eval().requires_grad_(False)
    for tensor in theirs.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.1)
    path = tmp_path / "unary.pth"
    torch.save({f"nlm.ctb.{name}": tensor for name, tensor in theirs.state_dict().items()}, path)
    block = load_block(path, subsample="pooled" in options)
    x = torch.randn(2, CHANNELS, 6, 7, generator=generator)
    torch.testing.assert_close(block(x), theirs(x), rtol=1e-5, atol=1e-5)
    image = torch.rand(3, 256, 264, generator=generator)
    for each in (theirs, block):
        (record,) = capture(in_image(each), image)
        assert (record.form, record.coupling) == ("query_independent", "unary")
        assert record.key_grid.shape == ((1, 16, 16) if "pooled" in options else (1, 32, 33))
        torch.testing.assert_close(terms.attention(record, [0, 40])[1], theirs.seen[0, 0])
    with pytest.raises(ValueError, match="have no option 'whiten'; available: subsample"):
        load_block(path, whiten="channel")


def test_an_incomplete_unary_block_is_refused(write):
    path, _ = write({"conv_mask.weight": (1, CHANNELS, 1, 1), "conv_value.bias": (CHANNELS,)})
    with pytest.raises(ValueError, match=r"unary term: conv_value\.weight is missing"):
        load_block(path, "")


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        (released(), {"whiten": "lnnostd"}, "whiten must be one of none, channel, in_nostd"),
        (released(masked=True), {"with_unary": True}, "belongs to blocks without a mask"),
        (released(batches="bn"), {"whiten": "channel"}, "is by batches, so not 'channel'"),
        (released(), {"temperature": 0.0}, r"temperature must be above 0, got 0\.0"),
        (released(), {"with_unary": True, "whiten": "in"}, "must be 'channel' or 'layer'"),
    ],
)
def test_options_that_contradict_the_authors_tensors_are_refused(write, table, options, message):
    with pytest.raises(ValueError, match=message):
        load_block(write(table)[0], **options)


def test_blocks_are_found_wherever_they_stand(write):
    table = {
        f"backbone.layer3.1.context_block.{n}": s for n, s in attention_block("gc_block").items()
    }
    table |= {f"neck.1.refine.{n}": s for n, s in attention_block("nl_block").items()}
    path, _ = write(table)
    context = load_block(path, "backbone.layer3.1.context_block.")
    assert type(context).__name__ == "GlobalContextBlock"
    assert load_block(path, "neck.1.refine.", use_scale=False).scale == 1
    assert load_block(path, "neck.1.refine.").scale == pytest.approx(INNER**-0.5)
    with pytest.raises(ValueError, match=r"2 attention blocks and one of its prefixes must be"):
        load_block(path)
    with pytest.raises(ValueError, match=r"none is 'head\.': 'backbone\.layer3\.1\.context_block"):
        load_block(path, "head.")
    with pytest.raises(ValueError, match="load_block can load its 2 attention blocks alone"):
        load_network(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"scale": 2.0}, "have no option 'scale'; available: form"),
        ({"form": "gaussian"}, "form must be one of non_local, dot_product, got 'gaussian'"),
    ],
)
def test_block_options_that_do_not_fit_are_refused(write, options, message):
    path, _ = write(alexhex7("non_local"))
    with pytest.raises(ValueError, match=message):
        load_block(path, **options)


def test_a_block_that_is_not_whole_is_refused(write):
    table = alexhex7("non_local")
    del table["phi.0.bias"]
    path, _ = write(table | {"g.7.weight": (2,)})
    with pytest.raises(ValueError, match=r"key\.bias is missing; g\.7\.weight is not used"):
        load_block(path)
    with pytest.raises(FileNotFoundError, match="there is no file"):
        load_block("nowhere.pth")
