"""What importing costs: nobody pays for what he does not use."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HEAVY = ("streamlit", "torchvision", "pandas", "matplotlib", "captum", "cv2", "skimage", "scipy")


def modules_after(statement):
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("statement", ["import analysis", "import models"])
def test_the_core_imports_nothing_heavy_but_torch(statement):
    assert not modules_after(statement) & set(HEAVY)


def test_every_public_name_is_there():
    import analysis
    import models

    assert all(getattr(analysis, name) for name in analysis.__all__)
    assert models.load_network
    assert models.list_networks
    assert models.load_block
    with pytest.raises(AttributeError, match="module 'analysis' has no attribute 'nothing'"):
        _ = analysis.nothing
    with pytest.raises(AttributeError, match="module 'models' has no attribute 'nothing'"):
        _ = models.nothing
