"""The package as it is installed: a wheel, in an environment and a folder that are a user's own."""

import json
import os
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from browser import chromium_or_skip, running

import nonlocal_lens

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
ROOMS = ("streets", "models", "analysis", "app")
NO_CODE = {"__pycache__"}

MOST_MEGABYTES = 60


def build_wheel(project, folder):
    """Build the wheel of a project with the tools of this environment; return its path."""
    options = ["--no-deps", "--no-build-isolation", "--quiet", "--disable-pip-version-check"]
    command = [sys.executable, "-m", "pip", "wheel", *options, "--wheel-dir", folder, project]
    subprocess.run(command, check=True, cwd=folder)
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    # The build leaves its own folders beside what it builds: a copy of what is tracked is built.
    copy = tmp_path_factory.mktemp("source")
    for top in ("pyproject.toml", "README.md", "LICENSE", "nonlocal_lens", *ROOMS):
        (copy / top).symlink_to(ROOT / top)
    return build_wheel(copy, tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Return the programs of a fresh environment with the wheel and nothing of this checkout."""
    folder = tmp_path_factory.mktemp("environment")
    venv.create(folder, with_pip=False, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    # Dependencies are those of this environment: installed files only, no editable ones.
    paths = [path for path in sys.path if Path(path).name == "site-packages"]
    (packages / "shared.pth").write_text("\n".join(paths))
    install(folder, wheel)
    return folder / "bin"


def install(folder, wheel):
    options = ["--no-deps", "--no-index", "--quiet", "--disable-pip-version-check"]
    command = [folder / "bin" / "python", "-m", "pip", "install", "--force-reinstall", *options]
    subprocess.run([*command, wheel], check=True, env=clean())


@pytest.fixture
def desk(tmp_path):
    """Return a folder in which a user keeps packages of the names of our rooms."""
    for room in ROOMS:
        (tmp_path / room).mkdir()
        (tmp_path / room / "__init__.py").write_text("MINE = True\n")
        (tmp_path / f"{room}.txt").write_text("mine")
    return tmp_path


def clean():
    return {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}


def run(command, desk):
    done = subprocess.run(
        [str(word) for word in command], cwd=desk, env=clean(), capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_folder_of_code_is_listed_as_a_package():
    folders = [folder for room in ROOMS for folder in [ROOT / room, *(ROOT / room).rglob("*")]]
    packages = {
        f"nonlocal_lens.{folder.relative_to(ROOT).as_posix().replace('/', '.')}"
        for folder in folders
        if folder.is_dir() and not folder.name.startswith((".", "__"))
    }
    assert {"nonlocal_lens", *packages} == set(PROJECT["tool"]["setuptools"]["packages"])


def test_the_wheel_holds_what_the_rooms_hold_and_is_small(wheel):
    assert wheel.stat().st_size < MOST_MEGABYTES * 1e6
    names = set(zipfile.ZipFile(wheel).namelist())
    for room in ROOMS:
        for path in (ROOT / room).rglob("*"):
            if path.is_file() and not NO_CODE & set(path.parts):
                assert f"nonlocal_lens/{path.relative_to(ROOT).as_posix()}" in names, path
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not {name.partition("/")[0] for name in names} & {*ROOMS, "tests", "benchmarks"}


def test_a_figure_and_a_table_are_made_beside_a_users_own_packages(installed, desk):
    program = installed / "nonlocal-lens"
    assert run([program, "--version"], desk).strip() == f"Nonlocal Lens {nonlocal_lens.__version__}"
    network = ["--network", "streets-dnl", "--out"]
    run([program, "export", "rendered:3", *network, "out", "--query", "240,200"], desk)
    (figure,) = (desk / "out").glob("*.png")
    assert figure.read_bytes().startswith(b"\x89PNG")
    run([program, "stats", "rendered:3", *network, "stats.csv", "--jobs", "1"], desk)
    assert pd.read_csv(desk / "stats.csv")["network"].tolist() == ["streets-dnl"]


def test_python_finds_both_the_package_and_a_users_own(installed, desk):
    code = (
        "import json, models, analysis, app, nonlocal_lens\n"
        "from nonlocal_lens import capture, degeneracy, explore, terms\n"
        "from nonlocal_lens import list_networks, load_network\n"
        "print(json.dumps([models.MINE, analysis.MINE, app.MINE, nonlocal_lens.__file__]))\n"
    )
    *mine, where = json.loads(run([installed / "python", "-c", code], desk))
    assert mine == [True] * 3
    assert Path(where).is_relative_to(installed.parent)


@pytest.mark.browser
def test_the_first_page_of_the_app_opens_beside_a_users_own_packages(installed, desk):
    with (
        running([str(installed / "nonlocal-lens")], cwd=desk, env=clean()) as address,
        chromium_or_skip() as browser,
    ):
        page = browser.new_page()
        page.goto(address)
        page.wait_for_selector("canvas", timeout=60_000)
        assert not page.locator(".stException").count()


PLUGIN = """
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "their-adapter"
version = "1"

[project.entry-points."nonlocal_lens.adapters"]
their_attention = "their_adapter"

[project.entry-points."nonlocal_lens.statistics"]
largest_share = "their_adapter:LARGEST_SHARE"

[tool.setuptools]
py-modules = ["their_adapter"]
"""
THEIR_ADAPTER = """
from torch import nn

from nonlocal_lens.analysis.adapters import Heads, register
from nonlocal_lens.analysis.statistics.statistic import Statistic, share_of


class TheirAttention(nn.Module):
    def __init__(self):
        super().__init__()
        self.ask, self.answer = nn.Conv2d(5, 4, 1), nn.Conv2d(5, 4, 1)

    def forward(self, x):
        ask, answer = (layer(x).flatten(2).mT for layer in (self.ask, self.answer))
        return (ask @ answer.mT).softmax(2) @ x.flatten(2).mT


@register(lambda module: isinstance(module, TheirAttention))
def read(module, call):
    query, key = (layer(call.x).flatten(2).mT for layer in (module.ask, module.answer))
    return Heads(query, key, scale=1.0)


LARGEST_SHARE = Statistic(
    name="largest_share",
    label="Largest share",
    unit="",
    definition="The largest share of the mean row.",
    compute=lambda measured: measured.sums.mean_share.max().item(),
    bounds=share_of,
)
"""


def test_what_another_package_adds_is_found_unseen(installed, desk, tmp_path_factory):
    project = tmp_path_factory.mktemp("plugin")
    (project / "pyproject.toml").write_text(PLUGIN)
    (project / "their_adapter.py").write_text(THEIR_ADAPTER)
    install(installed.parent, build_wheel(project, tmp_path_factory.mktemp("plugin_wheel")))
    code = (
        "import numpy as np, torch\n"
        "from torch import nn\n"
        "from their_adapter import TheirAttention\n"
        "from nonlocal_lens import capture\n"
        "from nonlocal_lens.models.preprocess import Preprocess\n"
        "network = nn.Sequential(nn.Conv2d(3, 5, 8, stride=8), TheirAttention()).eval()\n"
        "network.preprocess = Preprocess(stride=8, long_side=(8, 64))\n"
        "(record,) = capture(network, np.zeros((40, 56, 3), np.uint8))\n"
        "print(record.block, *record.query_grid.shape)\n"
        "from nonlocal_lens.analysis import degeneracy\n"
        "report = degeneracy.measure(record)\n"
        "print('largest_share' in degeneracy.STATISTICS, report.largest_share == report.sink_share)"
    )
    assert run([installed / "python", "-c", code], desk).split() == [
        *("1", "1", "5", "7"),
        *("True", "True"),
    ]
