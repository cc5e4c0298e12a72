"""All options in a YAML or TOML file, so that the figures of a paper are one command."""

import tomllib
from pathlib import Path
from typing import Any

from nonlocal_lens.app.export.declared import GIVEN_AGAIN, OPTIONS
from nonlocal_lens.models.limits import (
    LONGEST_OPTION,
    MOST_DOTS,
    MOST_FIGURES,
    MOST_OPTION_BYTES,
    MOST_OPTION_DEPTH,
    MOST_OPTION_NODES,
    error_words,
    shortened,
)
from nonlocal_lens.models.local_files import read_regular

ON_THE_LINE = {**GIVEN_AGAIN, **{one.flag: one.name for one in OPTIONS if one.flag}}
"""What the command line calls options that have another name here."""


def read_config(path: Path) -> list[dict[str, Any]]:
    """Return the options of every figure in a file of YAML, or of TOML if it is called *.toml.

    The file holds options by name, as on the command line; `inputs`, `networks`, `queries` and the
    like as lists (`network` and the like are understood, too). With a list `figures`, every entry
    is an export of its own, and the options beside it hold for all.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not what it is called, or holds something else than options.
    """
    name = shortened(str(path), 100)
    data = read_regular(path, MOST_OPTION_BYTES, "file of options")
    language, read = ("TOML", _toml) if path.suffix.lower() == ".toml" else ("YAML", _yaml)
    try:
        content = read(data.decode("utf-8"))
    except _TooMuchError as error:
        raise ValueError(f"{name} {error}") from error
    except Exception as error:  # of what is neither, whatever goes wrong in it
        words = shortened(error_words(error), 180)
        raise ValueError(f"{name} is not {language}: {words}") from error
    if not _is_named(content):
        raise ValueError(f"{name} must hold options by name, like `networks: [streets-nl]`")
    shared = _named(content)
    figures = shared.pop("figures", [{}])
    if not (isinstance(figures, list) and figures and all(map(_is_named, figures))):
        raise ValueError(f"{name}: figures must be a list of options by name")
    if len(figures) > MOST_FIGURES:
        raise ValueError(f"{name} has {len(figures)} figures; at most {MOST_FIGURES} are drawn")
    return [{**shared, **_named(one)} for one in figures]


class _TooMuchError(ValueError):
    """Why a file is not read: the end of a sentence that begins with its name."""


def _yaml(text: str) -> Any:
    import yaml

    _check_size(text)
    return yaml.safe_load(text)


def _toml(text: str) -> Any:
    # a key takes the square of how many dots it has, and it does not go beyond its line
    if any(line.count(".") > MOST_DOTS for line in text.split("\n")):
        raise _TooMuchError(f"has a line of more than {MOST_DOTS} dots")
    content = tomllib.loads(text)
    waiting, count = [(content, 0)], 0
    while waiting:
        value, depth = waiting.pop()
        count += 1
        if depth > MOST_OPTION_DEPTH:
            raise _TooMuchError(f"has more than {MOST_OPTION_DEPTH} lists in one another")
        if count > MOST_OPTION_NODES:
            raise _TooMuchError(f"holds more than {MOST_OPTION_NODES} words")
        if isinstance(value, dict | list):
            inner = value.values() if isinstance(value, dict) else value
            waiting += [(one, depth + 1) for one in inner]
    return content


def _check_size(text: str) -> None:
    """Raise _TooMuchError unless a text of YAML is small, also with its aliases written out."""
    import yaml

    depth = 0
    for count, event in enumerate(yaml.parse(text, Loader=yaml.SafeLoader)):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        elif isinstance(event, yaml.ScalarEvent) and len(event.value) > LONGEST_OPTION:
            # numbers to the base of 60 take the square of their length
            raise _TooMuchError(f"has a word of more than {LONGEST_OPTION} characters")
        if depth > MOST_OPTION_DEPTH:
            raise _TooMuchError(f"has more than {MOST_OPTION_DEPTH} lists in one another")
        if count > MOST_OPTION_NODES:
            raise _TooMuchError(f"holds more than {MOST_OPTION_NODES} words")
    sizes: dict[int, int] = {}

    def size(node: Any) -> int:
        """Return how many nodes one stands for, its aliases written out."""
        if id(node) in sizes:
            if sizes[id(node)] == 0:
                raise _TooMuchError("has a list that holds itself")
            return sizes[id(node)]
        sizes[id(node)] = 0
        total = 1
        if isinstance(node, yaml.CollectionNode):
            for child in node.value:
                parts = child if isinstance(child, tuple) else (child,)
                total += sum(map(size, parts))
                if total > MOST_OPTION_NODES:
                    raise _TooMuchError(f"holds more than {MOST_OPTION_NODES} words with aliases")
        sizes[id(node)] = total
        return total

    root = yaml.compose(text, Loader=yaml.SafeLoader)
    if root is not None:
        size(root)


def _is_named(content: Any) -> bool:
    return isinstance(content, dict) and all(isinstance(key, str) for key in content)


def _named(given: dict[str, Any]) -> dict[str, Any]:
    """Return options by the names that they have here."""
    names = [name.replace("-", "_") for name in given]
    return dict(zip([ON_THE_LINE.get(name, name) for name in names], given.values(), strict=True))
