"""Which module of a network is running, by name."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.module import (
    _global_forward_hooks_with_kwargs,
    register_module_forward_hook,
    register_module_forward_pre_hook,
)

Entered = Callable[[str, nn.Module, tuple[Any, ...]], None]
"""Told of a module that begins to run: its name, the module, its inputs by position."""

Left = Callable[[str, nn.Module, tuple[Any, ...], dict[str, Any], Any], None]
"""Told of a module that has run: its name, the module, its inputs and its output."""


class Running:
    """The module that is running, kept by hooks on all modules there are: on none of the network's.

    Modules inside of TorchScript run without a word. There the running module is taken to be the
    one around the layer whose parameters were last used.

    Attributes:
        calls: How often each module has run.
        modules: All modules of the network, by name.
        unseen: Gives a context in which operations are not looked at: they are not the network's.
    """

    def __init__(self, network: nn.Module) -> None:
        self.modules = modules = dict(network.named_modules())
        self._names = {id(module): plain(name) for name, module in modules.items()}
        self._owners = {
            id(tensor): plain(name).rpartition(".")[0] for name, tensor in sources(network)
        }
        self._layers = {
            plain(name) for name, module in modules.items() if next(module.children(), None) is None
        }
        self._with_parameters = {
            part for owner in {*self._owners.values()} for part in _ancestors(owner)
        }
        self._stack = [("", False)]
        self.unseen: Callable[[], AbstractContextManager[None]] = nullcontext
        self._thread = threading.get_ident()
        self.calls: Counter[str] = Counter()
        self._entered: Entered | None = None
        self._left: Left | None = None

    @property
    def name(self) -> str:
        """The name of the innermost module that is running; the network itself has none."""
        return self._stack[-1][0]

    @property
    def is_running(self) -> bool:
        """Whether the network is running, in the thread that follows it."""
        return len(self._stack) > 1

    @property
    def block(self) -> str:
        """The name of the innermost module with parameters: functions may be modules, too."""
        for name, _ in reversed(self._stack):
            if name in self._with_parameters:
                return name
        return ""

    def begin(self) -> None:
        """Count runs anew: the network begins to run, and is told to be running already."""
        self.calls.clear()
        self.calls[""] += 1

    def call_of(self, name: str) -> int:
        """Return how often a module had run before it began to run last."""
        return max(self.calls[name] - 1, 0)

    def owner(self, parameter: Tensor) -> str | None:
        """Return the name of the module that has a parameter or buffer."""
        return self._owners.get(id(parameter))

    def used(self, args: tuple[Any, ...]) -> None:
        """Learn from the operands of an operation which module runs inside of TorchScript."""
        name, scripted = self._stack[-1]
        if not scripted:
            return
        for operand in args:
            owner = self._owners.get(id(operand))
            if owner is not None:
                around = owner.rpartition(".")[0] if owner in self._layers else owner
                if around != name:
                    self._stack[-1] = around, True
                    self.calls[around] += 1

    @contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """Take all that happens as done by a module: a run of it, if another one runs now."""
        self.calls[name] += name != self.name
        self._stack.append((name, False))
        try:
            yield
        finally:
            self._stack.pop()

    @contextmanager
    def followed(self, entered: Entered | None = None, left: Left | None = None) -> Iterator[None]:
        """Follow the modules that run in this thread until the `with` ends.

        Args:
            entered: Is told of every module that begins to run, but for the network itself.
            left: Is told of every module that has run.
        """
        self._entered, self._left = entered, left
        handles = [register_module_forward_pre_hook(self._enter)]
        if left is not None:  # before it is taken to have run
            handles.append(register_module_forward_hook(self._tell, with_kwargs=True))
        handles.append(register_module_forward_hook(self._leave, always_call=True))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()
                _global_forward_hooks_with_kwargs.pop(handle.id, None)  # torch leaves that behind

    def _enter(self, module: nn.Module, args: Any) -> None:
        if threading.get_ident() != self._thread:
            return
        name = self._names.get(id(module))
        if name is None:  # it was made while the network ran
            name = f"{self.name}.{type(module).__name__}".lstrip(".")
        self.calls[name] += 1
        self._stack.append((name, isinstance(module, torch.jit.ScriptModule)))
        if self._entered is not None and len(self._stack) > 2:
            self._entered(name, module, args)

    def _tell(self, module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
        if threading.get_ident() == self._thread and self._left is not None:
            self._left(self.name, module, args, kwargs, output)

    def _leave(self, _module: nn.Module, _args: Any, _output: Any) -> None:
        if threading.get_ident() == self._thread and len(self._stack) > 1:
            self._stack.pop()


def sources(network: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Yield all parameters and buffers of a network, with their names."""
    modules = list(network.named_modules(remove_duplicate=False))
    for named in ("_parameters", "_buffers"):
        for around, module in modules:
            prefix = f"{around}." if around else ""
            for name, tensor in getattr(module, named).items():
                if tensor is not None:
                    yield prefix + name, tensor


def _ancestors(name: str) -> Iterator[str]:
    """Yield a module's name and those of all around it."""
    while name:
        yield name
        name = name.rpartition(".")[0]


def plain(name: str) -> str:
    """Return a module's name without what compilation put into it."""
    return ".".join(part for part in name.split(".") if part != "_orig_mod")
