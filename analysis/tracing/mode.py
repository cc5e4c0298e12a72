"""Runs a network and tells observers of every tensor operation in it.

Nothing is put on the network: what sees the operations is torch's own dispatch. So layers under any
name, hooks, TorchScript and functions are all seen alike.
"""

import sys
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.autograd.graph import increment_version

from nonlocal_lens.analysis.evaluating import evaluating
from nonlocal_lens.analysis.quiet_mode import QuietMode
from nonlocal_lens.analysis.tracing.operation import Operation, tensors_in
from nonlocal_lens.analysis.tracing.running import Entered, Left, Running

_COMPOSITE = torch._C.DispatchKey.CompositeImplicitAutograd

HIDING = {"_native_multi_head_attention": 5, "_transformer_encoder_layer_fwd": None}
"""Operation that hides attention -> the operand that tells which module attends, if one does."""


class Observer:
    """What is told of operations; to be inherited from."""

    def begin(
        self,
        network: nn.Module,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        running: Running,
    ) -> None:
        """Forget everything: a run begins. It can begin once more before any has ended.

        Args:
            network: The network that will run.
            args: Its inputs.
            kwargs: Its inputs by name.
            running: Tells, at any time of the run, which module is running for which time.
        """

    def seen(self, operation: Operation) -> None:
        """Learn of an operation that has just run."""


class Editor:
    """What may run something else in an operation's place; to be inherited from."""

    def run(
        self,
        op_name: str,
        func: Any,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        module_name: str,
    ) -> Any:
        """Return what an operation gives; the operation itself unless it is overridden."""
        return func(*args, **kwargs)


def run(
    network: nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any] | None = None,
    *,
    observers: Sequence[Observer] = (),
    editor: Editor | None = None,
) -> Any:
    """Run a network in evaluation mode and without gradients, and return its output.

    The output is bit for bit the one without observers, but that of a compiled network, which is
    run uncompiled. The network comes back as it was, also after an exception.

    Args:
        network: Any module.
        args: Its inputs.
        kwargs: Its inputs by name.
        observers: Are told of every operation, in this order.
        editor: Runs the operations; None runs them as they are.
    """
    kwargs = {} if kwargs is None else kwargs
    called = _bare(network)
    with evaluating(network), torch.no_grad(), _uncompiled():
        try:
            return _observed(network, called, args, kwargs, observers, editor)
        except _HiddenInNestedTensorsError:
            # Fast paths that pack padded sequences hide tokens: they are followed in the long way.
            with _without_fast_path():
                edited = _observed(network, called, args, kwargs, observers, editor)
            return edited if editor is not None else called(*args, **kwargs)


@contextmanager
def watched(
    network: nn.Module,
    observers: Sequence[Observer],
    editor: Editor | None = None,
    *,
    entered: Entered | None = None,
    left: Left | None = None,
) -> Iterator[Running]:
    """Tell observers of whatever runs in this thread until the `with` ends.

    When a run begins must be told by `Running.begin` and `Observer.begin`: `run` does so.

    Args:
        network: Any module.
        observers: Are told of every operation, in this order.
        editor: Runs the operations; None runs them as they are.
        entered: See `Running.followed`.
        left: See `Running.followed`.
    """
    running = Running(network)
    with ExitStack() as stack:
        stack.enter_context(_uncompiled())
        if any(isinstance(module, nn.TransformerEncoder) for module in running.modules.values()):
            stack.enter_context(_without_fast_path())  # it may hide tokens in nested tensors
        stack.enter_context(running.followed(entered, left))
        watch = _Watch(running, observers, editor or Editor())
        stack.enter_context(watch)
        running.unseen = watch.paused
        yield running


class _HiddenInNestedTensorsError(BaseException):
    """Not an Exception, so that no network catches it."""


class _Watch(QuietMode):
    """Runs every operation and tells of it."""

    supports_higher_order_operators = True
    _is_hidden = True  # it is only entered where nothing is compiled, see `_uncompiled`

    def __init__(self, running: Running, observers: Sequence[Observer], editor: Editor) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.running = running
        self.observers = observers
        self.run = editor.run if type(editor) is not Editor else None
        self.is_inside = False  # of an operation that hides attention

    def __torch_dispatch__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        running = self.running
        if not running.is_running:
            return func(*args, **kwargs)
        _, name, kind = _KINDS.get(id(func)) or _kind(func)
        running.used(args)
        if kind == "composite":  # so it comes in inference mode, and from inside of this method
            with self:
                return func._op_dk(_COMPOSITE, *args, **kwargs)
        if kind == "packing" and torch.backends.mha.get_fastpath_enabled():
            raise _HiddenInNestedTensorsError
        if kind == "hiding" and (kernel := _kernel(func, args[0].device.type)) is not None:
            return self._run_inside(kernel, func, args, kwargs, HIDING[name])
        if self.run is None:
            result = func(*args, **kwargs)
        else:
            result = _written(name, kwargs, args, self.run(name, func, args, kwargs, running.name))
        outputs = (result,) if isinstance(result, Tensor) else _tensors(result)
        if outputs:
            operands = tensors_in((*args, *kwargs.values()) if kwargs else args)
            self._tell(Operation(name, func, args, kwargs, outputs, running.name, operands))
        return result

    def _tell(self, operation: Operation) -> None:
        for observer in self.observers:
            observer.seen(operation)
        if self.is_inside:  # where torch itself does not count what is written into a tensor
            name, kwargs, outputs = operation.op_name, operation.kwargs, operation.outputs
            if ("out" in kwargs or name.endswith("_")) and not outputs[0].is_inference():
                increment_version(outputs[0])

    def _run_inside(
        self,
        kernel: Any,
        func: Any,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        weight: int | None,
    ) -> Any:
        """Run an operation that hides attention, and see the operations that it consists of.

        They are those of torch's own code for the device, so that nothing is computed otherwise.
        """
        running = self.running
        owner = None if weight is None else running.owner(args[weight])
        was_inside, self.is_inside = self.is_inside, True
        try:
            with running.inside(owner or running.name), self:
                return func._op_dk(kernel, *args, **kwargs)
        finally:
            self.is_inside = was_inside


def _written(op_name: str, kwargs: Mapping[str, Any], args: tuple[Any, ...], result: Any) -> Any:
    """Return what an edited operation gave, in the tensor that it was to write into, if any."""
    target = kwargs.get("out", args[0] if op_name.endswith("_") and args else None)
    if not isinstance(target, Tensor) or not isinstance(result, Tensor) or result is target:
        return result
    return target.copy_(result)


@cache
def _kernel(func: Any, device: str) -> Any:
    """Return the key of an operation's code for a kind of device; None where it has none."""
    key = getattr(torch._C.DispatchKey, device.upper(), None)
    if key is None or not torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), key):
        return None
    return key


def _observed(
    network: nn.Module,
    called: nn.Module,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    observers: Sequence[Observer],
    editor: Editor | None,
) -> Any:
    running = Running(network)
    for observer in observers:
        observer.begin(network, args, kwargs, running)
    with running.followed(), _Watch(running, observers, editor or Editor()):
        return called(*args, **kwargs)


def _bare(network: nn.Module) -> nn.Module:
    """Return what a wrapper compiles, or would run copies of in several threads."""
    bare: Any = network
    while isinstance(bare, nn.DataParallel) or hasattr(bare, "_orig_mod"):
        bare = bare.module if isinstance(bare, nn.DataParallel) else bare._orig_mod
    return cast(nn.Module, bare)


def _kind(func: Any) -> tuple[Any, str, str]:
    """Return an operation, its name, and what it is if it is none that is just run."""
    packet = getattr(func, "overloadpacket", None)
    name = str(func.name() if packet is None else packet.__name__)
    kind = "plain"
    if name.startswith("_nested_tensor_from_mask"):
        kind = "packing"
    elif _is_composite(func):
        kind = "composite"
    elif name in HIDING:
        kind = "hiding"
    known = _KINDS[id(func)] = func, name, kind
    return known


_KINDS: dict[int, tuple[Any, str, str]] = {}
"""What `_kind` has said, by identity: operations stay, and their hashes are made in Python."""


def _is_composite(func: Any) -> bool:
    """Return whether an operation is but a Python or C++ function of others."""
    try:
        return isinstance(func, OpOverload) and torch._C._dispatch_has_kernel_for_dispatch_key(
            func.name(), _COMPOSITE
        )
    except RuntimeError:  # operations of TorchScript alone
        return False


def _tensors(result: Any) -> tuple[Tensor, ...]:
    """Return the tensors in what an operation gave."""
    if isinstance(result, Tensor):
        return (result,)
    if isinstance(result, tuple | list):
        return tuple(x for part in result for x in _tensors(part))
    return ()


@contextmanager
def _uncompiled() -> Iterator[None]:
    """Run what was compiled as it was before; nothing is compiled where the compiler is unloaded.

    TorchScript is not optimized meanwhile, for what it fuses is hidden.
    """
    with ExitStack() as stack:
        stack.enter_context(torch.jit.optimized_execution(False))  # type: ignore[attr-defined]
        if "torch._dynamo" in sys.modules:
            stack.enter_context(torch.compiler.set_stance("force_eager"))
            stack.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", ".*global hooks.*", UserWarning)
        yield


_fast_path_lock = threading.Lock()
_without_fast_path_now = 0
_fast_path_before = True


@contextmanager
def _without_fast_path() -> Iterator[None]:
    """Turn off torch's fast path of attention; several threads may do so at a time."""
    global _without_fast_path_now, _fast_path_before
    with _fast_path_lock:
        if not _without_fast_path_now:
            _fast_path_before = torch.backends.mha.get_fastpath_enabled()
        _without_fast_path_now += 1
        torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        with _fast_path_lock:
            _without_fast_path_now -= 1
            if not _without_fast_path_now:
                torch.backends.mha.set_fastpath_enabled(_fast_path_before)
