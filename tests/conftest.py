"""Check every shape annotation in models/ and analysis/ while the tests run."""

import sys

from jaxtyping import config, install_import_hook

install_import_hook(
    ["models", "analysis"], "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
)

import pytest  # noqa: E402
import torch  # noqa: E402

MAIN = sys.modules["__main__"]


@pytest.fixture
def generator():
    """Return a seeded source of random numbers."""
    return torch.Generator().manual_seed(0)


@pytest.fixture(autouse=True)
def _own_main():
    """Keep `__main__`: Streamlit's AppTest puts a page there, and new processes run it."""
    sys.modules["__main__"] = MAIN
    yield
    sys.modules["__main__"] = MAIN


@pytest.fixture
def as_users_run():
    """Switch the shape checks off: users run without them and must still get a sentence."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)
