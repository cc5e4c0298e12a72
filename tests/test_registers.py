"""What is told of registers: layer by layer, against sums over the whole matrices."""

from functools import partial

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from nonlocal_lens.analysis import consistency, registers
from nonlocal_lens.analysis.registers import TITLES, Measured, OfLayer, layer_table, of_layer
from nonlocal_lens.analysis.token_norms import token_norms
from nonlocal_lens.models.checkpoint import save_network
from nonlocal_lens.models.training import data
from nonlocal_lens.streets import render_scene
from nonlocal_lens.streets.classes import STREET_CLASSES
from tests.networks import tiny_transformer, tiny_transformer_architecture

IMAGE = np.random.default_rng(0).integers(0, 256, (256, 264, 3), dtype=np.uint8)
LABELS = np.repeat(np.arange(2, dtype=np.uint8), (128, 128))[:, None].repeat(
    264, axis=1
)  # above 0, below 1


def layers_of(network):
    heads = token_norms(network, IMAGE)
    return [[one for one in heads if f"layers.{layer}." in one.record.block] for layer in (0, 1)]


@pytest.mark.parametrize("count", [0, 3])
def test_a_layer_is_what_its_matrices_and_tokens_say(count):
    network = tiny_transformer(count)
    residual, qkv = [], []
    for layer in network.backbone.layers:
        layer.norm1.register_forward_pre_hook(lambda _, inputs: residual.append(inputs[0][0]))
        layer.attention.qkv.register_forward_hook(lambda _, inputs, output: qkv.append(output[0]))
    network(network.preprocess(IMAGE))
    top = (torch.arange(32 * 33) < 16 * 33).double()
    for number, heads in enumerate(layers_of(network)):
        found = of_layer(heads, LABELS, 3)
        query, key, _ = qkv[number].double().unflatten(1, (3, 3, 4)).permute(1, 2, 0, 3)
        weights = (query @ key.mT / 2).softmax(dim=2)[:, 1 + count :]  # of patches
        mean = weights.mean(dim=1)
        assert found.sink_share == pytest.approx(mean.amax(dim=1).mean().item(), rel=1e-4)
        assert found.sink_rate == pytest.approx((mean.amax(dim=1) >= 0.3).double().mean().item())
        beside = mean[:, : 1 + count].sum(dim=1).mean().item()
        assert found.token_share == pytest.approx(beside, rel=1e-4)
        lengths = residual[number].norm(dim=1)[1 + count :]
        longest = (lengths.max() / lengths.quantile(0.5)).item()
        assert found.longest == pytest.approx(longest, rel=1e-4)
        among = weights[:, :, 1 + count :]
        among = among / among.sum(dim=2, keepdim=True)
        own = among @ top * top + (1 - among @ top) * (1 - top)
        assert found.own_category == pytest.approx(own.mean().item() / 0.5, rel=1e-4)
        lifts = [consistency.measure(head.record, LABELS).own_category.lift for head in heads]
        assert found.own_category == pytest.approx(np.mean(lifts), rel=1e-6)


def test_a_token_that_every_head_looks_at_is_a_sink():
    network = tiny_transformer()
    attention = network.backbone.layers[1].attention
    with torch.no_grad():
        network.backbone.class_token.fill_(1).mul_(torch.arange(12) - 5.5)
        attention.qkv.weight.zero_()
        attention.qkv.bias[:12] = 1  # every query is the same, and the class token its key
        attention.qkv.weight[12:24] = 9 * network.backbone.class_token[0, 0] / 12
    before, after = (of_layer(heads, LABELS, 3) for heads in layers_of(network))
    assert (after.sink_rate, before.sink_rate) == (1, pytest.approx(before.sink_rate))
    assert after.sink_share > 0.99
    assert after.token_share > 0.99


def test_differences_are_within_an_image():
    def measured(name, *shares):
        layers = [[OfLayer(share, 0, 0, 1, 1), OfLayer(2 * share, 0, 0, 1, 1)] for share in shares]
        return Measured(name, layers, {})

    lines = layer_table("sink_share", measured("a", 0.1, 0.4), measured("b", 0.3, 0.6)).splitlines()
    assert lines[0] == "| layer | a | b | difference |"
    assert (
        lines[2] == "| 1 | 0.250 [0.100, 0.400] | 0.450 [0.300, 0.600] | +0.200 [+0.200, +0.200] |"
    )
    assert lines[3].endswith("| +0.400 [+0.400, +0.400] |")


def test_the_command_writes_its_tables(tmp_path, monkeypatch):
    monkeypatch.setitem(data.RENDERED_SCENES, "val", 3)
    small = partial(render_scene, size_hw=(8 * 29, 8 * 37))  # weights grow with its fourth power
    monkeypatch.setattr(data, "render_scene", small)
    classes = tuple(STREET_CLASSES)
    paths = []
    for count in (0, 3):
        paths.append(str(tmp_path / f"tiny-{count}.safetensors"))
        architecture = tiny_transformer_architecture(count, classes)
        save_network(
            tmp_path / f"tiny-{count}.safetensors", tiny_transformer(count, classes), architecture
        )
    page = tmp_path / "page.md"
    marks = [*TITLES.values(), "worth"]
    page.write_text("\n".join(f"<!-- {mark} -->\n<!-- end of {mark} -->" for mark in marks))
    asked = [
        "--networks",
        *map(str, paths),
        "--data",
        "rendered",
        "--every",
        "2",
        "--page",
        str(page),
    ]
    result = CliRunner().invoke(registers.cli, asked)
    assert result.exit_code == 0, result.output
    assert "2 networks on 2 images of val" in result.output
    text = page.read_text()
    assert text.count("| layer | ") == len(TITLES)
    assert "| network | on | off | mean row | uniform | another image | noise |" in text

    missing = CliRunner().invoke(registers.cli, [*asked[:-1], str(tmp_path / "none.md")])
    assert (missing.exit_code, "none.md" in missing.stderr) == (2, True)
