"""All options in a YAML file, so that the figures of a paper are one command."""

from pathlib import Path
from typing import Any

ON_THE_LINE = {
    "input": "inputs",
    "network": "networks",
    "query": "queries",
    "format": "formats",
}
"""What the command line calls options that are given once for each of a list here."""


def read_config(path: Path) -> list[dict[str, Any]]:
    """Return the options of every figure in a YAML file.

    The file holds options by name, as on the command line; `inputs`, `networks`, `queries` and the
    like as lists (`network` and the like are understood, too). With a list `figures`, every entry
    is an export of its own, and the options beside it hold for all.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not YAML, or holds something else than options.
    """
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise ValueError("--config needs PyYAML: pip install pyyaml") from error
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise ValueError(f"{path} must hold options by name, like `networks: [streets-nl]`")
    shared = _named(content)
    figures = shared.pop("figures", [{}])
    if not (
        isinstance(figures, list) and figures and all(isinstance(one, dict) for one in figures)
    ):
        raise ValueError(f"{path}: figures must be a list of options by name")
    return [{**shared, **_named(one)} for one in figures]


def _named(given: dict[str, Any]) -> dict[str, Any]:
    """Return options by the names that they have here."""
    names = [name.replace("-", "_") for name in given]
    return dict(zip([ON_THE_LINE.get(name, name) for name in names], given.values(), strict=True))
