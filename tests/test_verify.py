"""What is read of other people's networks, against references of other code; and the kept table."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from typer import Typer
from typer.testing import CliRunner

from docs.verified import verified_page
from nonlocal_lens.analysis.grid import Cell
from nonlocal_lens.analysis.verify import oracle, places
from nonlocal_lens.analysis.verify.__main__ import main
from nonlocal_lens.analysis.verify.families import FAMILIES
from nonlocal_lens.analysis.verify.family import Family, Member, noise
from nonlocal_lens.analysis.verify.verifying import captured, error_of_rows, verify

NAMED = {family.name: family for family in FAMILIES}
KEPT = json.loads((Path(__file__).parents[1] / "docs/verified.json").read_text(encoding="utf-8"))
QUICK = (
    "timm:vit_tiny_patch16_224",
    "timm:eva02_tiny_patch14_224",
    "timm:beit_base_patch16_224",
    "hf:Dinov2WithRegistersModel",
    "torchvision:VisionTransformer",
    "hf:DINOv3ViTModel",
    "hf:ViTMAEModel",
    "hf:VivitModel",
    "hf:SegformerModel",
    "hf:DetrModel",
    "hf:CLIPModel",
    "diffusers:SD3Transformer2DModel",
)


@pytest.fixture(scope="module")
def block():
    """Return a member that has one block of ours, and what was captured of it."""
    member = NAMED["own:non_local"].build()
    return member, captured(member)[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", QUICK)
def test_a_dozen_families_are_read_as_the_references_say(name):
    found = verify(NAMED[name])
    assert (found.outcome, found.sentences) == ("read", ())
    assert found.error < 1e-5
    assert found.cells in (0, 1)
    assert found.slowdown > 0


@pytest.mark.parametrize("block_name", ["dot_product", "concatenation", "disentangled"])
def test_blocks_of_this_package_are_read_as_the_references_say(block_name):
    found = verify(NAMED[f"own:{block_name}"])
    assert (found.outcome, found.blocks, found.heads, found.cells) == ("read", 1, 1, 0)


def test_a_row_that_is_not_the_networks_is_seen(block):
    member, (record,) = block
    assert error_of_rows(member, [record]) < 1e-5
    assert error_of_rows(member, [replace(record, scale=record.scale * 1.001)]) > 1e-4
    rows = torch.full((len(record.key),), 1 / len(record.key))
    assert oracle.errors([rows], member)[0] > 1e-2


def test_a_place_that_is_not_where_its_pixels_are_is_seen(block):
    member, (record,) = block
    assert places.farthest(member, [record], lambda changed: captured(changed)[0]) == 0
    grid = replace(record.query_grid, offset=(2 * record.query_grid.cell_height, 0.0))
    moved = replace(record, query_grid=grid, key_grid=grid)
    assert places.farthest(member, [moved], lambda changed: captured(changed)[0]) == 2
    mirrored = replace(record, query=record.query.flip(0))

    def mirroring(changed):
        (found,) = captured(changed)[0]
        return [replace(found, query=found.query.flip(0))]

    assert places.farthest(member, [mirrored], mirroring) > 2


def test_of_queries_that_moved_about_as_far_the_middle_counts(block):
    """What a convolution of 5 x 5 features with random weights makes: any of 25 moves most."""
    member, (record,) = block

    def spread(changed):
        rows, columns = (member.picture != changed.picture).any(dim=1)[0].nonzero(as_tuple=True)
        at = record.query_grid.cell_at(x=int(columns[0]), y=int(rows[0]))
        query = record.query.clone()
        for position in range(len(query)):
            row, column, _ = record.query_grid.cell(position)
            if max(abs(row - at.row), abs(column - at.col)) <= 2:
                query[position] += 0.6 + 0.4 * (row < at.row and column < at.col)
        return [replace(record, query=query, key=record.key + query - record.query)]

    assert places.farthest(member, [record], spread) in (0, 1)


def test_a_head_that_is_refused_on_other_pixels_takes_no_part(block):
    member, (record,) = block
    two = [replace(record, head=0), replace(record, head=1)]

    def captured_in_part(changed):
        (found,) = captured(changed)[0]
        return [replace(found, head=1)]

    assert places.farthest(member, two, captured_in_part) == 0
    assert places.farthest(member, two, lambda changed: []) is None


def test_pixels_are_changed_where_a_cell_lies_and_nowhere_else(block):
    member, (record,) = block
    changed = places.repainted(member, record.query_grid, Cell(2, 5), seed=1).picture
    rows, columns = (member.picture != changed).any(dim=1)[0].nonzero(as_tuple=True)
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (16, 23, 40, 47)


def test_what_cannot_be_read_built_or_installed_is_a_row_with_a_sentence(monkeypatch):
    pooled = torch.nn.Sequential(torch.nn.Conv2d(3, 5, 8, stride=8), torch.nn.AvgPool2d(3))
    refused = verify(Family("own:pooled", lambda: Member(pooled, {"0": noise(1, 3, 40, 56)})))
    assert refused.outcome == "refused"
    assert "nothing in it sums values" in refused.sentences[0]
    failed = verify(Family("own:bad", lambda: Member(pooled, {"0": noise(1, 5, 40, 56)})))
    assert failed.outcome == "failed"
    assert failed.sentences[0].startswith("RuntimeError: ")
    monkeypatch.setattr(Family, "version", None)
    absent = verify(NAMED["diffusers:UNet2DModel"])
    assert (absent.outcome, absent.sentences) == ("absent", ("diffusers is not installed",))


def test_the_command_keeps_the_rows_of_others(tmp_path):
    app, out = Typer(), tmp_path / "verified.json"
    app.command()(main)
    for name in ("own:unary", "own:g*n"):
        done = CliRunner().invoke(app, [name, "-o", str(out)])
        assert done.exit_code == 0, done.output
    rows = json.loads(out.read_text(encoding="utf-8"))["networks"]
    assert [row["network"] for row in rows] == ["own:gaussian", "own:unary"]
    assert "own:gaussian" in CliRunner().invoke(app, []).output
    assert CliRunner().invoke(app, ["own:nothing", "-o", str(out)]).exit_code == 2


def test_the_kept_table_holds_what_is_promised():
    rows = KEPT["networks"]
    counts = Counter(row["outcome"] for row in rows)
    assert {row["network"] for row in rows} == set(NAMED)
    assert len(rows) >= 80
    assert counts["read"] >= 70
    assert set(counts) == {"read", "in part", "refused"}
    for row in rows:
        assert bool(row["sentences"]) == (row["outcome"] != "read")
        if row["heads"]:
            assert row["error"] <= 1e-4
            assert row["cells"] in (None, 0, 1)
    assert {row["kind"] for row in rows} >= {"image", "video", "text to image"}


def test_the_page_names_every_network_and_every_sentence():
    page = verified_page()
    for row in KEPT["networks"]:
        assert f"| {row['network'].partition(':')[2]}" in page
        assert all(sentence in page for sentence in row["sentences"])
