import numpy as np
import pytest
import torch
from published_files import biased, drawn
from torch.nn import functional as F

from nonlocal_lens.analysis import capture, terms
from nonlocal_lens.models import load_network

WIDTHS, HIDDEN = (4, 6, 5), 7


def table(form, *, subsample=True, normalized=True):
    """The names and shapes of `weights/net.pth`, in other widths."""
    names = {}
    for index, (cin, cout) in enumerate(zip((1, *WIDTHS), WIDTHS, strict=False), 1):
        names |= {f"conv_{index}.0.weight": (cout, cin, 3, 3), f"conv_{index}.0.bias": (cout,)}
        names |= {f"conv_{index}.1.{part}": (cout,) for part in ("weight", "bias")}
        names |= {f"conv_{index}.1.{part}": (cout,) for part in ("running_mean", "running_var")}
        names[f"conv_{index}.1.num_batches_tracked"] = ()
    for index, channels in enumerate(WIDTHS[:2], 1):
        inner, nested = channels // 2, ".0" if subsample else ""
        block = biased(f"g{nested}", inner, channels)
        if form != "gaussian":
            block |= biased("theta", inner, channels) | biased(f"phi{nested}", inner, channels)
        if form == "concatenation":
            block["concat_project.0.weight"] = (1, 2 * inner, 1, 1)
        block |= biased("W.0" if normalized else "W", channels, inner)
        if normalized:
            block |= {f"W.1.{part}": (channels,) for part in ("weight", "bias", "running_mean")}
            block |= {"W.1.running_var": (channels,), "W.1.num_batches_tracked": ()}
        names |= {f"nl_{index}.{name}": shape for name, shape in block.items()}
    names |= {"fc.0.weight": (HIDDEN, WIDTHS[2] * 9), "fc.0.bias": (HIDDEN,)}
    return names | {"fc.3.weight": (10, HIDDEN), "fc.3.bias": (10,)}


def forward(x, t, form):
    """The repository's forward as a function of its own names; returns scores and both maps."""

    def norm(y, name):
        parts = ("running_mean", "running_var", "weight", "bias")
        return F.batch_norm(y, *(t[f"{name}.{part}"] for part in parts))

    def attend(y, name):
        subsample = f"{name}.g.0.weight" in t
        nested = ".0" if subsample else ""
        inner = t[f"{name}.g{nested}.weight"].shape[0]

        def embed(layer):
            return F.conv2d(y, t[f"{name}.{layer}.weight"], t[f"{name}.{layer}.bias"])

        def pool(z):
            return F.max_pool2d(z, 2) if subsample else z

        value = pool(embed(f"g{nested}")).flatten(2).transpose(1, 2)
        if form == "gaussian":
            theta, phi = y.flatten(2).transpose(1, 2), pool(y).flatten(2)
        else:
            theta = embed("theta").flatten(2).transpose(1, 2)
            phi = pool(embed(f"phi{nested}")).flatten(2)
        if form == "concatenation":
            w = t[f"{name}.concat_project.0.weight"].flatten()
            pairs = (theta @ w[:inner])[:, :, None] + (w[inner:] @ phi)[:, None, :]
            weights = pairs.relu() / phi.shape[2]
        else:
            f = theta @ phi
            weights = f / phi.shape[2] if form == "dot_product" else f.softmax(-1)
        z = (weights @ value).transpose(1, 2).unflatten(2, y.shape[2:])
        out = "W.0" if f"{name}.W.0.weight" in t else "W"
        z = F.conv2d(z, t[f"{name}.{out}.weight"], t[f"{name}.{out}.bias"])
        return y + (norm(z, f"{name}.W.1") if out == "W.0" else z), weights[0]

    maps = []
    for index in (1, 2, 3):
        x = F.conv2d(x, t[f"conv_{index}.0.weight"], t[f"conv_{index}.0.bias"], padding=1)
        x = F.max_pool2d(norm(x, f"conv_{index}.1").relu(), 2)
        if index < 3:
            x, weights = attend(x, f"nl_{index}")
            maps.append(weights)
    x = F.linear(x.flatten(1), t["fc.0.weight"], t["fc.0.bias"]).relu()
    return F.linear(x, t["fc.3.weight"], t["fc.3.bias"]), maps


@pytest.fixture
def digit():
    return np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)


@pytest.mark.parametrize("normalized", [True, False])
@pytest.mark.parametrize("subsample", [True, False])
@pytest.mark.parametrize("form", ["non_local", "gaussian", "dot_product", "concatenation"])
def test_the_demonstration_computes_what_it_did(
    tmp_path, generator, digit, form, subsample, normalized
):
    tensors = drawn(table(form, subsample=subsample, normalized=normalized), generator)
    path = tmp_path / "net.pth"
    torch.save({f"module.{name}": tensor for name, tensor in tensors.items()}, path)
    network = load_network(path, **({"form": form} if form == "dot_product" else {}))
    x = network.preprocess(np.repeat(digit[..., None], 3, axis=2))
    assert torch.equal(x[0, 0], torch.from_numpy(digit) / 255)
    expected, maps = forward(x, tensors, form)
    torch.testing.assert_close(network(x), expected, rtol=1e-4, atol=1e-4)
    assert network.classes == tuple("0123456789")

    records = capture(network, digit)
    assert [record.block for record in records] == ["nl_1", "nl_2"]
    assert [record.query_grid.shape for record in records] == [(1, 14, 14), (1, 7, 7)]
    pooled = [(1, 7, 7), (1, 3, 3)] if subsample else [(1, 14, 14), (1, 7, 7)]
    assert [record.key_grid.shape for record in records] == pooled
    for record, weights in zip(records, maps, strict=True):
        rows = terms.attention(record, range(record.query_grid.positions))
        torch.testing.assert_close(rows, weights, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.update({"conv_1.0.weight": torch.ones(4, 3, 3, 3)}), "on gray images"),
        (lambda t: t.update({"fc.0.weight": torch.ones(7, 20)}), "5 x 3 x 3 = 45 .* got 20"),
        (lambda t: t.pop("nl_2.theta.bias"), r"nl_2\.query\.bias is missing"),
        (lambda t: t.pop("fc.3.weight"), r"fc\.3\.weight is missing"),
        (lambda t: t["nl_1.W.1.weight"].fill_(float("inf")), r"nl_1\.W\.1\.weight holds NaN"),
    ],
)
def test_what_does_not_fit_is_said(tmp_path, generator, change, message):
    tensors = drawn(table("non_local"), generator)
    change(tensors)
    torch.save(tensors, tmp_path / "net.pth")
    with pytest.raises(ValueError, match=message):
        load_network(tmp_path / "net.pth")
