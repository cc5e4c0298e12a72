"""Check every shape annotation in models/ and analysis/ while the tests run."""

from jaxtyping import config, install_import_hook

install_import_hook(
    ["models", "analysis"], "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))"
)

import pytest  # noqa: E402
import torch  # noqa: E402


@pytest.fixture
def generator():
    """Return a seeded source of random numbers."""
    return torch.Generator().manual_seed(0)


@pytest.fixture
def as_users_run():
    """Switch the shape checks off: users run without them and must still get a sentence."""
    config.update("jaxtyping_disable", True)
    yield
    config.update("jaxtyping_disable", False)
