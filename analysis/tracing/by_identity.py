"""A dictionary of tensors by identity that keeps none of them alive."""

from collections.abc import Callable
from typing import Any, Generic, TypeVar, overload
from weakref import ref

from torch import Tensor

Value = TypeVar("Value")
Other = TypeVar("Other")


class ByIdentity(Generic[Value]):
    """What is known of each tensor, until the tensor is gone."""

    def __init__(self) -> None:
        self._entries: dict[int, tuple[ref[Tensor], Value]] = {}

    @overload
    def get(self, tensor: Tensor) -> Value | None: ...

    @overload
    def get(self, tensor: Tensor, default: Other) -> Value | Other: ...

    def get(self, tensor: Tensor, default: Any = None) -> Any:
        """Return what is known of a tensor, or something else."""
        entry = self._entries.get(id(tensor))
        return default if entry is None else entry[1]

    def set(self, tensor: Tensor, value: Value) -> None:
        """Know something of a tensor, and no longer what was known before."""
        key = id(tensor)
        self._entries[key] = ref(tensor, self._forget(key)), value

    def drop(self, tensor: Tensor) -> None:
        """Know nothing of a tensor."""
        self._entries.pop(id(tensor), None)

    def __contains__(self, tensor: Tensor) -> bool:
        return id(tensor) in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def _forget(self, key: int) -> Callable[[Any], None]:
        entries = self._entries

        def forget(gone: Any) -> None:
            entry = entries.get(key)
            if entry is not None and entry[0] is gone:
                del entries[key]

        return forget
