"""What takes long to make, kept as long as there is room: the least recently used goes first.

Room is counted in bytes, not in entries: one map of a large picture is a thousand small ones.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from threading import Lock
from typing import Any, TypeVar

import numpy as np
from torch import Tensor, nn

T = TypeVar("T")

OF_AN_OBJECT = 64
"""Bytes that anything takes beside what is in it, about."""


@dataclass
class _Making:
    """Something that is being made, and how many want it."""

    lock: Lock = field(default_factory=Lock)
    wanted: int = 0


class ByteCache:
    """A few values by their keys; see above. All threads of the process share it.

    What several threads want at once is made once. What is larger than all the room is handed out
    and not kept, but for as many as are kept in any case.

    Args:
        most_bytes: How much room there is.
        least: How many are kept whatever room they take: those that are used again and again.
    """

    def __init__(self, most_bytes: int, least: int = 0) -> None:
        self.most_bytes, self.least = most_bytes, least
        self._kept: OrderedDict[Hashable, tuple[Any, int]] = OrderedDict()
        self._making: dict[Hashable, _Making] = {}
        self._lock = Lock()
        self._bytes = 0
        self.found, self.made = 0, 0  # how often a value was there, and was not

    def __contains__(self, key: Hashable) -> bool:
        return key in self._kept

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def bytes(self) -> int:
        """How much room is taken."""
        return self._bytes

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what is kept under a key, made first if it is not there; `make` may raise."""
        with self._lock:
            if key in self._kept:
                there: T = self._use(key)
                return there
            making = self._making.setdefault(key, _Making())
            making.wanted += 1
        try:
            with making.lock:
                with self._lock:
                    if key in self._kept:  # another thread has made it
                        found: T = self._use(key)
                        return found
                made = make()
                with self._lock:
                    self._keep(key, made)
                return made
        finally:
            with self._lock:
                making.wanted -= 1
                if not making.wanted:
                    self._making.pop(key, None)

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._kept.clear()
            self._bytes = 0

    def _use(self, key: Hashable) -> Any:
        self.found += 1
        self._kept.move_to_end(key)
        return self._kept[key][0]

    def _keep(self, key: Hashable, value: Any) -> None:
        self.made += 1
        size = bytes_of(value)
        if size > self.most_bytes and not self.least:
            return
        self._kept[key] = value, size
        self._bytes += size
        while self._bytes > self.most_bytes and len(self._kept) > self.least:
            _, (_, size) = self._kept.popitem(last=False)
            self._bytes -= size


def bytes_of(value: Any) -> int:
    """Return how many bytes a value holds, each array, tensor and weight counted once."""
    return _bytes_of(value, set())


def _bytes_of(value: Any, seen: set[int]) -> int:
    if isinstance(value, Tensor):
        storage = value.untyped_storage()
        return _once(storage.data_ptr(), storage.nbytes(), seen)
    if isinstance(value, np.ndarray):
        while isinstance(value.base, np.ndarray):
            value = value.base
        return _once(id(value), value.nbytes, seen)
    if isinstance(value, str | bytes | bytearray | memoryview):
        return _once(id(value), len(value), seen)
    if isinstance(value, int | float | complex | type | None):
        return 0
    if id(value) in seen:
        return 0
    seen.add(id(value))
    parts: list[Any] = []
    if isinstance(value, nn.Module):
        parts = [*value.parameters(), *value.buffers()]
    elif isinstance(value, Mapping):
        parts = [*value.keys(), *value.values()]
    elif isinstance(value, list | tuple | set | frozenset):
        parts = list(value)
    else:
        slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
        parts = [getattr(value, name, None) for name in slots]
        parts += getattr(value, "__dict__", {}).values()
    return OF_AN_OBJECT + sum(_bytes_of(part, seen) for part in parts)


def _once(identity: int, size: int, seen: set[int]) -> int:
    if identity in seen:
        return 0
    seen.add(identity)
    return OF_AN_OBJECT + size
