import pytest
import torch
from published_files import attention_block, biased, drawn
from torch.nn import functional as F

from models import load_network
from models.checkpoints import load_block

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


@pytest.mark.parametrize("whiten", ["none", "channel"])
def test_the_authors_own_block_without_a_mask(write, generator, whiten):
    table = biased("conv_query", INNER, CHANNELS) | biased("conv_key", INNER, CHANNELS)
    table |= {"conv_value.weight": (CHANNELS, CHANNELS, 1, 1), "gamma": (1,)}
    path, t = write(table, "nlm.ctb.")
    x = torch.randn(1, CHANNELS, 5, 7, generator=generator)
    query = F.conv2d(x, t["conv_query.weight"], t["conv_query.bias"]).flatten(2).transpose(1, 2)
    key = F.conv2d(x, t["conv_key.weight"], t["conv_key.bias"]).flatten(2)
    if whiten == "channel":
        query, key = query - query.mean(1, keepdim=True), key - key.mean(2, keepdim=True)
    weights = (query @ key / INNER**0.5 / 0.1).softmax(2)
    value = F.conv2d(x, t["conv_value.weight"]).flatten(2)
    expected = x + t["gamma"] * (value @ weights.transpose(1, 2)).unflatten(2, (5, 7))
    block = load_block(path, whiten=whiten, temperature=0.1)
    torch.testing.assert_close(block(x), expected, rtol=1e-4, atol=1e-5)


def test_a_weight_between_the_terms_is_refused_not_dropped(write):
    table = biased("conv_query", INNER, CHANNELS) | biased("conv_key", INNER, CHANNELS)
    table |= {"conv_value.weight": (CHANNELS, CHANNELS, 1, 1), "gamma": (1,)}
    path, _ = write(table | biased("conv_mask", 1, CHANNELS))
    with pytest.raises(ValueError, match="gamma weighs the pairwise term against the unary one"):
        load_block(path)


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
