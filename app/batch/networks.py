"""Networks: loaded once per process, with the hash of what was loaded.

Whoever needs hooks of its own on a network takes a twin: its weights are in memory once.
"""

import copy
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from torch import nn

from nonlocal_lens.analysis.prepared import decisions_of
from nonlocal_lens.app.byte_cache import ByteCache
from nonlocal_lens.app.settings import MEGABYTE, settings
from nonlocal_lens.models import list_networks, load_network
from nonlocal_lens.models.bundled import WEIGHTS
from nonlocal_lens.models.download import cached
from nonlocal_lens.models.file_hash import file_sha256
from nonlocal_lens.models.libraries import LibraryName
from nonlocal_lens.models.local_files import is_regular
from nonlocal_lens.models.published import PUBLISHED


class LoadedNetwork(NamedTuple):
    """A network with its name in figures and tables, and the hash of its weights."""

    title: str
    module: nn.Module
    sha256: str
    pattern: nn.Module  # never run, and so without anybody's hooks: what twins are made after

    def twin(self) -> nn.Module:
        """Return the network again, with the same weights and hooks of its own."""
        return twin_of(self.pattern)


NETWORKS_KEPT = ByteCache(settings().networks_mb * MEGABYTE, least=1)
"""The last one however large it is: pictures and pins in a row are for it."""


def twin_of(module: nn.Module) -> nn.Module:
    """Return a copy of a network that shares its weights and buffers, and nothing else."""
    tensors = [*module.parameters(), *module.buffers()]
    return copy.deepcopy(module, {id(tensor): tensor for tensor in tensors})


def load(name: str) -> LoadedNetwork:
    """Return a network, loaded once per process; a file again when it is another one by now.

    Raises:
        ValueError: The name is unknown, or the file is no weight file.
        FileNotFoundError: The path does not exist.
        ConnectionError: A published network cannot be downloaded.
    """
    path = Path(name).absolute()
    key: tuple[object, ...] = (name,)
    if not (name in list_networks() or name in PUBLISHED) and is_regular(path):
        about = path.stat()
        key = (name, str(path), about.st_mtime_ns, about.st_size)
    return NETWORKS_KEPT.get(key, partial(_loaded, name))


def load_all(names: Sequence[str]) -> list[LoadedNetwork]:
    """Return networks that every input of a command is for: none of them is loaded twice."""
    NETWORKS_KEPT.least = max(NETWORKS_KEPT.least, len(names))
    return [load(name) for name in names]


def _loaded(name: str) -> LoadedNetwork:
    module = load_network(name)
    named = LibraryName.read(name)
    if named is not None:
        title, sha256 = named.title, module.provenance["sha256"]
    elif name in list_networks():
        title, sha256 = name, file_sha256(WEIGHTS / f"{name}.safetensors")
    elif name in PUBLISHED:
        title, sha256 = name, file_sha256(cached(PUBLISHED[name].url))
    else:
        title, sha256 = Path(name).stem, file_sha256(Path(name))
    return LoadedNetwork(title, module, sha256, twin_of(module))


def network_notes(networks: Iterable[LoadedNetwork]) -> tuple[str, ...]:
    """Return what was assumed of some networks that neither weights nor libraries tell."""
    return tuple(f"{one.title}: {said}" for one in networks for said in decisions_of(one.module))
