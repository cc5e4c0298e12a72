"""Checks of annotations while the tests run, where they cost little.

jaxtyping's own decorator binds every call of every function anew, and builds the checks of a
function within a function whenever the outer one runs. So here shapes are remembered only by the
functions that name some; what names none is checked by beartype alone, and functions within
functions that name none by mypy.
"""

import dataclasses
import functools
import inspect
import typing
from collections.abc import Callable
from typing import Any

import beartype
import jaxtyping
from jaxtyping import AbstractArray, config, install_import_hook

CONF = beartype.BeartypeConf(is_pep484_tower=True)
with_shapes = jaxtyping.jaxtyped


def check_annotations(packages: list[str]) -> None:
    """Check the annotations of packages that are imported from here on."""
    jaxtyping.jaxtyped = checked  # the hook writes it above every function
    install_import_hook(packages, "annotations.typechecked")


def typechecked(function: Callable[..., Any]) -> Callable[..., Any]:
    """Return a function that checks the types of what it takes and gives."""
    return beartype.beartype(function, conf=CONF)


def names_a_shape(annotation: Any) -> bool:
    """Return whether a shape is anywhere in an annotation."""
    if isinstance(annotation, list):
        return any(map(names_a_shape, annotation))
    if inspect.isclass(annotation) and issubclass(annotation, AbstractArray):
        return True
    return any(map(names_a_shape, typing.get_args(annotation)))


def checked(decorated: Any = None, *, typechecker: Callable[..., Any]) -> Any:
    if decorated is None:
        return functools.partial(checked, typechecker=typechecker)
    if inspect.isclass(decorated):
        if dataclasses.is_dataclass(decorated):
            decorated.__init__ = checked(decorated.__init__, typechecker=typechecker)
        return decorated
    if not inspect.isfunction(decorated) or inspect.isgeneratorfunction(decorated):
        return with_shapes(decorated, typechecker=typechecker)
    hints = decorated.__annotations__.values()
    if any(isinstance(hint, str) for hint in hints):
        return with_shapes(decorated, typechecker=typechecker)
    has_shapes = any(map(names_a_shape, hints))
    if not has_shapes and (not hints or "<locals>" in decorated.__qualname__):
        return decorated
    typed = typechecker(decorated)
    return _remembering(decorated, typed) if has_shapes else _switched(decorated, typed)


def _switched(function: Callable[..., Any], typed: Callable[..., Any]) -> Any:
    @functools.wraps(function)
    def switched(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        if config.jaxtyping_disable:
            return function(*args, **kwargs)
        return typed(*args, **kwargs)

    return switched


def _remembering(function: Callable[..., Any], typed: Callable[..., Any]) -> Any:
    shapes = with_shapes("context")  # holds nothing itself: one serves every call

    @functools.wraps(function)
    def remembering(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        if config.jaxtyping_disable:
            return function(*args, **kwargs)
        with shapes:
            return typed(*args, **kwargs)

    return remembering
