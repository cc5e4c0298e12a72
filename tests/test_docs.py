"""The site is built without a warning, its snippets run, its messages are the program's."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import streamlit

from docs import from_code
from nonlocal_lens.analysis.catalog import STATISTICS
from nonlocal_lens.models import list_networks
from nonlocal_lens.models.bundled import ModelCard

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md") if "generated" not in path.parts)
ROOMS = [ROOT / "models", ROOT / "analysis", ROOT / "app"]
SERVER = Path(streamlit.__file__).parent / "web"
SOURCES = "\n".join(
    path.read_text(encoding="utf-8") for room in (*ROOMS, SERVER) for path in room.rglob("*.py")
)


def code_blocks():
    for page in PAGES:
        for number, code in enumerate(
            re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M)
        ):
            yield pytest.param(code, id=f"{page.stem}-{number}")


@pytest.mark.parametrize("code", list(code_blocks()))
def test_snippets_run_and_print_what_they_say(code, tmp_path, monkeypatch, capsys):
    from nonlocal_lens.analysis.adapters import ADAPTERS

    monkeypatch.setattr("nonlocal_lens.analysis.adapters.ADAPTERS", list(ADAPTERS))
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "docs", "exec"), {"__name__": "docs"})
    promised = re.findall(r"(?:print\(.*\)|lens\.queries = \[\(100.*)  # (.*)", code)
    assert capsys.readouterr().out.splitlines() == promised


def messages():
    text = (DOCS / "troubleshooting.md").read_text(encoding="utf-8")
    return re.findall(r"^## (.*)$", text, re.M)


@pytest.mark.parametrize("message", messages())
def test_messages_are_the_programs_own(message):
    # f-strings over several lines become one text; what stands in braces is any name or number
    source = re.sub(r'"\s*\n\s*f?"', "", SOURCES)
    source = source.replace("{what}", "image file")  # one of the things that are opened
    words = [part.strip(" :;()") for part in message.split("...")]
    assert max(map(len, words)) >= 12, "too little to find"
    pattern = r"[^\n]*?".join(re.escape(part) for part in words if part)
    assert re.search(pattern, source), message


def test_every_statistic_and_every_network_has_its_entry():
    statistics, networks = from_code.statistics_page(), from_code.networks_page()
    for name, known in STATISTICS.items():
        assert f"`{name}`" in statistics
        assert known.definition in statistics
    for name in list_networks():
        assert f"### {name}" in networks
        assert ModelCard.read(name).sha256 in networks


def test_what_is_read_and_what_is_refused_is_told_in_the_words_of_the_code():
    page = from_code.reading_page()
    assert "- where its tokens lie is ...: ..." in page
    assert "- its softmax runs over heads, not over keys" in page
    assert "- the weights rebuilt from its queries and keys are ... from those that the" in page
    assert "generated/reading" in (DOCS / "index.md").read_text(encoding="utf-8")


def test_notebooks_find_the_package_where_the_site_runs_them(tmp_path):
    names = ("streets", "models", "analysis", "app")
    command = [sys.executable, "-c", f"import {', '.join(f'nonlocal_lens.{n}' for n in names)}"]
    subprocess.run(command, cwd=tmp_path, check=True)


def test_the_site_is_built_without_a_warning_and_asks_nobody(tmp_path):
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html"]
    command += ["-D", "nb_execution_mode=off", "-d", str(tmp_path / "trees"), str(DOCS)]
    done = subprocess.run(
        [*command, str(tmp_path / "html")], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    pages = list((tmp_path / "html").rglob("*.html"))
    assert len(pages) > len(PAGES)
    loaded = re.compile(r'<(?:script|img|link)\b[^>]*(?:src|href)="(?:https?:)?//[^"]*"')
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert not loaded.findall(text), page
    mathematics = (tmp_path / "html" / "mathematics.html").read_text(encoding="utf-8")
    formulae = re.findall(r"<math.*?</math>", mathematics, re.S)
    assert formulae
    assert not [formula for formula in formulae if "\\" in formula]
