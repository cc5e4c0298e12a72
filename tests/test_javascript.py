"""The types of the viewer's JavaScript, as its JSDoc comments say them, checked by TypeScript."""

import json
import os
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]
PROJECT = ROOT / "tests" / "javascript"


@pytest.fixture(scope="module")
def tsc():
    """Return the compiler; skip where it is not installed, fail in CI."""
    path = PROJECT / "node_modules" / ".bin" / "tsc"
    if not path.exists():
        reason = "no TypeScript: npm ci --prefix tests/javascript installs it (with Node.js)"
        pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
    return path


def errors(tsc, project):
    found = subprocess.run([tsc, "-p", project], capture_output=True, text=True, check=False)
    return [line for line in found.stdout.splitlines() if "error TS" in line]


def test_types_agree(tsc):
    assert errors(tsc, PROJECT) == []


def test_a_wrong_type_would_be_found(tsc, tmp_path):
    viewer = ROOT / "app" / "viewer"
    (tmp_path / "wrong.js").write_text(
        f'import {{ positionsOf }} from "{viewer}/geometry.js";\n'
        "export const wrong = positionsOf({ x: 1, y: 2 }, { height: 3 });\n"
    )
    include = [str(tmp_path / "wrong.js"), str(viewer / "types.d.ts")]
    config = {"extends": str(PROJECT / "tsconfig.json"), "include": include}
    (tmp_path / "tsconfig.json").write_text(json.dumps(config))
    assert [line for line in errors(tsc, tmp_path) if "wrong.js(2," in line]


def test_every_module_is_in_the_bundle_or_a_host():
    from nonlocal_lens.app.viewer.bundle import VIEWER

    hosts = {"standalone.js", "streamlit.js"}
    modules = {path.name for path in (ROOT / "app" / "viewer").glob("*.js")}
    assert modules == {path.name for path in VIEWER if path.suffix == ".js"} | hosts


def test_files_are_short():
    for folder in ("viewer", "notebook"):
        for path in (ROOT / "app" / folder).glob("*.js"):
            assert len(path.read_text(encoding="utf-8").splitlines()) <= 400, path.name
