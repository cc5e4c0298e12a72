"""What looks like attention and gives no record: found, and said in one sentence for each kind."""

import re
import warnings
from collections.abc import Collection

from torch import nn

from analysis.adapters.adapter import is_plain_layer

CLASS_NAME = re.compile(r"(attention|attn|non_?local)(\d?d|nd)?(block)?(\d?d|nd)?$", re.IGNORECASE)
GATES = re.compile("channel|spatial|split|selective", re.IGNORECASE)
"""Of classes called attention in which no position looks at another: they weigh channels or cells,
as in CBAM, split attention and selective kernels."""

LAYERS = (
    ("qkv",),
    ("to_qkv",),
    ("qk", "v"),
    ("in_proj_weight",),
    ("query_key_value",),
    ("to_q", "to_k"),
    ("to_q", "to_kv"),
    ("q", "k", "v"),
    ("q", "kv"),
    ("q_proj", "k_proj"),
    ("query", "key", "value"),
    ("query_conv", "key_conv"),
    ("query_project", "key_project"),
    ("conv_query", "conv_key"),
    ("conv_theta", "conv_phi"),
    ("theta", "phi"),
)
"""What published code calls the layers that make queries and keys."""

NO_ADAPTER = "it looks like attention, and analysis.adapters has no reader for its kind"


def unread_blocks(network: nn.Module, read: Collection[str]) -> dict[str, nn.Module]:
    """Return the modules that look like attention beside those that are read, the inmost, by name.

    Args:
        network: Where to look.
        read: Names of the modules that give records.
    """
    found = {
        name: module
        for name, module in network.named_modules()
        if _looks_like_attention(module) and not any(_related(name, other) for other in read)
    }
    return {
        name: module
        for name, module in found.items()
        if not any(other != name and _inside(other, name) for other in found)
    }


def _looks_like_attention(module: nn.Module) -> bool:
    if is_plain_layer(module):
        return False
    kind = type(module).__name__
    if CLASS_NAME.search(kind):
        return not GATES.search(kind)
    layers = {
        name for name, _ in (*module.named_children(), *module.named_parameters(recurse=False))
    }
    return any(layers.issuperset(names) for names in LAYERS)


def _inside(name: str, outer: str) -> bool:
    return outer == "" or name == outer or name.startswith(f"{outer}.")


def _related(name: str, other: str) -> bool:
    return _inside(name, other) or _inside(other, name)


class LeftOut:
    """Blocks that ran and gave no record, by kind and reason."""

    def __init__(self) -> None:
        self._blocks: dict[tuple[str, str], list[str]] = {}

    def add(self, name: str, block: nn.Module, reason: str) -> None:
        """Note a block; one that runs several times is noted once."""
        names = self._blocks.setdefault((type(block).__name__, reason), [])
        if name not in names:
            names.append(name)

    def warn(self) -> None:
        """Give a `UserWarning` for every kind and reason."""
        for (kind, reason), (first, *others) in self._blocks.items():
            more = f" and {len(others)} more are" if others else " is"
            warnings.warn(f"{first or 'it'} ({kind}){more} left out: {reason}", stacklevel=2)
