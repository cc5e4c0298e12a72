"""CONTRIBUTING.md names the files that a change touches: all of them, and no other."""

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
ROOMS = ("streets", "models", "analysis", "app")
CHANGES = re.findall(r"^### (.*?)\n\n(.*?)(?=^###? |\Z)", PAGE, re.MULTILINE | re.DOTALL)
CODE = [
    path
    for room in ROOMS
    for path in sorted((ROOT / room).rglob("*"))
    if path.suffix in {".py", ".js", ".json", ".toml", ".css"} and path.parent.name != "weights"
]


def listed(text):
    return re.findall(r"^- `([^`]+)`:", text, re.MULTILINE)


def holding(pattern):
    found = re.compile(pattern, re.MULTILINE)
    return {
        path.relative_to(ROOT).as_posix()
        for path in CODE
        if found.search(path.read_text(encoding="utf-8"))
    }


def test_the_worked_changes_are_there():
    assert len(CHANGES) >= 8
    for words in (
        "statistic",
        "form of",
        "reader",
        "layout",
        "page",
        "color map",
        "format",
        "contr",
    ):
        assert any(words in title for title, _ in CHANGES), words


@pytest.mark.parametrize(("title", "text"), CHANGES, ids=[title for title, _ in CHANGES])
def test_a_change_names_all_files_that_hold_its_example(title, text):
    (pattern,) = re.findall(r"found by\s+`([^`]+)`", text)
    assert holding(pattern) == set(listed(text)), title


def test_the_rooms_are_those_that_are_there():
    for room in (*ROOMS, "tests", "benchmarks", "docs"):
        assert f"| `{room}/` |" in PAGE
        assert (ROOT / room).is_dir()


def test_the_commands_are_those_of_the_makefile():
    targets = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True)
    for command in re.findall(r"^make (\w+)", PAGE, re.MULTILINE):
        assert command == "help" or command in targets.stdout.split()
