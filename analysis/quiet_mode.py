"""A mode that sees every operation on tensors, without loading torch's compiler for it."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import (
    TorchDispatchMode,
    _get_current_dispatch_mode_stack,
    _pop_mode_temporarily,
)


class QuietMode(TorchDispatchMode):
    """A `TorchDispatchMode` that is hidden from the compiler only once that is loaded.

    torch itself loads the compiler at the first operation in order to tell it not to compile what a
    mode does. That takes seconds, and there is nobody to tell where nothing was ever compiled.
    """

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False

    def __enter__(self) -> Any:
        kind = type(self)
        if "torch._dynamo" in sys.modules and "_is_hidden" not in vars(kind):
            dispatch = kind.__torch_dispatch__
            hidden: Any = torch._disable_dynamo(dispatch)  # type: ignore[attr-defined]
            kind.__torch_dispatch__ = hidden  # type: ignore[method-assign]
            kind._is_hidden = True  # type: ignore[attr-defined]
        return super().__enter__()  # type: ignore[no-untyped-call]

    @contextmanager
    def paused(self) -> Iterator[None]:
        """See no operation until the `with` ends: those are not a network's, and go much faster.

        Where another mode was entered since, operations go on being seen.
        """
        stack = _get_current_dispatch_mode_stack()
        if not stack or stack[-1] is not self:
            yield
            return
        with _pop_mode_temporarily():
            yield
