"""Networks of other libraries by name: `timm:NAME`, `hf:ID-or-folder`, `torchvision:NAME`.

A name may go on with options, as in a web address:
`timm:vit_tiny_patch16_224?pretrained=false&depth=4`. Those that this package does not take itself
go to the library. Weights are where these libraries keep them. Only safetensors and files of plain
tensors are read, and no model's own code is run.
"""

from ast import literal_eval
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from importlib.util import find_spec
from typing import Any
from urllib.parse import parse_qsl

LIBRARIES = {"timm": "timm", "hf": "transformers", "torchvision": "torchvision"}
"""Prefix of a name -> the package that has such networks."""

MODULES = {"timm": "from_timm", "hf": "from_hugging_face", "torchvision": "from_torchvision"}


@dataclass(frozen=True)
class LibraryName:
    """A network of another library, as somebody named it."""

    prefix: str  # a key of LIBRARIES
    name: str  # in the library
    query: str = ""  # what follows the "?"

    @classmethod
    def read(cls, text: str) -> "LibraryName | None":
        """Return what a text names; None if it names no network of a library."""
        prefix, colon, rest = str(text).partition(":")
        if not colon or prefix not in LIBRARIES or not rest:
            return None
        name, _, query = rest.partition("?")
        return cls(prefix, name, query)

    @cached_property
    def options(self) -> dict[str, Any]:
        """What follows the "?": numbers, true, false and none as what they are, the rest as text.

        Raises:
            ValueError: It is not NAME=VALUE, joined by "&".
        """
        try:
            pairs = parse_qsl(self.query, keep_blank_values=True, strict_parsing=bool(self.query))
        except ValueError as error:
            raise ValueError(
                f"options of {self} must be NAME=VALUE, joined by &, got {self.query!r}"
            ) from error
        return {name: _value(text) for name, text in pairs}

    @property
    def is_random(self) -> bool:
        """Whether its options ask for random weights."""
        asked = self.options
        without = self.prefix == "torchvision" and asked.get("weights", "") is None
        return asked.get("pretrained") is False or without

    @property
    def title(self) -> str:
        """What the network is called in lists, figures and tables."""
        return self.name.rstrip("/").rpartition("/")[2]

    def __str__(self) -> str:
        return f"{self.prefix}:{self.name}" + (f"?{self.query}" if self.query else "")


def load_library_network(named: LibraryName, **options: Any) -> Any:
    """Return a library's network, a `torch.nn.Module`, in evaluation mode.

    Attributes that it gets are `preprocess`, `classes` (None where nothing names them), `decisions`
    and `provenance`: the name, the library's version, where the weights are from, their revision
    and their SHA-256.

    Args:
        named: Its name.
        **options: More options than stand in the name. Of all libraries `autocast`, bfloat16 or
            float16, is taken here.

    Raises:
        ValueError: There is no such network, or an option is impossible.
        ImportError: The library is not installed.
        FileNotFoundError: Its weights are not here, and cannot be downloaded.
    """
    package = LIBRARIES[named.prefix]
    if find_spec(package) is None:
        raise ImportError(
            f"{named} is a network of {package}, which is not installed: "
            f"pip install nonlocal-lens[{package}]"
        )
    load: Callable[..., Any] = import_module(f"{__name__}.{MODULES[named.prefix]}").load
    asked = {**named.options, **options}
    kind = asked.pop("autocast", None)
    network = load(named, asked)
    if kind is not None:
        import_module(f"{__name__}.casting").compute_in(network, named, kind)
    return network.eval().requires_grad_(False)


def _value(text: str) -> Any:
    known = {"true": True, "false": False, "none": None}
    if text.lower() in known:
        return known[text.lower()]
    try:
        return literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):  # of what lies too deep
        return text
