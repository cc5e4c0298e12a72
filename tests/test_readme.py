"""The README is true: its Python runs, its commands exist, its figures are the model cards'."""

import re
from importlib.util import find_spec
from pathlib import Path

import pytest
from typer.testing import CliRunner

from nonlocal_lens.app.batch import engine
from nonlocal_lens.app.cli import cli
from nonlocal_lens.models import list_networks
from nonlocal_lens.models.bundled import ModelCard

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language):
    found = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found
    return found


@pytest.mark.parametrize("code", blocks("python"))
def test_python_snippets_run_and_print_what_they_say(code, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "README.md", "exec"), {})
    promised = re.findall(r"print\(.*\)  # (.*)", code)
    assert capsys.readouterr().out.splitlines() == promised


@pytest.mark.parametrize(
    "command", re.findall(r"^nonlocal-lens (\w.*?)(?:  #.*)?$", README, re.MULTILINE)
)
def test_commands_of_the_app_run(command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(engine, "cores", lambda: 1)  # a worker would import everything again
    result = CliRunner().invoke(cli, command.split())
    assert result.exit_code == 0, result.output


@pytest.mark.parametrize(
    "module",
    sorted(set(re.findall(r"python -m ((?:nonlocal_lens\.\w+|benchmarks|docs)\.\w+)", README))),
)
def test_modules_that_are_named_exist(module):
    assert find_spec(module) is not None


@pytest.mark.parametrize("target", sorted(set(re.findall(r"make (\w+)", README))))
def test_make_targets_that_are_named_exist(target):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("name", list_networks("segmentation"))
def test_the_table_of_networks_repeats_the_cards(name):
    (row,) = re.findall(rf"^\| `{name}` .*…` \|$", README, re.MULTILINE)
    card = ModelCard.read(name)
    assert f"{card.val_miou:.3f}" in row
    assert card.sha256[:12] in row


@pytest.mark.parametrize("path", re.findall(r"\]\(((?!http)[^)#]+)\)", README))
def test_links_lead_somewhere(path):
    assert (ROOT / path).exists()
