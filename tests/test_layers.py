import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {"models": {"models"}, "analysis": {"models", "analysis"}}
FRONT_ENDS = {"app", "streamlit"}


def imported_packages(source):
    """Return the top-level name of every package that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{source}: imports are absolute"
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("layer", MAY_IMPORT)
def test_lower_layers_know_nothing_of_those_above(layer):
    barred = (FRONT_ENDS | set(MAY_IMPORT)) - MAY_IMPORT[layer]
    sources = list((ROOT / layer).rglob("*.py"))
    assert sources
    for source in sources:
        assert not imported_packages(source) & barred, source


def test_only_the_cache_caches():
    for source in (ROOT / "app").rglob("*.py"):
        uses = "st.cache_" in source.read_text(encoding="utf-8")
        assert uses == (source.name == "cache.py"), source


def test_drawing_needs_no_torch():
    assert "torch" not in imported_packages(ROOT / "analysis" / "render.py")
