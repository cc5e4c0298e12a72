"""What a pickle holds, as inert data: nothing that it names is ever looked up, let alone called.

Containers, numbers, strings, tensors and arrays are what they are. An object of any other class
becomes an `Inert` one: a dictionary of its attributes, or of its items. A pickle that wants a
function called, or a class of the standard library made that is no plain container, is refused:
training programs have no need of that, and those who mean harm do.
"""

import pickle
import sys
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Callable
from functools import lru_cache, partial
from typing import Any, ClassVar

import torch
from torch import Tensor

from nonlocal_lens.models.checkpoints import caffe2
from nonlocal_lens.models.checkpoints.bounded_pickle import (
    ENCODE,
    BoundedUnpickler,
    check_key,
    check_sizes,
    ordered,
)
from nonlocal_lens.models.checkpoints.caffe2 import Forbidden

_PLAIN = {
    "argparse": "Namespace",
    "types": "SimpleNamespace",
    "collections": "defaultdict deque Counter",
    "datetime": "datetime date time timedelta timezone",
    "decimal": "Decimal",
    "fractions": "Fraction",
    "uuid": "UUID",
    "functools": "partial",
    "re": "_compile",
    "copyreg": "_reconstructor __newobj__ __newobj_ex__",
    "operator": "attrgetter itemgetter",
    "torch": "device dtype",
    "builtins": "set frozenset bytearray complex slice range object dict list tuple int float str "
    "bool bytes",
}
PLAIN = {f"{module}.{name}" for module, names in _PLAIN.items() for name in names.split()}
"""Classes of the standard library, and helpers of pickles, that hold data and do nothing."""

PLAIN_MODULES = ("pathlib", "enum", "typing", "logging")


class Inert(dict[Any, Any]):
    """Stands for an object of a class that is not looked up: takes anything, does nothing.

    What the object held is in the dictionary.
    """

    name: ClassVar[str] = ""

    def __new__(cls, *_args: object, **_kwargs: object) -> "Inert":
        """Return an empty stand-in, unless its making would have meant to run something."""
        if cls.name and _does_something(cls.name):
            raise Forbidden(cls.name)
        return super().__new__(cls)

    def __init__(self, *_args: object, **_kwargs: object) -> None:
        super().__init__()

    def __call__(self, *_args: object, **_kwargs: object) -> None:
        """Refuse: nothing in a file is called."""
        raise Forbidden(type(self).name or "an object")

    def __hash__(self) -> int:  # type: ignore[override]
        """Return what tells it from every other stand-in: objects may be keys."""
        return id(self)

    def __eq__(self, other: object) -> bool:
        """Return whether it is the same stand-in."""
        return self is other

    def __setstate__(self, state: object) -> None:
        """Keep an object's attributes as items."""
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, dict):
                self.update(part)

    def append(self, _value: object) -> None:
        """Drop an item of what was a list."""

    def extend(self, _values: object) -> None:
        """Drop items of what was a list."""

    add = append


class NotPlain:
    """Stands for a tensor that is none of plain numbers in memory."""

    def __init__(self, kind: str) -> None:
        self.kind = kind


@lru_cache(maxsize=4096)
def stand_in(name: str) -> type[Inert]:
    """Return the class that stands for a name."""
    return type("Inert", (Inert,), {"name": name})


def _does_something(name: str) -> bool:
    """Return whether to call a name may do more than to make an object that holds data."""
    module, _, last = name.rpartition(".")
    root = module.partition(".")[0]
    if name in PLAIN or (root in PLAIN_MODULES and last[:1].isupper() and last[1:2].islower()):
        return False
    if root in sys.stdlib_module_names or root in sys.builtin_module_names:
        return True
    if root in ("torch", "numpy") and last.startswith("_"):
        return False  # how their own objects are made
    return not last.lstrip("_")[:1].isupper()


class Array(caffe2.Array):
    """An array as data; one of other things than numbers stays empty."""

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        """Read the array's numbers."""
        try:
            super().__setstate__(state)
        except (Forbidden, ValueError, TypeError):
            self.values = None


class Storage:
    """The bytes that tensors are views of, in the type that the file gives them."""

    def __init__(self, data: Tensor, dtype: torch.dtype) -> None:
        self.data, self.dtype = data, dtype

    def view(
        self, offset: int, size: tuple[int, ...], stride: tuple[int, ...], dtype: torch.dtype
    ) -> Tensor:
        """Return a tensor on the bytes.

        Raises:
            ValueError: It would reach beyond them.
        """
        check_sizes((offset, *size, *stride))
        last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
        numbers = self.data.numel() // dtype.itemsize
        within = offset >= 0 and min(size, default=1) >= 0 and min(stride, default=0) >= 0
        if not within or (0 not in size and last >= numbers):
            raise ValueError(f"a tensor of shape {tuple(size)} in {numbers} numbers")
        if 0 in size:
            return torch.empty(size, dtype=dtype)
        whole = self.data[: numbers * dtype.itemsize].view(dtype)
        return whole.as_strided(size, stride, offset)


def _tensor(storage: Storage, offset: int, size: Any, stride: Any, *more: Any) -> Tensor:
    dtype = next((each for each in more if isinstance(each, torch.dtype)), storage.dtype)
    return storage.view(offset, tuple(size), tuple(stride), dtype)


def _first(data: Any, *_more: Any) -> Any:
    """Return the tensor of a parameter."""
    return data


def _of_subclass(function: Any, _kind: Any, args: Any, _state: Any) -> Any:
    """Return a tensor of a subclass as the plain one that it is made of."""
    if isinstance(function, type) and issubclass(function, Inert):
        raise Forbidden(function.name)
    return function(*args)


def _not_plain(kind: str, *_args: Any) -> NotPlain:
    return NotPlain(kind)


def _attribute(owner: Any, name: Any, *_default: Any) -> type[Inert]:
    """Return what stands for an attribute that a pickle names; it is not looked up."""
    owned = owner.name if isinstance(owner, type) and issubclass(owner, Inert) else "an object"
    if not isinstance(name, str):
        raise Forbidden(f"an attribute of {owned}")
    return stand_in(f"{owned}.{name}")


REBUILT: dict[str, Callable[..., Any]] = {
    "_rebuild_tensor": _tensor,
    "_rebuild_tensor_v2": _tensor,
    "_rebuild_tensor_v3": _tensor,
    "_rebuild_parameter": _first,
    "_rebuild_parameter_with_state": _first,
    "_rebuild_device_tensor_from_cpu_tensor": _first,
    "_rebuild_qtensor": partial(_not_plain, "quantized"),
    "_rebuild_sparse_tensor": partial(_not_plain, "sparse"),
    "_rebuild_nested_tensor": partial(_not_plain, "nested"),
    "_rebuild_meta_tensor_no_storage": partial(_not_plain, "without numbers"),
    "_rebuild_wrapper_subclass": partial(_not_plain, "of a subclass"),
}
"""How torch's own pickles say what a tensor is made of -> what makes it here."""

KNOWN: dict[str, Any] = {
    **{f"torch._utils.{name}": function for name, function in REBUILT.items()},
    **caffe2.KNOWN,
    "numpy.core.multiarray._reconstruct": Array,
    "numpy._core.multiarray._reconstruct": Array,
    "torch._tensor._rebuild_from_type_v2": _of_subclass,
    "torch._tensor._rebuild_from_type": lambda function, _kind, args, *_: function(*args),
    "torch.Size": torch.Size,
    "collections.OrderedDict": ordered,
    "builtins.getattr": _attribute,  # as which mmengine's log writes its own methods
}

STORAGES = {
    "DoubleStorage": torch.float64,
    "FloatStorage": torch.float32,
    "HalfStorage": torch.float16,
    "BFloat16Storage": torch.bfloat16,
    "LongStorage": torch.int64,
    "IntStorage": torch.int32,
    "ShortStorage": torch.int16,
    "CharStorage": torch.int8,
    "ByteStorage": torch.uint8,
    "BoolStorage": torch.bool,
    "UntypedStorage": torch.uint8,
    "ComplexFloatStorage": torch.complex64,
    "ComplexDoubleStorage": torch.complex128,
}


class InertUnpickler(BoundedUnpickler):
    """Reads containers, numbers and tensors; whatever else is named becomes `Inert`.

    Args:
        file: Where the pickle is.
        storage: Returns the bytes of a tensor's storage, given its key, its type and how many
            numbers it has. The rest of what older files say is the fourth argument.
    """

    def __init__(
        self, file: Any, storage: Callable[[str, torch.dtype, int, Any], Storage] | None = None
    ) -> None:
        super().__init__(file)
        self._storage = storage

    takes_state = (Inert, Array, caffe2.Dtype)

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands for a name here; nothing is ever imported."""
        self.note_name(module, name)
        # PyTorch writes names as Python 2 knew them
        module, name = NAME_MAPPING.get((module, name), (IMPORT_MAPPING.get(module, module), name))
        full = f"{module}.{name}"
        if full == ENCODE:
            return self.bytes_of_text()
        known = KNOWN.get(full)
        if known is not None:  # a function is given anew each time: pickles can change attributes
            return known if isinstance(known, type | str) else partial(known)
        dtype = getattr(torch, name, None) if module == "torch" else None
        return dtype if isinstance(dtype, torch.dtype) else stand_in(full)

    def persistent_load(self, saved: Any) -> Any:
        """Return the storage that a tensor names; of a class saved with its code, the stand-in."""
        if isinstance(saved, tuple) and saved[0] == "module":
            return saved[1]
        if self._storage is None or not isinstance(saved, tuple) or saved[0] != "storage":
            raise pickle.UnpicklingError("it names something outside of itself")
        _, kind, key, _location, numel, *more = saved
        named = kind.name if isinstance(kind, type) and issubclass(kind, Inert) else ""
        name = named.rpartition(".")[2]
        if name not in STORAGES:
            raise pickle.UnpicklingError(f"a tensor of {name[:40] or 'an unknown type'}")
        if not isinstance(key, str | int) or not isinstance(numel, int):
            raise pickle.UnpicklingError("a storage that has no name or no size")
        check_key(key)
        return self._storage(str(key), STORAGES[name], numel, more)
