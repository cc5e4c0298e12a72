import re

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from typer.testing import CliRunner

from nonlocal_lens.analysis import rank_collapse
from nonlocal_lens.analysis.rank_collapse import (
    ABLATIONS,
    PAGE,
    Ablation,
    random_transformer,
    relative_residual,
    residuals_by_depth,
)

DEPTH = 7


@pytest.fixture
def network():
    torch.manual_seed(0)
    sizes = {"img_size": 32, "patch_size": 8, "embed_dim": 22, "depth": DEPTH, "num_heads": 2}
    network = VisionTransformer(**sizes, num_classes=0).double().eval()
    for name, weights in network.named_parameters():
        if name.endswith(".qkv.weight"):  # of a wide network's size: logits that differ
            torch.nn.init.normal_(weights, std=0.3)
    return network


@pytest.fixture
def x(generator):
    return torch.randn(1, 3, 32, 32, generator=generator, dtype=torch.float64)


def test_the_residual_of_a_matrix_worked_by_hand():
    tokens = torch.tensor([[1.0, 0.0], [3.0, 0.0], [5.0, 3.0]])
    # less their mean (3, 1): rows (-2, -1), (0, -1), (2, 2); columns sum to 4 and 4, rows to 4
    assert relative_residual(tokens) == pytest.approx((4 * 4) ** 0.5 / (9 * 8) ** 0.5)
    assert relative_residual(torch.ones(3, 2)) == 0
    assert relative_residual(100 * tokens) == pytest.approx(relative_residual(tokens))


def test_with_every_part_it_is_the_network_itself(network, x):
    seen = []
    for block in network.blocks:
        block.register_forward_hook(lambda block, args, out: seen.append((args[0], out)))
    with torch.no_grad():
        network(x)
    expected = [seen[0][0], *(out for _, out in seen)]
    found = residuals_by_depth(network, x, Ablation(residual=True, mlp=True))
    assert found == [pytest.approx(relative_residual(tokens[0])) for tokens in expected]


def test_attention_alone_collapses_ever_faster_and_the_residual_prevents_it(network, x):
    found = {
        title: torch.tensor(residuals_by_depth(network, x, ablation))
        for title, ablation in ABLATIONS.items()
    }
    for title in ("attention alone", "with MLP"):
        falls = -found[title].log10().diff()  # decimal digits that a layer takes off
        layers = int((found[title] > 1e-11).sum())  # until rounding
        assert 3 <= layers <= DEPTH, found[title]
        assert (falls[: layers - 1].diff() > 0).all(), f"{title}: not ever faster, {falls}"
        assert found[title][-1] < 1e-12
    for title in ("with residual", "with both"):
        assert found[title].min() > 0.1, f"{title}: {found[title]}"


def test_the_command_writes_its_table_and_refuses_what_is_no_plain_transformer(
    tmp_path, monkeypatch, network
):
    monkeypatch.setattr(rank_collapse, "random_transformer", lambda name, seed: network)
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- residuals -->\n<!-- end of residuals -->\nafter")
    result = CliRunner().invoke(rank_collapse.cli, ["--page", str(page), "--seeds", "2"])
    assert result.exit_code == 0, result.output
    lines = page.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("before", "after")
    assert lines[2] == "| layers | attention alone | with MLP | with residual | with both |"
    assert len(lines) == 4 + 2 + DEPTH + 1

    monkeypatch.undo()
    result = CliRunner().invoke(rank_collapse.cli, ["--page", str(page), "--network", "resnet18"])
    assert (result.exit_code, "resnet18 is no stack of" in result.stderr) == (2, True)
    with pytest.raises(ValueError, match="timm has no network 'vit_none'"):
        random_transformer("vit_none", 0)


def test_the_page_says_what_its_table_says():
    rows = [line.split("|")[1:-1] for line in PAGE.read_text().splitlines() if "|" in line]
    last = dict(zip([title.strip() for title in rows[0]], rows[-1], strict=True))
    assert int(last["layers"]) == 12
    for title, ablation in ABLATIONS.items():
        (mean,) = re.findall(r"^ (< 1e-14|[\d.e-]+)", last[title])
        assert (mean != "< 1e-14" and float(mean) > 0.1) == ablation.residual
