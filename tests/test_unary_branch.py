import math
from dataclasses import replace

import pytest
import torch
from batches import saved_network
from records import KEYS, random_record
from typer.testing import CliRunner

from nonlocal_lens.analysis import unary_branch
from nonlocal_lens.analysis.unary_branch import Measured, OfImage, of_record, table
from nonlocal_lens.models.training.data import RENDERED_SCENES

PAGE = "before\n<!-- unary branch -->\n<!-- end of unary branch -->\nafter\n"


def test_only_the_pairwise_branch_is_looked_at(generator):
    record = random_record(generator, "disentangled")
    planted = torch.zeros(KEYS, dtype=torch.float64)
    planted[5] = 20
    assert of_record(replace(record, unary=planted)) == of_record(record)
    alone = replace(record, unary=None, coupling="pairwise")
    assert of_record(alone) == pytest.approx(of_record(record))


def test_a_planted_sink_of_the_pairwise_branch_is_counted(generator):
    record = random_record(generator, "disentangled")
    query, key = torch.zeros_like(record.query), torch.zeros_like(record.key)
    query[:, 0] = torch.tensor([1.0, -1.0]).repeat(len(query))[: len(query)]
    key[0, 0], key[1, 0] = 40, -40  # half of the queries to the one, half to the other
    found = of_record(replace(record, query=query, key=key, scale=1.0))
    assert (found.rate, found.share) == (1, pytest.approx(0.5, abs=0.02))
    assert found.routed == pytest.approx(0.5, abs=0.02)
    assert found.alike_bits == pytest.approx(math.log2(KEYS) - 1, abs=0.02)


def test_a_block_without_a_pairwise_softmax_of_its_own_is_refused(generator):
    with pytest.raises(ValueError, match="coupling must be disentangled or pairwise, got coupled"):
        of_record(random_record(generator, "coupled"))


def test_differences_are_within_an_image_and_over_the_seeds():
    def measured(title, *shares):
        return Measured(title, 0.25, [OfImage(share, 2.0, 0.0, 0.0, 1.0) for share in shares])

    branch = [measured("a", 0.1, 0.2, 0.3), measured("b", 0.2, 0.3, 0.4)]
    without = [measured("c", 0.2, 0.3, 0.4), measured("d", 0.5, 0.6, 0.7)]
    lines = [line.split(" | ") for line in table(branch, without).splitlines()]
    assert [line[0].removeprefix("| ") for line in lines[2:6]] == [
        f"{which} the unary one, pair {pair}" for which in ("with", "without") for pair in (1, 2)
    ]
    assert lines[2][1] == "25.0"
    assert [line[2].split(" ")[0] for line in lines[2:]] == [
        *("0.2000", "0.3000", "0.3000", "0.6000", "+0.1000", "+0.3000", "+0.2000")
    ]
    assert lines[-3][2] == "+0.1000 [+0.1000, +0.1000]", "the same on every image"
    assert lines[-1][2] == "+0.2000 [+0.1000, +0.3000]", "two pairs, and no image, differ"


def test_the_command_writes_its_table(tmp_path, monkeypatch):
    monkeypatch.setitem(RENDERED_SCENES, "val", 4)
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    path = str(saved_network(tmp_path))
    arguments = ["--data", "rendered", "--every", "2", "--page", str(page), "--branch", path]
    result = CliRunner().invoke(unary_branch.cli, [*arguments, "--without", path])
    assert result.exit_code == 0, result.output
    assert "2 networks on 2 images of val" in result.output
    lines = page.read_text().splitlines()
    assert (lines[0], lines[-1], len(lines)) == ("before", "after", 4 + 2 + 2 + 2)
    assert "+0.0000 [+0.0000, +0.0000]" in lines[-3]

    result = CliRunner().invoke(
        unary_branch.cli, [*arguments, "--without", path, "--without", path]
    )
    assert (result.exit_code, "as many networks with the branch" in result.stderr) == (2, True)
