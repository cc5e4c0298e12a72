import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MAY_IMPORT = {
    "streets": {"streets"},
    "models": {"streets", "models"},
    "analysis": {"streets", "models", "analysis"},
}
FRONT_ENDS = {"app", "streamlit"}


def package(module):
    """Return the room of ours, or the top-level package of others, that a module belongs to."""
    return module.removeprefix("nonlocal_lens.").partition(".")[0]


def imported_packages(source):
    """Return the name of every room or foreign package that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {package(alias.name) for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{source}: imports are absolute"
            names |= {package(f"{node.module}.{alias.name}") for alias in node.names}
    return names


@pytest.mark.parametrize("layer", MAY_IMPORT)
def test_lower_layers_know_nothing_of_those_above(layer):
    barred = (FRONT_ENDS | set(MAY_IMPORT)) - MAY_IMPORT[layer]
    sources = list((ROOT / layer).rglob("*.py"))
    assert sources
    for source in sources:
        assert not imported_packages(source) & barred, source


def test_what_is_cached_has_a_ceiling_in_bytes_but_for_the_list_of_names():
    for source in (ROOT / "app").rglob("*.py"):
        uses = "st.cache_" in source.read_text(encoding="utf-8")
        assert uses == (source.name == "network_search.py"), source


def test_drawing_needs_no_torch():
    assert "torch" not in imported_packages(ROOT / "analysis" / "render.py")
