"""The lists of what the app needs: whole, exact, and those of `requirements.txt`."""

import json
import runpy
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def inventory():
    return runpy.run_path(str(ROOT / ".ci" / "inventory.py"))


@pytest.fixture(scope="module")
def packages(inventory):
    return inventory["closure"](inventory["requirements"](ROOT / "requirements.txt"))


def test_the_lock_file_is_what_requirements_lead_to(inventory, packages):
    pinned = [Requirement(line) for line in inventory["lock"](packages).splitlines()[1:]]
    assert all(str(one.specifier).startswith("==") for one in pinned)
    locked = {one.name: str(one.specifier) for one in pinned}
    for one in inventory["requirements"](ROOT / "requirements.txt"):
        assert locked[canonicalize_name(one.name)] == str(one.specifier)
    kept = {
        one.name: str(one.specifier)
        for one in inventory["requirements"](ROOT / "requirements.lock")
    }
    assert locked.items() <= kept.items(), "make lock"  # other systems need less


def test_whatever_is_installed_is_as_it_is_locked():
    """Else what somebody releases today is in an environment that is built today."""
    lines = (ROOT / "Makefile").read_text().splitlines()
    installs = [line for line in lines if "-r requirements" in line]
    assert len(installs) == 3
    (free,) = (line for line in installs if "-c requirements.lock" not in line)
    assert "$(VENV)/lock/" in free  # where `make lock` looks for newer ones


def test_what_the_package_asks_for_is_in_it(packages):
    asked = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    assert {canonicalize_name(Requirement(one).name) for one in asked} <= packages.keys()
    assert {"starlette", "protobuf", "narwhals"} <= packages.keys(), "what those need, too"
    assert "pytest" not in packages


def test_every_package_has_a_licence_and_a_place_in_the_bill_of_materials(inventory, packages):
    rows = inventory["licences"](packages).splitlines()
    assert len(rows) == len(packages)
    assert "BSD-3-Clause" in next(
        row for row in rows if row.startswith("scikit-image") or row.startswith("numpy")
    )
    bill = json.loads(inventory["sbom"](packages))
    assert bill["bomFormat"] == "CycloneDX"
    assert [one["name"] for one in bill["components"]] == list(packages)
    assert all(one["purl"].endswith(f"@{one['version']}") for one in bill["components"])
