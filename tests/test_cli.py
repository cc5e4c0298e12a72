import json
import pickle
import re
import shlex
import zipfile
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from networks import tiny_architecture, tiny_network
from published_files import drawn, mmsegmentation
from typer.main import get_command
from typer.testing import CliRunner

from nonlocal_lens.analysis.figures.look import BACKDROPS, MARKERS, STYLES
from nonlocal_lens.analysis.figures.panels import SHOWN
from nonlocal_lens.analysis.figures.scales import Scale
from nonlocal_lens.app.cli import cli
from nonlocal_lens.app.export.declared import CHOICES
from nonlocal_lens.app.export.formats import FORMATS
from nonlocal_lens.app.export.options import LAYOUTS
from nonlocal_lens.models.checkpoint import save_network


def run(*arguments):
    return CliRunner().invoke(cli, list(arguments))


def test_models_lists_every_bundled_network():
    result = run("models")
    assert result.exit_code == 0
    for name in ("streets-dnl", "streets-nl", "streets-base"):
        assert name in result.stdout
    rows = json.loads(run("models", "--json").stdout)
    assert {"name", "sha256", "val_miou", "license", "recipe"} <= set(rows[0])
    assert {"name", "url", "megabytes", "license", "downloaded"} <= set(rows[-1])
    line = next(line for line in result.stdout.splitlines() if "I3D_NLN_8x8_R50" in line)
    assert line.endswith("every 8, Kinetics-400      142 MB or more  Apache-2.0")


@pytest.mark.parametrize(
    ("network", "coupling"), [("streets-nl", "coupled"), ("streets-dnl", "disentangled")]
)
def test_layers_names_the_blocks_that_capture_finds(network, coupling):
    assert run("layers", network).stdout.startswith("head.block  ")
    (row,) = json.loads(run("layers", network, "--json").stdout)
    assert row["block"] == "head.block"
    assert row["coupling"] == coupling


def test_layers_reads_a_file(tmp_path):
    path = tmp_path / "tiny.safetensors"
    save_network(path, tiny_network("non_local"), tiny_architecture("non_local"))
    assert "NonLocalBlock" in run("layers", str(path)).stdout


def test_a_network_without_attention_is_said_to_have_none():
    result = run("layers", "streets-base")
    assert result.exit_code == 0
    assert "streets-base has no attention block" in result.stderr
    assert json.loads(run("layers", "streets-base", "--json").stdout) == []


@pytest.mark.parametrize("wrong", ["resnet", "no/such/file.safetensors", "README.md"])
def test_what_cannot_be_loaded_ends_in_one_sentence_and_status_2(wrong):
    result = run("layers", wrong)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr.startswith("error: ")
    assert result.stderr.count("\n") == 1


def write_text(path):
    path.write_text("<html>not found</html>")


def write_bomb(path):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(10_000_000))


class Touch:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def write_code(path):
    path.write_bytes(pickle.dumps({"blobs": {"a": Touch(path.with_name("touched"))}}))


def write_absurd(path):
    torch.save({"a": torch.zeros(1).expand(10**12)}, path)


def write_no_numbers(path):
    tensors = drawn(mmsegmentation("dnl_block"), torch.Generator().manual_seed(0))
    tensors["decode_head.conv_seg.bias"].fill_(float("nan"))
    torch.save(tensors, path)


def write_cut(path):
    write_no_numbers(path)
    path.write_bytes(path.read_bytes()[:-100])


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (write_text, "is not a readable safetensors file, PyTorch or Caffe2 checkpoint"),
        (write_bomb, "archive/data.pkl in it is compressed"),
        (write_code, "so it stays unread: to load that could run code"),
        (write_absurd, "claims the shape (1000000000000,), for which the file holds too few"),
        (write_no_numbers, "decode_head.conv_seg.bias holds NaN or infinite values"),
        (write_cut, "damaged or truncated"),
    ],
)
def test_a_file_that_is_refused_ends_in_one_sentence_and_status_2(tmp_path, write, reason):
    path = tmp_path / "weights.pth"
    write(path)
    result = run("layers", str(path))
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith(f"error: {path}")
    assert reason in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "touched").exists()


def test_models_lists_what_others_published_with_its_source(monkeypatch):
    monkeypatch.setattr("nonlocal_lens.app.listing.list_networks", tuple)
    rows = {row["name"]: row for row in json.loads(run("models", "--json").stdout)}
    row = rows["dnl_r50-d8_512x1024_80k_cityscapes"]
    assert (row["metric"], row["score"]) == ("mIoU", pytest.approx(0.7933))
    assert rows["I3D_NLN_8x8_R50"]["metric"] == "top-1"
    assert row["url"].startswith("https://")
    assert "dnl_r50-d8_512x1024_80k_cityscapes" in run("models").stdout


def test_layers_of_a_published_file_says_what_was_decided(tmp_path, generator):
    path = tmp_path / "dnl.pth"
    torch.save(drawn(mmsegmentation("dnl_block"), generator), path)
    result = run("layers", str(path))
    assert result.exit_code == 0
    assert "head.block  DisentangledNonLocalBlock" in result.stdout
    assert "note: temperature 0.05" in result.stderr


def test_a_published_network_that_cannot_be_downloaded_is_one_sentence(tmp_path, monkeypatch):
    def refuse(*args, **kwargs):
        raise URLError("no route to host")

    monkeypatch.setenv("NONLOCAL_LENS_CACHE", str(tmp_path))
    monkeypatch.setattr("nonlocal_lens.models.download.urlopen", refuse)
    result = run("layers", "dnl_r50-d8_512x1024_80k_cityscapes")
    assert result.exit_code == 2
    assert "cannot be downloaded (no route to host)" in result.stderr
    assert result.stderr.count("\n") == 1


def test_models_are_grouped_and_searched_by_all_words():
    said = run("models").stdout
    assert said.index("Papers:") < said.index("streets-dnl") < said.index("Ablations")
    found = run("models", "--search", "WHITENED pairwise alone").stdout
    assert "streets-pairwise" in found
    assert "streets-nl" not in found
    assert "Published" not in found
    names = [row["name"] for row in json.loads(run("models", "--search", "kin", "--json").stdout)]
    assert names
    nothing = run("models", "--search", "no such words")
    assert nothing.exit_code == 0
    assert nothing.stdout == ""


def test_columns_of_a_group_begin_below_each_other():
    groups = run("models").stdout.split("\n\n")
    headings = [group.partition(":")[0] for group in groups]
    assert headings[0] == "Papers"
    assert headings[-1].startswith("Libraries")
    for group in groups:
        _, *lines = group.splitlines()
        starts = [[found.end() for found in re.finditer("  +(?! )", line)] for line in lines]
        assert len(set(map(tuple, starts))) == 1, group


def test_libraries_are_listed_and_searched_but_are_no_rows_for_programs():
    assert "timm:NAME" in run("models", "--search", "timm").stdout
    rows = json.loads(run("models", "--json").stdout)
    assert not [row for row in rows if row["name"].endswith(":NAME")]


COMMANDS = (None, "view", "models", "layers", "export", "replay", "stats")


def examples_of(command):
    """Return what stands below "Examples:" in a command's help, a line each."""
    found = get_command(cli)
    epilog = (found if command is None else found.commands[command]).epilog
    heading, *lines = epilog.split("\n\n")
    assert heading == "Examples:"
    return lines


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_has_examples_whose_options_exist(command):
    said = run(*([] if command is None else [command]), "--help").stdout
    assert said == run(*([] if command is None else [command]), "-h").stdout
    lines = examples_of(command)
    assert lines
    for line in lines:
        program, *words = shlex.split(line)
        assert program == "nonlocal-lens"
        assert line.split()[-1] in said
        name = next((word for word in words if word in COMMANDS), None)
        assert command in (None, name)
        if name is not None:
            known = get_command(cli).commands[name]
            known.make_context(name, words[words.index(name) + 1 :])  # raises for what it has not


def test_all_commands_are_known_to_these_tests():
    assert set(get_command(cli).commands) == set(COMMANDS) - {None}


def test_choices_in_the_help_are_those_that_there_are():
    known = {
        "terms": SHOWN,
        "layout": LAYOUTS,
        "formats": FORMATS,
        "style": STYLES,
        "backdrop": BACKDROPS,
        "marker": MARKERS,
    }
    for name, choices in known.items():
        assert set(CHOICES[name]) == set(choices), name
    for scale in CHOICES["scale"]:
        assert Scale.parse(scale.replace("LO,HI", "0,2"))


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (("layers", "streets-dml"), "streets-dnl"),
        (("layers", "Streets-DNL"), "streets-dnl"),
        (("stats", "samples", "--network", "clips-nl-tame"), "clips-nl-time"),
        (("export", "samples", "--network", "I3D_NLN_8x8_R5"), "I3D_NLN_8x8_R50"),
        (("export", "samples", "--network", "streets-nl", "--layout", "gird"), "grid"),
    ],
)
def test_a_typo_is_asked_back(words, meant):
    result = run(*words)
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"(did you mean {meant}?)" in result.stderr
    assert result.stderr.count("\n") == 1


def test_what_is_like_no_name_is_not_asked_back():
    assert "did you mean" not in run("layers", "resnet").stderr


def test_a_typo_in_a_file_of_options_is_asked_back(tmp_path):
    path = tmp_path / "figures.yaml"
    path.write_text("inputs: [samples]\nfigures:\n  - {networks: [streets-n1], out: a}\n")
    result = run("export", "--config", str(path))
    assert result.exit_code == 2
    assert "(did you mean streets-nl?)" in result.stderr
