"""What importing costs: nobody pays for what he does not use."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("streamlit", "torchvision", "pandas", "matplotlib", "captum", "cv2", "skimage", "scipy")


def modules_after(statement):
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize(
    "statement", ["import nonlocal_lens.analysis", "import nonlocal_lens.models"]
)
def test_the_core_imports_nothing_heavy_but_torch(statement):
    assert not modules_after(statement) & set(HEAVY)


def test_every_public_name_is_there():
    from nonlocal_lens import analysis, models

    assert all(getattr(analysis, name) for name in analysis.__all__)
    assert models.load_network
    assert models.list_networks
    assert models.load_block
    with pytest.raises(
        AttributeError, match=r"module 'nonlocal_lens\.analysis' has no attribute 'nothing'"
    ):
        _ = analysis.nothing
    with pytest.raises(
        AttributeError, match=r"module 'nonlocal_lens\.models' has no attribute 'nothing'"
    ):
        _ = models.nothing


ENDED = "from nonlocal_lens.app.cli import cli; sys.argv = {}\ntry: cli()\nexcept SystemExit: pass"
MOST_MODULES = 450
"""Of a command that only tells something; a third of them are of Python itself."""


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["--version"],
        ["models"],
        ["models", "--search", "dnl"],
        ["export", "--help"],
        ["stats", "--help"],
        ["layers", "streets-dml"],
        ["layers", "no/such/file.pth"],
        ["stats", "samples", "--network", "streets-dml"],
        ["export", "samples", "--network", "streets-dml"],
    ],
    ids=" ".join,
)
def test_what_only_tells_something_loads_neither_torch_nor_numpy(words):
    found = modules_after(ENDED.format(["nonlocal-lens", *words]))
    assert not found & {"torch", "numpy", *HEAVY}
    assert len(found) < MOST_MODULES


FIRST_PAGE = """
import sys
from streamlit.testing.v1 import AppTest
page = AppTest.from_file("app/main.py", default_timeout=120).run()
assert not page.exception, page.exception
print(*sys.modules)
"""
LATER = ("torchvision", "torch._dynamo", "captum", "scipy.stats", "sympy", "transformers")
"""What takes seconds to load, and the first page can do without."""


@pytest.mark.slow
def test_the_first_page_loads_nothing_that_other_pages_are_for():
    done = subprocess.run(
        [sys.executable, "-c", FIRST_PAGE], cwd=ROOT, capture_output=True, text=True, check=True
    )
    found = set(done.stdout.splitlines()[-1].split())
    assert "torch" in found
    assert not found & set(LATER)
