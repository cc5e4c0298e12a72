"""Networks of a batch: loaded once per process, with the hash of what was loaded."""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from models import list_networks, load_network
from models.checkpoint import WEIGHTS
from models.checkpoints.download import cached
from models.file_hash import file_sha256
from models.published import PUBLISHED


class LoadedNetwork(NamedTuple):
    """A network with its name in figures and tables, and the hash of its weights."""

    title: str
    module: nn.Module
    sha256: str


def load(name: str) -> LoadedNetwork:
    """Return a network, loaded once per process; a file again when it is another one by now.

    Raises:
        ValueError: The name is unknown, or the file is no weight file.
        FileNotFoundError: The path does not exist.
        ConnectionError: A published network cannot be downloaded.
    """
    path = Path(name).absolute()
    if name in list_networks() or name in PUBLISHED or not path.is_file():
        return _loaded(name)
    about = path.stat()
    return _loaded(name, str(path), about.st_mtime_ns, about.st_size)


@lru_cache(maxsize=16)
def _loaded(name: str, *_state: object) -> LoadedNetwork:
    module = load_network(name)
    if name in list_networks():
        return LoadedNetwork(name, module, file_sha256(WEIGHTS / f"{name}.safetensors"))
    if name in PUBLISHED:
        return LoadedNetwork(name, module, file_sha256(cached(PUBLISHED[name].url)))
    return LoadedNetwork(Path(name).stem, module, file_sha256(Path(name)))


@contextmanager
def one_thread() -> Iterator[None]:
    """Let torch compute in one thread, so that sums, and so files, never depend on --jobs."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
